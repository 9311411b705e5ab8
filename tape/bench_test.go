package tape

import (
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

var codecs = []Codec{CodecPlain, CodecS2, CodecZstd, CodecColumns}

func benchWriter(b *testing.B, codec Codec) *Writer {
	b.Helper()
	w, err := Create(filepath.Join(b.TempDir(), "a.tape"), Config{Codec: codec, SyncInterval: -1})
	if err != nil {
		b.Fatal(err)
	}
	return w
}

// benchFields are 100-byte records, head and topic included.
func benchFields() *wire.Fields {
	body := make([]byte, 67)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range body {
		body[i] = byte(rng.IntN(16))
	}
	return &wire.Fields{Topic: []byte("XNAS.AAPL"), Body: body, Event: 1, Receive: 2, Kind: wire.KindTrade}
}

func BenchmarkAppend(b *testing.B) {
	for _, codec := range codecs {
		b.Run("codec="+codec.String(), func(b *testing.B) {
			w, f, at := benchWriter(b, codec), benchFields(), &At{Epoch: 1}
			b.SetBytes(int64(f.EncodedSize()))
			b.ReportAllocs()
			for b.Loop() {
				appendNext(b, w, f, at)
			}
			b.StopTimer()
			rate(b, 1)
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkAppendBatch(b *testing.B) {
	for _, records := range []int{10, 100, 2600} {
		b.Run(fmt.Sprintf("records=%d", records), func(b *testing.B) {
			w := benchWriter(b, CodecPlain)
			batch := batchOf(b, benchFields(), records)
			b.SetBytes(int64(len(batch.Payload)))
			b.ReportAllocs()
			for b.Loop() {
				if err := w.AppendBatch(batch); err != nil {
					b.Fatal(err)
				}
				batch.FirstSeq += wire.Seq(records)
				batch.FirstOrdinal += wire.Ordinal(records)
			}
			b.StopTimer()
			rate(b, records)
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func rate(b *testing.B, records int) {
	b.ReportMetric(float64(b.N)*float64(records)/b.Elapsed().Seconds(), "records/s")
}

// benchTape makes a tape of 100-byte records and returns it, open.
func benchTape(b *testing.B, codec Codec, shards, records int) *Tape {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "a.tape")
	w, err := Create(dir, Config{Codec: codec, Shards: shards, SyncInterval: -1})
	if err != nil {
		b.Fatal(err)
	}
	f := benchFields()
	for i := range records {
		f.TopicSeq++
		f.Event, f.Receive = wire.Nanos(i*1000), wire.Nanos(i*1000+500)
		f.Body[i%len(f.Body)] = byte(i * 31)
		at := At{Shard: i % shards, Epoch: 1, Seq: wire.Seq(i / shards), Ordinal: wire.Ordinal(i)}
		if err := w.AppendFields(at, f); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return open(b, dir)
}

// BenchmarkRead visits every record of every block.
func BenchmarkRead(b *testing.B) {
	for _, codec := range codecs {
		b.Run("codec="+codec.String(), func(b *testing.B) {
			tp := benchTape(b, codec, 1, 500_000)
			r := tp.Reader(ReadConfig{})
			records, bytes := 0, 0
			b.ReportAllocs()
			for b.Loop() {
				block, err := r.Next()
				if err == io.EOF {
					r.next = 0
					continue
				}
				if err != nil {
					b.Fatal(err)
				}
				for w := block.Records(); w.Next(); records++ {
					bytes += len(w.Record())
				}
			}
			b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64(bytes)/1e6/b.Elapsed().Seconds(), "MB/s")
		})
	}
}

// BenchmarkRecords walks the merged order.
func BenchmarkRecords(b *testing.B) {
	for _, shards := range []int{1, 2, 8} {
		b.Run(fmt.Sprintf("shards=%d", shards), func(b *testing.B) {
			tp := benchTape(b, CodecPlain, shards, 500_000)
			r := tp.Records(ReadConfig{})
			b.SetBytes(100)
			b.ReportAllocs()
			for b.Loop() {
				if !r.Next() {
					r.Close()
					r = tp.Records(ReadConfig{})
				}
			}
			r.Close()
			rate(b, 1)
		})
	}
}

func BenchmarkFind(b *testing.B) {
	const records = 1_000_000
	for _, codec := range codecs {
		b.Run("codec="+codec.String(), func(b *testing.B) {
			tp := benchTape(b, codec, 1, records)
			rng := rand.New(rand.NewPCG(1, 1))
			b.ReportAllocs()
			for b.Loop() {
				at := wire.Nanos(rng.IntN(records) * 1000)
				if p, err := tp.Find(ClockEvent, at); err != nil || p.Seq != wire.Seq(at/1000) {
					b.Fatalf("found %+v for %d, error %v", p, at, err)
				}
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	tp := benchTape(b, CodecPlain, 1, 1_000_000)
	for b.Loop() {
		t, err := Open(tp.dir)
		if err != nil {
			b.Fatal(err)
		}
		t.Close()
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, codec := range codecs {
		b.Run("codec="+codec.String(), func(b *testing.B) {
			const records = 500_000
			tp := benchTape(b, codec, 1, records)
			info, err := tp.Info()
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(info.Totals.PayloadBytes))
			for b.Loop() {
				if r, err := Verify(b.Context(), tp.dir, nil); err != nil || !r.OK() {
					b.Fatal(r, err)
				}
			}
			rate(b, records)
		})
	}
}
