package resync

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// TestNothingMissing: what is whole goes through as it comes, on the caller's
// goroutine, and nobody is asked.
func TestNothingMissing(t *testing.T) {
	k := newSink()
	h := startHealer(t, HealerConfig{}, k)
	l := &live{h: h, epoch: 7}
	l.hello("p", nil)
	for range 10 {
		if err := l.send(5); err != nil {
			t.Fatal(err)
		}
		if at := h.Positions(); !slices.Equal(at, []Span{{Epoch: 7, To: l.next}}) {
			t.Fatalf("positions %v, want %d", at, l.next)
		}
	}
	l.end()
	settle(t, h)
	k.got(t, "shard 0 epoch 7 session p", "shard 0 epoch 7 from 0", "shard 0 epoch 7 end at 50 complete true")
	if st := h.Stats(); k.records != 50 || k.refilled != 0 || st.Gaps != 0 || st.Held != 0 || st.Completed != 1 {
		t.Errorf("%d records, %+v", k.records, st)
	}
}

// TestHeal: gaps in the middle, at the tail and at the very beginning of a second
// epoch are filled, and the stream is complete.
func TestHeal(t *testing.T) {
	m := newHistory(1)
	c := startClient(t, ClientConfig{}, startServer(t, m))
	k := newSink()
	h := startHealer(t, HealerConfig{Client: c}, k)
	l := &live{h: h, epoch: 7, kept: m}
	l.hello("one", nil)
	for i := range 20 {
		if i%5 == 2 {
			l.lose(1000)
		}
		if err := l.send(10); err != nil {
			t.Fatal(err)
		}
	}
	l.lose(7)
	start := l.begin(8)
	l.lose(3)
	l.hello("two", start)
	if err := l.send(10); err != nil {
		t.Fatal(err)
	}
	l.lose(5)
	l.end()
	settle(t, h)
	k.got(t, "shard 0 epoch 7 session one", "shard 0 epoch 7 from 0", "shard 0 epoch 8 session two", "shard 0 epoch 8 from 0",
		"shard 0 epoch 8 end at 18 complete true")
	st := h.Stats()
	if want := uint64(20*10 + 4*1000 + 7 + 18); k.records != want || st.Refilled < 4015 || st.Gaps != st.Healed || st.Gaps < 4 || st.Lost != 0 ||
		st.Missing != 0 || st.HeldBytes != 0 || st.Broken != 0 || st.Completed != 1 {
		t.Errorf("%d records, want %d, %+v", k.records, want, st)
	}
	if n := h.HealTimes().HDR().TotalCount(); uint64(n) != st.Healed {
		t.Errorf("%d healings were timed, want %d", n, st.Healed)
	}
}

// TestGoneIsTold: what nobody has reaches the handler as a gap, in its place, and
// the stream is not complete.
func TestGoneIsTold(t *testing.T) {
	m := newHistory(1)
	c := startClient(t, ClientConfig{}, startServer(t, m))
	k := newSink()
	var warned []error
	h := startHealer(t, HealerConfig{Client: c, Warn: func(_ int, err error) { warned = append(warned, err) }}, k)
	l := &live{h: h, epoch: 7, kept: m}
	_ = l.send(10)
	l.lose(10)
	l.kept = nil
	l.lose(10) // nobody kept these
	l.kept = m
	l.lose(10)
	_ = l.send(10)
	l.end()
	settle(t, h)
	k.got(t, "shard 0 epoch 7 from 0", "shard 0 epoch 7 lost [20, 30)", "shard 0 epoch 7 end at 50 complete false")
	var lost *LostError
	if len(warned) != 1 || !errors.As(warned[0], &lost) || lost.Reason != ReasonGone || lost.Span != (Span{7, 0, 20, 30}) {
		t.Errorf("warned of %v", warned)
	}
	if st := h.Stats(); st.Lost != 10 || st.LostBy[ReasonGone] != 10 || st.GaveUp != 1 || st.Partial != 1 || k.records != 40 {
		t.Errorf("%d records, %+v", k.records, st)
	}
}

