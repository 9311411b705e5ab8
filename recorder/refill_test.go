package recorder

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// refillEpochs are the epochs of a refillStream, in order.
var refillEpochs = []wire.Epoch{30, 10, 20}

// refillSeqs is how many sequences a shard has in each epoch.
const refillSeqs = 1_000_000

// refillRecord is the record that a refillStream has at a place.
func refillRecord(epoch wire.Epoch, shard int, seq wire.Seq) wire.Fields {
	body := binary.LittleEndian.AppendUint64(nil, uint64(seq)*2654435761)
	for len(body) < 20+int(seq%61) {
		body = append(body, byte(seq), byte(shard), byte(epoch), byte(len(body)))
	}
	at := wire.Nanos(slices.Index(refillEpochs, epoch)*refillSeqs+int(seq)) * 1000
	return wire.Fields{Topic: fmt.Appendf(nil, "S%d.%03d", shard, seq%97), Body: body, Event: at, Receive: at + 100,
		TopicSeq: uint32(seq / 97), Kind: wire.KindTrade}
}

// refillStream is one shard of a stream with gaps, repeated batches, last values
// and later epochs.
type refillStream struct {
	shard int
	rng   *rand.Rand
	sent  atomic.Uint64 // the last record's sequence, and its epoch's place in the upper 16 bits; +1
}

func (s *refillStream) batch(t testing.TB, epoch wire.Epoch, from, to wire.Seq) *wire.Batch {
	b := &wire.Batch{}
	for seq := from; seq < to; seq++ {
		f := refillRecord(epoch, s.shard, seq)
		var err error
		if b.Payload, err = wire.AppendRecord(b.Payload, &f); err != nil {
			t.Fatal(err)
		}
		if seq > from {
			b.Order = wire.AppendOrder(b.Order, refillOrdinal(seq-1), refillOrdinal(seq))
		}
	}
	b.Header = wire.Header{Epoch: epoch, Shard: uint16(s.shard), Shards: 2, FirstSeq: from, FirstOrdinal: refillOrdinal(from), Send: 1 + wire.Nanos(from),
		Count: uint32(to - from), PayloadSize: uint32(len(b.Payload)), OrderSize: uint32(len(b.Order)), CRC: wire.CRC(b.Payload, b.Order)}
	return b
}

// refillOrdinal is the ordinal of the record with a sequence; they are not dense.
func refillOrdinal(seq wire.Seq) wire.Ordinal { return wire.Ordinal(seq*2 + seq/7) }

// play hands about n records of each epoch to a recorder.
func (s *refillStream) play(t testing.TB, r *Recorder, n wire.Seq) {
	for turn, epoch := range refillEpochs {
		seq := wire.Seq(0)
		for seq < n {
			size := wire.Seq(1 + s.rng.IntN(200))
			b, skip := s.batch(t, epoch, seq, seq+size), uint32(0)
			switch s.rng.IntN(20) {
			case 0: // a gap
				r.HandleGap(s.shard, epoch, seq, seq+size)
				seq += size
				continue
			case 1:
				b.Flags = wire.FlagSnapshotBatch
			case 2:
				if seq > 5 {
					b, skip = s.batch(t, epoch, seq-5, seq+size), 5
				}
			}
			if err := r.HandleBatch(b, skip); err != nil {
				t.Error(err)
				return
			}
			seq += size
			if b.Flags == 0 {
				s.sent.Store(uint64(turn)<<48 | uint64(seq))
			}
		}
	}
}

// last returns where the last record is that was handed over, if any.
func (s *refillStream) last() (epoch wire.Epoch, seq wire.Seq, ok bool) {
	x := s.sent.Load()
	if x == 0 {
		return 0, 0, false
	}
	return refillEpochs[x>>48], wire.Seq(x&(1<<48-1)) - 1, true
}

// refillReader asks a recorder for what it has.
type refillReader struct {
	t       *testing.T
	r       *Recorder
	rng     *rand.Rand
	records int
	gone    int
	found   int
}

