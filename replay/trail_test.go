package replay

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// TestTrail: however much is sent, a trail stays small, and its points are batches
// that were sent, at distances that grow with it; one that is over is smaller.
func TestTrail(t *testing.T) {
	const batchMax = 5000
	rng := rand.New(rand.NewPCG(1, 1))
	for _, batches := range []int{0, 1, 20, 3000, 200_000} {
		trail := newTrail()
		sent := map[wire.Seq]wire.Ordinal{}
		seq, ordinal := wire.Seq(0), wire.Ordinal(7)
		for range batches {
			count := 1 + rng.IntN(batchMax)
			ordinal += wire.Ordinal(rng.IntN(9))
			sent[seq] = ordinal
			trail.sent(ordinal, ordinal+wire.Ordinal(count)-1, uint32(count))
			seq, ordinal = seq+wire.Seq(count), ordinal+wire.Ordinal(count)
		}
		for _, over := range []bool{false, true} {
			if over {
				trail.finish()
			}
			p := trail.points.Load()
			n := int(p.n.Load())
			if n > pointsMax || over && n > pointsOld || batches > 0 && n == 0 {
				t.Fatalf("%d points of %d batches, over %v", n, batches, over)
			}
			apart := p.step / pointStep * (pointStep + batchMax)
			if wire.Seq(trail.next.Load()) != seq || batches > 0 && wire.Ordinal(trail.at.Load()) != ordinal {
				t.Fatalf("next %d, want %d; at %d, want %d", trail.next.Load(), seq, trail.at.Load(), ordinal)
			}
			for i, pt := range p.list[:n] {
				if at, ok := sent[pt.seq]; !ok || at != pt.ordinal || pt.sent == 0 {
					t.Fatalf("point %+v is no batch that was sent", pt)
				}
				if i > 0 && (pt.seq-p.list[i-1].seq < p.step/2 || pt.seq-p.list[i-1].seq > apart) {
					t.Fatalf("points %d apart, step %d", pt.seq-p.list[i-1].seq, p.step)
				}
			}
			for range 100 {
				at := wire.Seq(rng.Uint64N(uint64(seq) + 1))
				pt, ok := trail.before(func(pt *point) bool { return pt.seq > at })
				if ok != (batches > 0) || pt.seq > at || ok && at-pt.seq > apart+batchMax {
					t.Fatalf("before %d of %d: %+v, %v", at, seq, pt, ok)
				}
			}
		}
	}
}

// TestTrailIsReadMeanwhile: readers see points that are whole while one writes.
func TestTrailIsReadMeanwhile(t *testing.T) {
	trail := newTrail()
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			for next := uint64(0); next < 40_000*1000; next = trail.next.Load() {
				pt, ok := trail.before(func(pt *point) bool { return pt.seq > wire.Seq(next) })
				if ok && (pt.ordinal != wire.Ordinal(pt.seq) || pt.seq > wire.Seq(next)) {
					t.Errorf("before %d: %+v", next, pt)
					return
				}
			}
		})
	}
	for i := range wire.Ordinal(40_000) {
		trail.sent(i*1000, i*1000+999, 1000)
	}
	group.Wait()
}

func TestAllocTrail(t *testing.T) {
	trail, at := newTrail(), wire.Ordinal(0)
	allocs := testing.AllocsPerRun(100_000, func() {
		trail.sent(at, at, 1)
		at++
	})
	if allocs != 0 {
		t.Errorf("%v allocations a batch", allocs)
	}
}

// TestHistoryForgets: of many epochs the latest are remembered, and of the others
// that they were there.
func TestHistoryForgets(t *testing.T) {
	f := newFakeDeck(t, 1)
	s := start(t, f, f, Config{Tape: deckTape(t, 300, 1), Paused: true})
	const more = 10
	for range epochsMax + more {
		must(t, s.p.Step(t.Context(), 1))
		must(t, s.p.Seek(t.Context(), ToTime(firstTime+200_000, tape.ClockReceive)))
	}
	must(t, s.p.Step(t.Context(), 1))
	spans := s.p.Extents()
	if len(spans) != epochsMax || spans[0].Epoch != 100+more+1 {
		t.Errorf("%d epochs from %d on", len(spans), spans[0].Epoch)
	}
	for epoch, want := range map[wire.Epoch]error{1: tape.ErrGone, 100 + more: tape.ErrGone, 1 << 40: tape.ErrUnknownEpoch} {
		var seqErr *tape.SeqError
		_, _, err := s.p.Read(t.Context(), epoch, 0, 0, 1, 0)
		if !errors.Is(err, want) || !errors.As(err, &seqErr) || seqErr.Epoch != epoch {
			t.Errorf("epoch %d: %v", epoch, err)
		}
	}
	if _, _, err := s.p.Read(t.Context(), spans[0].Epoch, 1, 0, 1, 0); !errors.Is(err, tape.ErrUnknownEpoch) {
		t.Errorf("a shard that is not there: %v", err)
	}
	if _, _, err := s.p.Read(t.Context(), spans[0].Epoch, 0, 1, 1, 0); err == nil {
		t.Error("nothing was read")
	}
	if _, err := s.p.Find(t.Context(), 1, "sundial"); err == nil {
		t.Error("a clock that is not there was taken")
	}
	must(t, s.p.Stop(t.Context()))
	s.end(t, ErrStopped)
}