// TestNobodyToAsk: without a client a Healer reports gaps as they come.
func TestNobodyToAsk(t *testing.T) {
	k := newSink()
	h := startHealer(t, HealerConfig{}, k)
	l := &live{h: h, epoch: 7}
	_ = l.send(10)
	l.lose(5)
	_ = l.send(10)
	l.begin(9)
	_ = l.send(1)
	l.end()
	settle(t, h)
	k.got(t, "shard 0 epoch 7 from 0", "shard 0 epoch 7 lost [10, 15)", "shard 0 epoch 9 from 0", "shard 0 epoch 9 end at 1 complete true")
	if st := h.Stats(); st.Broken != 1 || st.LostBy[ReasonNoServer] != 5 {
		t.Errorf("%+v", st)
	}
}

// TestServersFail: the next one is asked, and what no server answers for is given
// up in the end.
func TestServersFail(t *testing.T) {
	m := newHistory(1)
	a, b := startServer(t, m), startServer(t, m)
	a.set(func(f *faults) { f.stopAt = 500 })
	c := startClient(t, ClientConfig{Silence: 80 * time.Millisecond}, a, b)
	k := newSink()
	const attempts = 6
	h := startHealer(t, HealerConfig{Client: c, Attempts: attempts, BackoffMax: 5 * time.Millisecond}, k)
	l := &live{h: h, epoch: 7, kept: m}
	_ = l.send(10)
	for range 100 {
		l.lose(10)
	}
	_ = l.send(10)
	settle(t, h)
	st := h.Stats()
	if k.records != 1020 || st.Requests < 2 || st.Healed != 1 {
		t.Fatalf("%d records, %+v", k.records, st)
	}
	before := st.Requests
	for _, s := range []*testServer{a, b} {
		s.set(func(f *faults) { f.deaf = true })
	}
	l.lose(10)
	_ = l.send(10)
	l.end()
	settle(t, h)
	k.got(t, "shard 0 epoch 7 from 0", "shard 0 epoch 7 lost [1020, 1030)", "shard 0 epoch 7 end at 1040 complete false")
	if st := h.Stats(); st.LostBy[ReasonNoAnswer] != 10 || st.Requests != before+2*attempts {
		t.Errorf("%+v", st)
	}
}

// TestRefillDiffers: a refill whose digest is another is no proof.
func TestRefillDiffers(t *testing.T) {
	m := newHistory(1)
	s := startServer(t, m)
	s.set(func(f *faults) { f.digest = true })
	k := newSink()
	h := startHealer(t, HealerConfig{Client: startClient(t, ClientConfig{}, s)}, k)
	l := &live{h: h, epoch: 7, kept: m}
	_ = l.send(10)
	l.lose(10)
	_ = l.send(10)
	l.end()
	settle(t, h)
	k.got(t, "shard 0 epoch 7 from 0", "shard 0 epoch 7 end at 30 complete false")
	if st := h.Stats(); st.Diverged != 1 {
		t.Errorf("%+v", st)
	}
}

// TestLiveHashDiffers: neither is a live stream whose rolling hash is another.
func TestLiveHashDiffers(t *testing.T) {
	k := newSink()
	h := startHealer(t, HealerConfig{}, k)
	l := &live{h: h, epoch: 7}
	_ = l.send(10)
	l.hash++
	_ = l.send(10)
	l.end()
	settle(t, h)
	k.got(t, "shard 0 epoch 7 from 0", "shard 0 epoch 7 end at 20 complete false")
}

// TestEarlyEnd: a publisher that was stopped has no complete stream.
func TestEarlyEnd(t *testing.T) {
	k := newSink()
	h := startHealer(t, HealerConfig{}, k)
	l := &live{h: h, epoch: 7}
	_ = l.send(10)
	l.mark(wire.FlagEnd | wire.FlagEarly)
	settle(t, h)
	k.got(t, "shard 0 epoch 7 from 0", "shard 0 epoch 7 end at 10 complete false")
}

// TestEndWithoutMarks: the subscriber's word is all there is.
func TestEndWithoutMarks(t *testing.T) {
	for _, complete := range []bool{true, false} {
		k := newSink()
		h := startHealer(t, HealerConfig{}, k)
		l := &live{h: h, epoch: 7}
		_ = l.send(10)
		h.HandleEnd(0, 7, complete)
		settle(t, h)
		k.got(t, "shard 0 epoch 7 from 0", fmt.Sprintf("shard 0 epoch 7 end at 10 complete %v", complete))
	}
}