// read asks for a range that is or was there, and holds the answer against what
// was sent.
func (x *refillReader) read(epoch wire.Epoch, shard int, from, to wire.Seq, most int) bool {
	b, release, err := x.r.Read(x.t.Context(), epoch, shard, from, to, most)
	if errors.Is(err, tape.ErrGone) {
		x.gone++
		for _, e := range x.r.Extents() {
			if e.Epoch == epoch && e.Shard == shard && e.From <= from && from < e.To {
				x.t.Errorf("%d of shard %d, epoch %d is gone and is there: %+v", from, shard, epoch, e)
			}
		}
		return false
	}
	if err != nil {
		x.t.Errorf("[%d, %d) of shard %d, epoch %d: %v", from, to, shard, epoch, err)
		return false
	}
	defer release()
	if b, err = wire.ParseBatch(wire.AppendHeader(nil, &b.Header), b.Payload, b.Order); err != nil {
		x.t.Error(err)
		return false
	}
	if b.Epoch != epoch || int(b.Shard) != shard || b.FirstSeq != from || b.Next() > to || most > 0 && b.Count > 1 && len(b.Payload) > most {
		x.t.Errorf("[%d, %d) of shard %d, epoch %d, at most %d bytes: got %+v", from, to, shard, epoch, most, b.Header)
	}
	ordinals, buf := b.Ordinals(), []byte(nil)
	for w := b.Records(); w.Next(); x.records++ {
		f := refillRecord(epoch, shard, w.Seq())
		if buf, err = wire.AppendRecord(buf[:0], &f); err != nil || string(buf) != string(w.Record()) || ordinals.Next() != refillOrdinal(w.Seq()) {
			x.t.Errorf("sequence %d of shard %d, epoch %d differs, %v", w.Seq(), shard, epoch, err)
			return false
		}
	}
	return true
}

// find looks for a time that increases with the stream: what it finds must begin
// with the first record from then on.
func (x *refillReader) find(at wire.Nanos) {
	list, err := x.r.Find(x.t.Context(), at, "event")
	if err != nil {
		x.t.Error(err)
		return
	}
	before := -1
	for _, s := range list {
		if s.Shard == before {
			continue
		}
		before = s.Shard
		x.found++
		if f := refillRecord(s.Epoch, s.Shard, s.From); f.Event < at {
			x.t.Errorf("found %d for %d", f.Event, at)
		}
		for _, e := range x.r.Extents() {
			if e.Epoch != s.Epoch || e.Shard != s.Shard || e.From >= s.From || e.To < s.From {
				continue
			}
			if f := refillRecord(s.Epoch, s.Shard, s.From-1); f.Event >= at {
				x.t.Errorf("found %+v for %d, and %d is there", s, at, f.Event)
			}
		}
	}
}

// once does one thing at random.
func (x *refillReader) once(streams []*refillStream) {
	shard := x.rng.IntN(len(streams))
	switch x.rng.IntN(10) {
	case 0: // what has only just been handed over
		epoch, seq, ok := streams[shard].last()
		if ok {
			x.read(epoch, shard, seq, seq+1+wire.Seq(x.rng.IntN(100)), 1000)
		}
	case 1:
		if epoch, seq, ok := streams[shard].last(); ok {
			now := refillRecord(epoch, shard, seq)
			x.find(wire.Nanos(x.rng.Int64N(int64(now.Event) + 1)))
		}
	default:
		extents := x.r.Extents()
		if len(extents) == 0 {
			return
		}
		s := extents[x.rng.IntN(len(extents))]
		from := s.From + wire.Seq(x.rng.Uint64N(s.Len()))
		x.read(s.Epoch, s.Shard, from, from+1+wire.Seq(x.rng.Uint64N(uint64(s.To-from))), x.rng.IntN(40_000))
	}
}

// TestRefill: readers ask for anything while two shards are recorded as fast as it
// goes, with rotation and retention. Every answer is what was sent; nothing that is
// there is said not to be.
func TestRefill(t *testing.T) {
	n := wire.Seq(150_000)
	if testing.Short() {
		n = 30_000
	}
	for _, keep := range []int64{0, 2 << 20} {
		t.Run(fmt.Sprintf("keep=%d", keep), func(t *testing.T) {
			dir := t.TempDir() + "/t.tape"
			w, err := tape.Create(dir, tape.Config{Shards: 2, BlockSize: 16 << 10, SegmentSize: 256 << 10, Retain: tape.RetainConfig{Size: keep}})
			if err != nil {
				t.Fatal(err)
			}
			r := New(w)
			var streams []*refillStream
			var writing sync.WaitGroup
			for shard := range 2 {
				s := &refillStream{shard: shard, rng: rand.New(rand.NewPCG(uint64(shard), 1))}
				streams = append(streams, s)
				writing.Go(func() { s.play(t, r, n) })
			}
			var over atomic.Bool
			readers := make([]*refillReader, 2)
			var reading sync.WaitGroup
			for i := range readers {
				x := &refillReader{t: t, r: r, rng: rand.New(rand.NewPCG(uint64(i), 2))}
				readers[i] = x
				reading.Go(func() {
					for !over.Load() && !t.Failed() {
						x.once(streams)
					}
				})
			}
			writing.Wait()
			over.Store(true)
			reading.Wait()
			for _, x := range readers {
				t.Logf("%d records read, %d times found, %d ranges gone", x.records, x.found, x.gone)
				if x.records == 0 || x.found == 0 {
					t.Error("a reader had nothing")
				}
			}
			stats := w.Stats()
			if err := errors.Join(r.Err(), w.Close()); err != nil {
				t.Fatal(err)
			}
			if keep > 0 && stats.RemovedSegments == 0 || stats.RetainHeld != "" || stats.RetainErr != nil {
				t.Errorf("retention: %+v", stats)
			}
			checkRefilled(t, r, dir)
		})
	}
}