// TestFindBySendTime: by the player's own clock what it sent from a moment on is
// found, though perhaps with some of what went before.
func TestFindBySendTime(t *testing.T) {
	f := newFakeDeck(t, 1)
	s := start(t, f, f, Config{Tape: deckTape(t, 9000, 1), Shards: 1, Topics: []string{"T"}, BatchBytes: batchBytesMin, Paused: true})
	must(t, s.p.Step(t.Context(), 100))
	must(t, s.p.Seek(t.Context(), ToTime(firstTime, tape.ClockReceive)))
	must(t, s.p.Step(t.Context(), 3000))
	epochs := s.p.history.all()
	pt := epochs[1].trails[0].points.Load().list[0]
	for at, want := range map[wire.Nanos][]tape.SeqSpan{
		1:                   {{Epoch: 100, To: 100}, {Epoch: 101, To: 3000}},
		epochs[1].began + 1: {{Epoch: 101, To: 3000}},
		pt.sent:             {{Epoch: 101, To: 3000}},
	} {
		got, err := s.p.Find(t.Context(), at, "send")
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("from %d: %+v, want %+v; %v", at, got, want, err)
		}
	}
	if got, err := s.p.Find(t.Context(), wire.NanosMax, "send"); err != nil || len(got) != 1 || got[0].From == 0 || got[0].To != 3000 {
		t.Errorf("from after everything: %+v, %v", got, err)
	}
	must(t, s.p.Stop(t.Context()))
	s.end(t, ErrStopped)
}

// TestShardsOutOfOrder: a tape whose shards do not have its epochs in its order is
// played record by record, in the one order.
func TestShardsOutOfOrder(t *testing.T) {
	dir := t.TempDir() + "/t.tape"
	w, err := tape.Create(dir, tape.Config{Shards: 2, SyncInterval: -1})
	must(t, err)
	n := 0
	put := func(shard int, epoch wire.Epoch, seq int) {
		topic := []string{"T04", "T00"}[shard]
		f := wire.Fields{Topic: []byte(topic), Body: fmt.Append(nil, n), Event: firstTime, Receive: firstTime}
		must(t, w.AppendFields(tape.At{Shard: shard, Epoch: epoch, Seq: wire.Seq(seq), Ordinal: wire.Ordinal(n)}, &f))
		n++
	}
	for i := range 5 { // epoch 2 comes first, on shard 0; shard 1 has epoch 1 before it
		put(0, 2, i)
	}
	must(t, w.Sync(t.Context()))
	for i := range 5 {
		put(1, 1, i)
	}
	must(t, w.Sync(t.Context()))
	for i := range 5 {
		put(1, 2, i)
	}
	must(t, w.Close())
	tp, err := tape.Open(dir)
	must(t, err)
	defer tp.Close()
	if newNumbering(tp).ordered {
		t.Fatal("the tape's shards are in order")
	}
	f := newFakeDeck(t, 2)
	s := start(t, f, fakeDeckLanes{f}, Config{Tape: tp})
	s.end(t, nil)
	want := all(t, tp, tape.ReadConfig{})
	got := map[wire.Ordinal]string{}
	for sh := range 2 {
		for _, it := range f.epochs[0].items(t, sh) {
			got[it.ordinal] = it.record
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
}

// TestNumbering: places and what is on the tape lead to one another.
func TestNumbering(t *testing.T) {
	tp := makeTape(t, tapeSpec{shards: 3, epochs: []int{100, 50, 250}, apart: true})
	n := newNumbering(tp)
	if !n.ordered || n.span != 400 {
		t.Fatalf("%+v", n)
	}
	place := wire.Ordinal(0)
	r := tp.Records(tape.ReadConfig{})
	defer r.Close()
	for ; r.Next(); place++ {
		at := r.At()
		if e, o := n.onTape(place); e != at.Epoch || o != at.Ordinal || at.Ordinal+n.offsets[at.Epoch] != place {
			t.Fatalf("place %d is ordinal %d of epoch %d, want %+v", place, o, e, at)
		}
	}
	if pass, rest := (&ordinals{span: n.span}).split(3*400 + 7); pass != 3 || rest != 7 {
		t.Errorf("pass %d, place %d", pass, rest)
	}
}