// TestFromEpoch: who joins late asks for the epoch's beginning, and of epochs before
// it for nothing. Where the live stream was joined can be told.
func TestFromEpoch(t *testing.T) {
	m := newHistory(1)
	c := startClient(t, ClientConfig{}, startServer(t, m))
	k := newSink()
	l := &live{h: &Healer{shards: make([]*mender, 1)}, epoch: 6, kept: m}
	l.lose(10)
	start := l.begin(7)
	l.lose(20)
	l.seen = l.next
	h := startHealer(t, HealerConfig{Client: c, Start: Start{Epoch: true}}, k)
	l.h = h
	l.hello("now", start) // at 20
	if at := h.Splices(); len(at) != 0 {
		t.Errorf("spliced at %v before anything came", at)
	}
	l.lose(5)
	_ = l.send(10)
	l.end()
	settle(t, h)
	k.got(t, "shard 0 epoch 7 session now", "shard 0 epoch 7 from 0", "shard 0 epoch 7 end at 35 complete true")
	if st := h.Stats(); k.records != 35 || st.Refilled != 25 || st.Gaps != 1 || st.Healed != 1 {
		t.Errorf("%d records, %+v", k.records, st)
	}
	if at, want := h.Splices(), []Span{{Epoch: 7, From: 25}}; !slices.Equal(at, want) {
		t.Errorf("spliced at %v, want %v", at, want)
	}
}

// TestStartIsOneOf: ways to begin exclude one another, and the past takes a server.
func TestStartIsOneOf(t *testing.T) {
	c := startClient(t, ClientConfig{}, startServer(t, newHistory(1)))
	at := []Span{{Epoch: 7, To: 1}}
	for _, cfg := range []HealerConfig{
		{Client: c, Start: Start{Positions: at, Clock: "event"}},
		{Client: c, Start: Start{Positions: at, Epoch: true}},
		{Client: c, Start: Start{Clock: "event", Epoch: true}},
		{Start: Start{Clock: "event"}},
		{Start: Start{Epoch: true}},
	} {
		cfg.Shards = 1
		if _, err := NewHealer(cfg, newSink()); err == nil {
			t.Errorf("%+v was taken", cfg.Start)
		}
	}
}

// TestHandlerFails: its error ends the run, whoever called it.
func TestHandlerFails(t *testing.T) {
	own := errors.New("disk full")
	m := newHistory(1)
	c := startClient(t, ClientConfig{}, startServer(t, m))
	for _, at := range []wire.Seq{10, 20, 30} { // a live batch, a refilled one, a held one
		k := newSink()
		k.fail = func(b *wire.Batch) error {
			if b.FirstSeq >= at {
				return own
			}
			return nil
		}
		h, err := NewHealer(HealerConfig{Shards: 1, Client: c}, k)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- h.Run(t.Context()) }()
		epoch := wire.Epoch(100 + at)
		l := &live{h: h, epoch: epoch, kept: m}
		errs := []error{l.send(10)}
		errs = append(errs, l.send(10))
		l.lose(10)
		errs = append(errs, l.send(10))
		if err := h.Settle(t.Context()); !errors.Is(err, own) {
			t.Errorf("at %d: settle: %v", at, err)
		}
		if err := <-done; !errors.Is(err, own) {
			t.Errorf("at %d: run: %v", at, err)
		}
		if err := l.send(10); !errors.Is(err, own) {
			t.Errorf("at %d: the next batch was taken: %v", at, err)
		}
		if at == 10 && !errors.Is(errs[1], own) {
			t.Errorf("the failing batch itself: %v", errs)
		}
		if at := h.Positions(); len(at) != 1 || at[0].To > 30 {
			t.Errorf("positions %v", at)
		}
	}
}

// TestHoldIsBounded: what cannot be held is refilled instead.
func TestHoldIsBounded(t *testing.T) {
	m := newHistory(1)
	s := startServer(t, m)
	s.set(func(f *faults) { f.deaf = true })
	k := newSink()
	h := startHealer(t, HealerConfig{Client: startClient(t, ClientConfig{Silence: 400 * time.Millisecond}, s), HoldBytes: 50_000, Attempts: 1000}, k)
	l := &live{h: h, epoch: 7, kept: m}
	_ = l.send(10)
	l.lose(10)
	for range 300 {
		_ = l.send(10)
		if st := h.Stats(); st.HeldBytes > 50_000 {
			t.Fatalf("holds %d bytes", st.HeldBytes)
		}
	}
	s.set(func(f *faults) { f.deaf = false })
	l.end()
	settle(t, h)
	k.got(t, "shard 0 epoch 7 from 0", "shard 0 epoch 7 end at 3020 complete true")
	if st := h.Stats(); st.Evicted == 0 || st.HeldPeak == 0 || st.HeldPeak > 50_000 || k.records != 3020 {
		t.Errorf("%d records, %+v", k.records, st)
	}
}

