package tape

import (
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// steady makes a writer that is past its first blocks, so that buffers and
// topics are there.
func steady(t testing.TB, codec Codec) (*Writer, *wire.Fields, *At) {
	t.Helper()
	w, err := Create(filepath.Join(t.TempDir(), "a.tape"), Config{Codec: codec, BlockSize: 64 << 10, SyncInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	f := &wire.Fields{Topic: []byte("XNAS.AAPL"), Body: make([]byte, 67), Event: 1, Receive: 2, Kind: wire.KindTrade}
	at := &At{Epoch: 1}
	for range 100_000 {
		appendNext(t, w, f, at)
	}
	return w, f, at
}

func appendNext(t testing.TB, w *Writer, f *wire.Fields, at *At) {
	f.TopicSeq++
	f.Event++
	f.Receive++
	if err := w.AppendFields(*at, f); err != nil {
		t.Fatal(err)
	}
	at.Seq++
	at.Ordinal++
}

func TestAppendDoesNotAllocate(t *testing.T) {
	skipUnderRace(t)
	for _, codec := range []Codec{CodecPlain, CodecS2} {
		w, f, at := steady(t, codec)
		const records = 50_000
		// A run covers many blocks; what grows with the tape (the index) is far
		// below one allocation a block.
		if n := testing.AllocsPerRun(5, func() {
			for range records {
				appendNext(t, w, f, at)
			}
		}); n > records/1000 {
			t.Errorf("%v: %v allocations for %d records", codec, n, records)
		}
	}
}

func TestAppendBatchDoesNotAllocate(t *testing.T) {
	skipUnderRace(t)
	w, f, at := steady(t, CodecPlain)
	b := batchOf(t, f, 100)
	if n := testing.AllocsPerRun(1000, func() {
		b.FirstSeq, b.FirstOrdinal, b.Epoch = at.Seq, at.Ordinal, at.Epoch
		if err := w.AppendBatch(b); err != nil {
			t.Fatal(err)
		}
		at.Seq += wire.Seq(b.Count)
		at.Ordinal += wire.Ordinal(b.Count)
	}); n > 0 {
		t.Errorf("%v allocations a batch", n)
	}
}

// Reading by sequence allocates what release needs, whatever the batch holds.
func TestReadSeqAlloc(t *testing.T) {
	skipUnderRace(t)
	for _, codec := range codecs {
		w, err := Create(filepath.Join(t.TempDir(), "a.tape"), Config{Codec: codec, BlockSize: 16 << 10, SyncInterval: -1})
		if err != nil {
			t.Fatal(err)
		}
		const n = 20_000
		write(t, w, newGenerated(1, 1), n)
		if err := w.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		l, tp := w.Live(), open(t, w.dir)
		for name, src := range map[string]bySequence{"tape": tp, "live": l} {
			for _, most := range []int{0, 3000} {
				batches := 0
				all := func() {
					batches = 0
					for seq := wire.Seq(0); seq < n; batches++ {
						b, release, err := src.ReadSeq(t.Context(), 7, 0, seq, n, most)
						if err != nil {
							t.Fatal(err)
						}
						seq = b.Next()
						release()
					}
				}
				all() // the buffers are there then
				// Of each block's first part the closure that loads it, as well.
				if allocs := testing.AllocsPerRun(3, all) / float64(batches); allocs > 6 {
					t.Errorf("%s, %v, %d: %v allocations a batch", name, codec, most, allocs)
				}
			}
		}
		if err := errors.Join(w.Close(), l.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func batchOf(t testing.TB, f *wire.Fields, records int) *wire.Batch {
	t.Helper()
	b := &wire.Batch{}
	b.Epoch, b.Shards, b.Count, b.Send = 1, 1, uint32(records), 3
	for range records {
		f.TopicSeq++
		var err error
		if b.Payload, err = wire.AppendRecord(b.Payload, f); err != nil {
			t.Fatal(err)
		}
	}
	b.PayloadSize, b.CRC = uint32(len(b.Payload)), wire.CRC(b.Payload, nil)
	return b
}

func TestReaderDoesNotAllocate(t *testing.T) {
	skipUnderRace(t)
	for _, codec := range codecs {
		dir := filepath.Join(t.TempDir(), "a.tape")
		w, err := Create(dir, Config{Codec: codec, BlockSize: 4 << 10, SyncInterval: -1})
		if err != nil {
			t.Fatal(err)
		}
		write(t, w, newGenerated(1, 1), 20_000)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		tp := open(t, dir)
		r := tp.Reader(ReadConfig{})
		defer r.Close()
		next := func() {
			b, err := r.Next()
			if err == io.EOF {
				r.next = 0
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for w := b.Records(); w.Next(); {
				_ = w.Record().Event()
			}
		}
		next()
		if n := testing.AllocsPerRun(200, next); n > 0 {
			t.Errorf("%v: %v allocations a block", codec, n)
		}
	}
}

// skipUnderRace: the race detector makes pools of the libraries forget at
// random, and so allocate.
func skipUnderRace(t *testing.T) {
	if raceEnabled {
		t.Skip("allocations are counted without the race detector")
	}
}

// Keyframes are taken while records come: with the same topics as before they
// cost no allocation a record either.
func TestAppendWithKeyframesDoesNotAllocate(t *testing.T) {
	skipUnderRace(t)
	w, err := Create(filepath.Join(t.TempDir(), "a.tape"), Config{BlockSize: 64 << 10, SyncInterval: -1, KeyframeInterval: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	f := &wire.Fields{Topic: []byte("XNAS.A000"), Body: make([]byte, 67), Kind: wire.KindTrade}
	at, n := At{Epoch: 1}, 0
	next := func() {
		f.Topic[8], f.Topic[7] = byte('0'+n%10), byte('0'+n/10%10)
		appendNext(t, w, f, &at)
		n++
	}
	for range 200_000 {
		next()
	}
	const records = 50_000 // several keyframes
	if n := testing.AllocsPerRun(5, func() {
		for range records {
			next()
		}
	}); n > records/1000 {
		t.Errorf("%v allocations for %d records", n, records)
	}
	if err := w.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.out.keys.wait(); err != nil { // nothing else runs
		t.Fatal(err)
	}
	if n := len(w.out.keys.entries) / keyEntrySize; n < 20 {
		t.Errorf("only %d keyframes were taken", n)
	}
}
