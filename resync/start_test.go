package resync

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// TestJoinLate: who joins late has no proof of the beginning, and does not ask for
// it.
func TestJoinLate(t *testing.T) {
	m := newHistory(1)
	k := newSink()
	h := startHealer(t, HealerConfig{Client: startClient(t, ClientConfig{}, startServer(t, m))}, k)
	l := &live{h: h, epoch: 7, kept: m}
	l.lose(10)
	l.seen = l.next
	_ = l.send(10)
	l.lose(10)
	_ = l.send(10)
	l.end()
	settle(t, h)
	k.got(t, "shard 0 epoch 7 from 10", "shard 0 epoch 7 end at 40 complete false")
}

// TestResume: a reader that has lost all state goes on in the epoch it was in, over
// those that came since, into the live one.
func TestResume(t *testing.T) {
	m := newHistory(2)
	c := startClient(t, ClientConfig{}, startServer(t, m))
	k := newSink()
	h, err := NewHealer(HealerConfig{Shards: 2, Client: c, Backoff: time.Millisecond,
		Start: Start{Positions: []Span{{Epoch: 7, Shard: 0, To: 15}}}}, k)
	if err != nil {
		t.Fatal(err)
	}
	l, other := &live{h: h, epoch: 6, kept: m}, &live{h: h, shard: 1, epoch: 9}
	l.lose(10)
	for _, e := range []wire.Epoch{7, 8, 9} {
		l.begin(e)
		l.lose(20)
		l.lose(20)
	}
	l.seen = l.next
	_ = l.send(10) // before it is known where to begin
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	_ = l.send(10)
	l.end()
	other.lose(5)
	other.seen = other.next
	_ = other.send(5)
	other.end()
	settle(t, h)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	k.mu.Lock()
	k.events = slices.DeleteFunc(k.events, func(e string) bool { return e[:7] == "shard 1" })
	k.mu.Unlock()
	k.got(t, "shard 0 epoch 7 from 15", "shard 0 epoch 8 from 0", "shard 0 epoch 9 from 0", "shard 0 epoch 9 end at 60 complete true")
	if k.records != 25+40+60+5 {
		t.Errorf("%d records", k.records)
	}
	if at, want := h.Positions(), []Span{{9, 0, 0, 60}, {9, 1, 0, 10}}; !slices.Equal(at, want) {
		t.Errorf("positions %v, want %v", at, want)
	}
}

// TestFromTime: what is older comes from the server, then the live stream goes on,
// without a gap or anything twice.
func TestFromTime(t *testing.T) {
	m := newHistory(1)
	c := startClient(t, ClientConfig{}, startServer(t, m))
	k := newSink()
	l := &live{h: &Healer{shards: make([]*mender, 1)}, epoch: 5, kept: m}
	l.lose(30)
	for _, e := range []wire.Epoch{6, 7} {
		l.begin(e)
		l.lose(20)
		l.lose(20)
	}
	l.seen = l.next
	h := startHealer(t, HealerConfig{Client: c, Start: Start{From: 6e6 + 25, Clock: "event"}}, k)
	l.h = h
	l.hello("now", nil)
	for range 100 {
		_ = l.send(10)
	}
	l.end()
	settle(t, h)
	k.got(t, "shard 0 epoch 6 session now", "shard 0 epoch 6 from 25", "shard 0 epoch 7 session now", "shard 0 epoch 7 from 0",
		"shard 0 epoch 7 end at 1040 complete true")
	if k.records != 15+1040 {
		t.Errorf("%d records", k.records)
	}
}

// TestFromTimeNobodyKnows: to begin elsewhere is not what was asked for.
func TestFromTimeNobodyKnows(t *testing.T) {
	s := startServer(t, newHistory(1))
	s.set(func(f *faults) { f.deaf = true })
	c := startClient(t, ClientConfig{Silence: 20 * time.Millisecond, Attempts: 1}, s)
	h, err := NewHealer(HealerConfig{Shards: 1, Client: c, Start: Start{From: 1, Clock: "event"}}, newSink())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Run(t.Context()); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("run: %v", err)
	}
}