// TestSlowHandlerSlowsTheStream: while the Handler catches up and the room is full,
// the receive loop delivers, as it would without a Healer: nothing is dropped.
func TestSlowHandlerSlowsTheStream(t *testing.T) {
	m := newHistory(1)
	k := newSink()
	slow := make(chan struct{})
	k.fail = func(b *wire.Batch) error {
		if b.FirstSeq == 20 {
			<-slow
		}
		return nil
	}
	h := startHealer(t, HealerConfig{Client: startClient(t, ClientConfig{}, startServer(t, m)), HoldBytes: 50_000}, k)
	l := &live{h: h, epoch: 7, kept: m}
	_ = l.send(10)
	l.lose(10)
	_ = l.send(10) // its delivery stands still
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 300 {
			_ = l.send(10)
		}
	}()
	close(slow)
	<-done
	l.end()
	settle(t, h)
	k.got(t, "shard 0 epoch 7 from 0", "shard 0 epoch 7 end at 3030 complete true")
}

// TestNoticesGoThrough: they have no place among records.
func TestNoticesGoThrough(t *testing.T) {
	k := &noticeSink{sink: newSink()}
	h := startHealer(t, HealerConfig{}, k)
	h.HandleNotice(0, wire.Record("a notice"))
	k.got(t, "notice a notice")
	h = startHealer(t, HealerConfig{}, newSink())
	h.HandleNotice(0, wire.Record("a notice"))
}

func TestHealerConfig(t *testing.T) {
	c, err := NewClient(ClientConfig{Endpoints: []string{"tcp://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []HealerConfig{
		{}, {Shards: 1 << 16}, {Shards: 1, HoldBytes: -1}, {Shards: 1, Attempts: -1},
		{Shards: 1, Start: Start{Clock: "event"}}, {Shards: 1, Client: c, Start: Start{Clock: "wall"}},
		{Shards: 1, Client: c, Start: Start{Clock: "event", Positions: []Span{{Epoch: 1}}}},
		{Shards: 1, Start: Start{Positions: []Span{{Epoch: 1, Shard: 1}}}}, {Shards: 1, Start: Start{Positions: []Span{{}}}},
	} {
		if _, err := NewHealer(cfg, newSink()); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

// TestAllocPassThrough: a batch of a whole stream costs nothing but two locks.
func TestAllocPassThrough(t *testing.T) {
	h, err := NewHealer(HealerConfig{Shards: 1}, nothing{})
	if err != nil {
		t.Fatal(err)
	}
	b := numbered(7, 0, 1, 0, 100, 100)
	hash := wire.Hash(0)
	allocs := testing.AllocsPerRun(1000, func() {
		b.Hash = hash
		hash = hash.Roll(b.Count, b.CRC)
		if err := h.HandleBatch(b, 0); err != nil {
			t.Fatal(err)
		}
		b.FirstSeq = b.Next()
	})
	if st := h.Stats(); allocs != 0 || st.Diverged != 0 || st.Missing != 0 {
		t.Errorf("%v allocations a batch, want 0; %+v", allocs, st)
	}
}

func (nothing) HandleBatch(*wire.Batch, uint32) error                { return nil }
func (nothing) HandleGap(int, wire.Epoch, wire.Seq, wire.Seq)        {}
func (nothing) HandleSession(int, wire.Epoch, *wire.Session)         {}
func (nothing) HandleEnd(shard int, epoch wire.Epoch, complete bool) {}

func TestCountersAddEverything(t *testing.T) {
	var one, sum Counters
	v := reflect.ValueOf(&one).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Uint64:
			f.SetUint(3)
		case reflect.Int64:
			f.SetInt(3)
		case reflect.Array:
			f.Index(2).SetUint(3)
		}
	}
	sum.add(&one)
	if sum != one {
		t.Errorf("a field is not added: %+v", sum)
	}
}
