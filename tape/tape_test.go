package tape

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// generated is a deterministic stream of records over several shards.
type generated struct {
	rng    *rand.Rand
	shards int
	epoch  wire.Epoch
	seq    []wire.Seq
	next   wire.Ordinal
	topic  map[string]uint32
	buf    []byte
}

func newGenerated(shards int, seed uint64) *generated {
	return &generated{rng: rand.New(rand.NewPCG(seed, 1)), shards: shards, epoch: 7,
		seq: make([]wire.Seq, shards), topic: map[string]uint32{}}
}

// record returns the next record and its place; the record is good until the
// next call.
func (g *generated) record() (At, wire.Record) {
	shard := g.rng.IntN(g.shards)
	topic := fmt.Sprintf("T%d.%03d", shard, g.rng.IntN(50))
	body := make([]byte, 20+g.rng.IntN(60))
	for i := range body {
		body[i] = byte(g.rng.IntN(8))
	}
	g.topic[topic]++
	at := At{Shard: shard, Epoch: g.epoch, Seq: g.seq[shard], Ordinal: g.next}
	g.seq[shard]++
	g.next++
	if g.shards > 1 {
		g.next += wire.Ordinal(g.rng.IntN(3) / 2)
	}
	event := wire.Nanos(1_700_000_000_000_000_000 + int64(at.Ordinal)*1000)
	f := wire.Fields{Topic: []byte(topic), Body: body, Event: event, Receive: event + wire.Nanos(g.rng.IntN(5000)),
		TopicSeq: g.topic[topic], Kind: wire.KindTrade}
	var err error
	if g.buf, err = wire.AppendRecord(g.buf[:0], &f); err != nil {
		panic(err)
	}
	return at, wire.Record(g.buf)
}

type placed struct {
	at  At
	rec wire.Record
}

// write appends n records and returns copies of them.
func write(t testing.TB, w *Writer, g *generated, n int) []placed {
	t.Helper()
	var all []placed
	for range n {
		at, rec := g.record()
		if err := w.Append(at, rec); err != nil {
			t.Fatal(err)
		}
		all = append(all, placed{at, bytes.Clone(rec)})
	}
	return all
}

// same fails unless the tape's merged records are want.
func same(t testing.TB, tp *Tape, want []placed) {
	t.Helper()
	r := tp.Records(ReadConfig{})
	defer r.Close()
	i := 0
	for ; r.Next(); i++ {
		if i >= len(want) {
			t.Fatalf("more than %d records", len(want))
		}
		if r.At() != want[i].at || !bytes.Equal(r.Record(), want[i].rec) {
			t.Fatalf("record %d is at %+v, want %+v; or its bytes differ", i, r.At(), want[i].at)
		}
	}
	if r.Err() != nil || i != len(want) {
		t.Fatalf("%d records, want %d; error %v", i, len(want), r.Err())
	}
}

func open(t testing.TB, dir string) *Tape {
	t.Helper()
	tp, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tp.Close() })
	return tp
}

func TestRoundTrip(t *testing.T) {
	for _, codec := range codecs {
		for _, shards := range []int{1, 3} {
			t.Run(fmt.Sprintf("codec=%v/shards=%d", codec, shards), func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "a.tape")
				w, err := Create(dir, Config{Shards: shards, Codec: codec, BlockSize: 4 << 10, SegmentSize: SegmentSizeMin, Temporary: true})
				if err != nil {
					t.Fatal(err)
				}
				want := write(t, w, newGenerated(shards, 1), 5000)
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				tp := open(t, dir)
				same(t, tp, want)
				if f := tp.Recovered(); f.Unclosed || f.Torn != nil || f.Rebuilt != nil {
					t.Errorf("closed tape opened with %+v", f)
				}
				info, err := tp.Info()
				if err != nil || info.Totals.Records != 5000 || len(info.Segments) < 2 {
					t.Errorf("info %+v, error %v", info, err)
				}
			})
		}
	}
}

func TestReaderYieldsBatches(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a.tape")
	w, err := Create(dir, Config{Codec: CodecPlain, BlockSize: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	want := write(t, w, newGenerated(1, 2), 1000)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := open(t, dir).Reader(ReadConfig{})
	defer r.Close()
	n := 0
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !b.Mapped() {
			t.Error("plain block is not mapped")
		}
		// A block is a batch as it travels: the wire's own parser accepts it.
		header := wire.AppendHeader(nil, &b.Header)
		batch, err := wire.ParseBatch(header, b.Payload, b.Order)
		if err != nil {
			t.Fatal(err)
		}
		for walk := batch.Records(); walk.Next(); n++ {
			if walk.Seq() != want[n].at.Seq || !bytes.Equal(walk.Record(), want[n].rec) {
				t.Fatalf("record %d differs", n)
			}
		}
	}
	if n != len(want) {
		t.Errorf("%d records, want %d", n, len(want))
	}
}
