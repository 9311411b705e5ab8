package merge

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// seeds is how many random sets of tapes the model is held against.
const seeds = 2000

var clocks = []tape.Clock{tape.ClockReceive, tape.ClockEvent, tape.ClockSend}

// trial is a source and what it must give.
type trial struct {
	t     *testing.T
	rng   *rand.Rand
	tapes []*tape.Tape
	clock tape.Clock
	src   replay.Source
	all   []placed
	span  wire.Ordinal
}

func TestModel(t *testing.T) {
	n := seeds
	if testing.Short() {
		n /= 20
	}
	refused := 0
	for seed := range uint64(n) {
		rng := rand.New(rand.NewPCG(seed, 17))
		x := &trial{t: t, rng: rng, clock: clocks[rng.IntN(3)]}
		for i := range 1 + rng.IntN(4) {
			m := anyTape(rng, i)
			x.tapes = append(x.tapes, m.write(t, rng))
		}
		src, err := New(x.tapes, x.clock)
		var none *ClockError
		if errors.As(err, &none) {
			if x.clock != tape.ClockSend {
				t.Fatalf("seed %d: %v", seed, err)
			}
			refused++
			continue
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		x.src, x.all, x.span = src, inMemory(t, x.tapes, x.clock), src.Span()
		x.walks(0, tape.ReadConfig{})
		for range 6 {
			x.again()
			x.walks(wire.Ordinal(rng.IntN(int(x.span)+2)), x.anyRange())
			x.finds()
			x.lasts()
			x.goesOn()
		}
		if t.Failed() {
			t.Fatalf("seed %d: %d tapes by the %v clock", seed, len(x.tapes), x.clock)
		}
	}
	if refused == 0 || refused > n/2 {
		t.Errorf("%d of %d refused", refused, n)
	}
}

// again forgets, now and then, what is remembered, or opens the source once more.
func (x *trial) again() {
	switch x.rng.IntN(3) {
	case 0:
		src, err := New(x.tapes, x.clock)
		if err != nil {
			x.t.Fatal(err)
		}
		x.src = src
	case 1:
		src, err := x.src.Reopen()
		if err != nil {
			x.t.Fatal(err)
		}
		x.t.Cleanup(func() { _ = src.Close() })
		x.src = src
	}
}

// anyTime is a time around those of the records.
func (x *trial) anyTime() wire.Nanos {
	if len(x.all) > 0 && x.rng.IntN(4) > 0 {
		p := &x.all[x.rng.IntN(len(x.all))]
		return p.time(clocks[x.rng.IntN(2)]) + wire.Nanos(x.rng.IntN(3)-1)
	}
	return start + wire.Nanos(x.rng.IntN(400)-50)
}

func (x *trial) anyRange() tape.ReadConfig {
	cfg := tape.ReadConfig{Clock: clocks[x.rng.IntN(3)]}
	if x.rng.IntN(2) == 0 {
		cfg.From = x.anyTime()
	}
	if x.rng.IntN(2) == 0 {
		cfg.To = x.anyTime()
	}
	return cfg
}

// walks holds a walk against the model.
func (x *trial) walks(from wire.Ordinal, cfg tape.ReadConfig) {
	x.t.Helper()
	w, err := x.src.Walk(cfg, from)
	if err != nil {
		x.t.Fatal(err)
	}
	defer w.Close()
	x.follows(w, from, cfg, -1)
}

// follows holds so many records of a walk against the model, or below 0 all of them,
// and returns the place behind them.
func (x *trial) follows(w replay.Walk, from wire.Ordinal, cfg tape.ReadConfig, most int) wire.Ordinal {
	x.t.Helper()
	var it replay.Item
	for n := range x.all {
		p := &x.all[n]
		if p.place < from || !p.in(cfg) {
			continue
		}
		if most == 0 {
			return from
		}
		most--
		if !w.Next(&it) {
			x.t.Fatalf("from %d, %+v: the walk ends (%v) before place %d", from, cfg, w.Err(), p.place)
		}
		if it.Place != p.place || !bytes.Equal(it.Record, p.rec) {
			x.t.Fatalf("from %d, %+v: %q at %d, want %q at %d", from, cfg, it.Record.Body(), it.Place, p.rec.Body(), p.place)
		}
		from = p.place + 1
	}
	if most != 0 && w.Next(&it) {
		x.t.Fatalf("from %d, %+v: %q at %d behind the last one", from, cfg, it.Record.Body(), it.Place)
	}
	if w.Err() != nil {
		x.t.Fatal(w.Err())
	}
	return from
}

// goesOn reads piece by piece, as readers do that missed something.
func (x *trial) goesOn() {
	cfg := x.anyRange()
	from := wire.Ordinal(x.rng.IntN(int(x.span) + 1))
	for range 4 {
		w, err := x.src.Walk(cfg, from)
		if err != nil {
			x.t.Fatal(err)
		}
		from = x.follows(w, from, cfg, x.rng.IntN(30))
		if err := w.Close(); err != nil {
			x.t.Fatal(err)
		}
		if x.rng.IntN(3) == 0 {
			from = wire.Ordinal(max(0, int(from)-x.rng.IntN(5)))
		}
	}
}

// finds holds Find against the model.
func (x *trial) finds() {
	for range 4 {
		c, at, from := clocks[x.rng.IntN(3)], x.anyTime(), wire.Ordinal(0)
		if x.rng.IntN(2) == 0 {
			from = wire.Ordinal(x.rng.IntN(int(x.span) + 1))
		}
		want := x.span
		for n := range x.all {
			if p := &x.all[n]; p.place >= from && p.since(c, at) {
				want = p.place
				break
			}
		}
		if got, err := x.src.Find(c, at, from); err != nil || got != want {
			x.t.Fatalf("the first at or after %v %d from place %d: %d, want %d (%v)", c, at-start, from, got, want, err)
		}
	}
}

// lasts holds last values against the model.
func (x *trial) lasts() {
	before, other := wire.Ordinal(x.rng.IntN(int(x.span)+2)), wire.Ordinal(x.rng.IntN(int(x.span)+2))
	var topics func([]byte) bool
	if x.rng.IntN(3) == 0 {
		topics = func(topic []byte) bool { return topic[len(topic)-1]%2 == 0 }
	}
	want := map[string]*placed{}
	for n := range x.all {
		if p := &x.all[n]; p.place < before && (topics == nil || topics(p.rec.Topic())) {
			want[string(p.rec.Topic())] = p
		}
	}
	w, err := x.src.WalkLast(before, topics)
	if err != nil {
		x.t.Fatal(err)
	}
	defer w.Close()
	for {
		ok, err := w.Next(context.Background())
		if err != nil {
			x.t.Fatal(err)
		}
		if !ok {
			break
		}
		topic := string(w.Record().Topic())
		p := want[topic]
		if p == nil || !bytes.Equal(p.rec, w.Record()) {
			x.t.Fatalf("before %d: %s has %q, want %v", before, topic, w.Record().Body(), p)
		}
		if got, err := w.Before(other); err != nil || got != (p.place < other) {
			x.t.Fatalf("%s at %d is before %d: %v (%v)", topic, p.place, other, got, err)
		}
		delete(want, topic)
	}
	if len(want) > 0 {
		x.t.Fatalf("before %d: %d topics are missing", before, len(want))
	}
}