// TestResumeOverUnseenEpoch: what a hello says of the epoch before counts also where it
// came before it was known where to begin. Nobody has anything of that epoch but the
// word that it was, and it is not left out in silence.
func TestResumeOverUnseenEpoch(t *testing.T) {
	m := newHistory(1)
	c := startClient(t, ClientConfig{}, startServer(t, m))
	k := newSink()
	h, err := NewHealer(HealerConfig{Shards: 1, Client: c, Backoff: time.Millisecond, BackoffMax: time.Millisecond, Attempts: 2,
		Start: Start{Positions: []Span{{Epoch: 7, To: 20}}}}, k)
	if err != nil {
		t.Fatal(err)
	}
	l := &live{h: h, epoch: 7, kept: m}
	l.lose(20)
	m.end(7, 0)
	l.begin(9)
	l.hello("nine", &wire.SessionStart{Reason: "seek", PreviousEpoch: 8, PreviousNext: 5, PreviousHash: 1})
	_ = l.send(10)
	l.end()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	settle(t, h)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if lost := h.Stats().Lost; lost != 5 {
		t.Errorf("%d records are said to be lost, want the 5 of epoch 8", lost)
	}
}

// TestOrderOf: the shards' orders make one.
func TestOrderOf(t *testing.T) {
	spans := []Span{{Epoch: 7, Shard: 0, To: 5}, {Epoch: 9, Shard: 0, To: 5}, {Epoch: 9, Shard: 0, From: 7, To: 8},
		{Epoch: 7, Shard: 1, To: 5}, {Epoch: 8, Shard: 1, To: 5}, {Epoch: 9, Shard: 1, To: 5}, {Epoch: 10, Shard: 1, To: 5},
		{Epoch: 6, Shard: 2, To: 1}, {Epoch: 7, Shard: 2, To: 1}, {Epoch: 11, Shard: 2, To: 1}}
	if got := orderOf([]Span{{Epoch: 4, Shard: 0}, {Epoch: 9, Shard: 0}, {Epoch: 4, Shard: 1}, {Epoch: 6, Shard: 1}, {Epoch: 9, Shard: 1},
		{Epoch: 4, Shard: 2}, {Epoch: 5, Shard: 2}}); !slices.Equal(got, []wire.Epoch{4, 5, 6, 9}) {
		t.Errorf("%v", got)
	}
	if got := orderOf([]Span{{Epoch: 4, Shard: 0}, {Epoch: 9, Shard: 0}, {Epoch: 9, Shard: 1}, {Epoch: 4, Shard: 1}}); len(got) != 2 {
		t.Errorf("shards that contradict each other: %v", got)
	}
	got := orderOf(spans)
	for _, pair := range [][2]wire.Epoch{{6, 7}, {7, 8}, {8, 9}, {9, 10}, {7, 11}} {
		if slices.Index(got, pair[0]) > slices.Index(got, pair[1]) || slices.Index(got, pair[0]) < 0 {
			t.Errorf("%d is not before %d in %v", pair[0], pair[1], got)
		}
	}
	if len(got) != 6 {
		t.Errorf("%v", got)
	}
}

// TestResumeWhereOneShardWasIdle: the recorder has nothing of the epoch that a reader was
// in on a shard, but knows the epoch from another: what came since is not left out.
func TestResumeWhereOneShardWasIdle(t *testing.T) {
	m := newHistory(2)
	c := startClient(t, ClientConfig{}, startServer(t, m))
	k := newSink()
	h, err := NewHealer(HealerConfig{Shards: 2, Client: c, Backoff: time.Millisecond, BackoffMax: time.Millisecond, Attempts: 2,
		Start: Start{Positions: []Span{{Epoch: 7, Shard: 0, To: 20}, {Epoch: 7, Shard: 1}}}}, k)
	if err != nil {
		t.Fatal(err)
	}
	l, other := &live{h: h, epoch: 7, kept: m}, &live{h: h, shard: 1, epoch: 7, kept: m}
	l.lose(20)
	for _, e := range []wire.Epoch{8, 9} {
		l.begin(e)
		other.begin(e)
		l.lose(20)
		other.lose(20)
	}
	l.seen, other.seen = l.next, other.next
	_, _ = l.send(10), other.send(10)
	l.end()
	other.end()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	settle(t, h)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if k.records != 2*(20+30) {
		t.Errorf("%d records, want those of epochs 8 and 9 on both shards", k.records)
	}
}