// TestRefillLastValues: a view of a recording has every topic's last record.
func TestRefillLastValues(t *testing.T) {
	_, w := create(t, tape.Config{Shards: 2, BlockSize: 4 << 10})
	r := New(w)
	s := &refillStream{shard: 1}
	const n = 500
	if err := r.HandleBatch(s.batch(t, 30, 0, n), 0); err != nil {
		t.Fatal(err)
	}
	v, err := r.Tape(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.HandleBatch(s.batch(t, 30, n, 2*n), 0); err != nil { // comes later
		t.Fatal(err)
	}
	last, err := v.Last(t.Context(), tape.LastConfig{At: wire.NanosMax})
	if err != nil {
		t.Fatal(err)
	}
	topics := 0
	for ; last.Next(); topics++ {
		at := last.At()
		want := refillRecord(30, 1, at.Seq)
		if at.Seq < n-97 || at.Seq >= n || string(last.Record().Topic()) != string(want.Topic) || string(last.Record().Body()) != string(want.Body) {
			t.Errorf("%q at %+v", last.Record().Topic(), at)
		}
	}
	if topics != 97 {
		t.Errorf("%d topics", topics)
	}
	if err := errors.Join(v.Close(), w.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
}

// checkRefilled reads all that a recorder has once its tape is closed, and holds it
// against the tape.
func checkRefilled(t *testing.T, r *Recorder, dir string) {
	t.Helper()
	extents := r.Extents()
	x := &refillReader{t: t, r: r}
	for _, s := range extents {
		for seq := s.From; seq < s.To; seq += 3000 {
			if !x.read(s.Epoch, s.Shard, seq, s.To, 0) {
				t.Fatalf("%+v", s)
			}
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Read(t.Context(), 1, 0, 0, 1, 0); !errors.Is(err, tape.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	tp, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	if got := tp.Extents(); !slices.Equal(got, extents) {
		t.Errorf("the tape has %d extents, the recorder %d", len(got), len(extents))
	}
	rep, err := tape.Verify(t.Context(), dir, nil)
	if err != nil || !rep.OK() || len(rep.LastValues) == 0 {
		t.Errorf("%v, %d problems, %d jumps of last values", err, len(rep.Problems), len(rep.LastValues))
	}
	if gaps, lost := r.Gaps(); gaps == 0 || lost == 0 {
		t.Error("the stream had no gaps")
	}
}

func TestRefillWaitsItsTurn(t *testing.T) {
	_, w := create(t, tape.Config{})
	r := New(w)
	defer func() { _ = errors.Join(w.Close(), r.Close()) }()
	if err := r.HandleBatch(batchOf(t, 0, "0"), 0); err != nil {
		t.Fatal(err)
	}
	for range cap(r.reads) {
		r.reads <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := r.Read(ctx, 5, 0, 0, 1, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("read: %v", err)
	}
	if _, err := r.Find(ctx, 0, "event"); !errors.Is(err, context.Canceled) {
		t.Errorf("find: %v", err)
	}
	done := make(chan error)
	go func() {
		_, release, err := r.Read(t.Context(), 5, 0, 0, 1, 0)
		if err == nil {
			release()
		}
		done <- err
	}()
	<-r.reads
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := r.Find(t.Context(), 0, "wall"); err == nil {
		t.Error("an unknown clock is taken")
	}
}

// BenchmarkRead reads a recording, from the start up to what is not on disk yet.
func BenchmarkRead(b *testing.B) {
	w, err := tape.Create(b.TempDir()+"/t.tape", tape.Config{Shards: 2})
	if err != nil {
		b.Fatal(err)
	}
	r, s := New(w), &refillStream{rng: rand.New(rand.NewPCG(1, 1))}
	const n = 300_000
	for seq := wire.Seq(0); seq < n; seq += 300 {
		if err := r.HandleBatch(s.batch(b, 30, seq, seq+300), 0); err != nil {
			b.Fatal(err)
		}
	}
	seq, records, bytes := wire.Seq(0), 0, 0
	b.ReportAllocs()
	for b.Loop() {
		batch, release, err := r.Read(b.Context(), 30, 0, seq, n, 64<<10)
		if err != nil {
			b.Fatal(err)
		}
		records, bytes = records+int(batch.Count), bytes+len(batch.Payload)
		if seq = batch.Next(); seq == n {
			seq = 0
		}
		release()
	}
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(bytes)/1e6/b.Elapsed().Seconds(), "MB/s")
	b.StopTimer()
	if err := errors.Join(w.Close(), r.Close()); err != nil {
		b.Fatal(err)
	}
}
