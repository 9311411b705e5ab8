package replay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// fakeLanes is a publisher that takes shards from several goroutines.
type fakeLanes struct {
	fakePublisher
	mu     sync.Mutex
	stored int
	busy   map[int]bool // shards that are being sent to
	failAt map[int]int  // per shard, the batch whose sending fails
	sent   map[int]int
	meet   chan struct{} // if there is one: the first batch of each shard waits for the others'
}

var errFull = errors.New("fake: full")

func (f *fakeLanes) Send(ctx context.Context, shard int, b *wire.Batch, done interface{ Release() }) error {
	f.mu.Lock()
	first := f.sent[shard] == 0
	f.mu.Unlock()
	if f.meet != nil && first {
		// Every shard's first batch gives and takes: it passes when another one
		// is here at the same time.
		select {
		case f.meet <- struct{}{}:
		case <-f.meet:
		case <-ctx.Done():
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sent == nil {
		f.sent, f.busy = map[int]int{}, map[int]bool{}
	}
	if f.sent[shard]++; f.failAt[shard] == f.sent[shard] {
		done.Release()
		return errFull
	}
	return f.fakePublisher.Send(ctx, shard, b, done)
}

func (f *fakeLanes) SendStored(ctx context.Context, shard int, b *wire.Batch, ref *wire.Reference, done interface{ Release() }) error {
	f.mu.Lock()
	f.stored++
	f.mu.Unlock()
	return f.Send(ctx, shard, b, done)
}

// TestLanes: shards on threads of their own send what one goroutine does, over
// several epochs and passes, whole or in part, stored plain or not.
func TestLanes(t *testing.T) {
	for _, spec := range []tapeSpec{
		{shards: 2, epochs: []int{2000}, codec: tape.CodecPlain, topics: 50},
		{shards: 5, epochs: []int{700, 900}, codec: tape.CodecZstd, topics: 50},
		{shards: 3, epochs: []int{500, 700}, codec: tape.CodecPlain, apart: true},
		{shards: 8, epochs: []int{300}, codec: tape.CodecPlain, topics: 2}, // most lanes have nothing
	} {
		for _, part := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d shards %v part %v", spec.shards, spec.codec, part), func(t *testing.T) {
				tp := makeTape(t, spec)
				cfg, read := Config{Tape: tp, Passes: 2}, tape.ReadConfig{}
				if part {
					cfg.From, cfg.To = firstTime+50_000, firstTime+250_000
					read.From, read.To = cfg.From, cfg.To
				}
				one, lanes := &fakePublisher{t: t}, &fakeLanes{fakePublisher: fakePublisher{t: t}}
				cfg.Publisher = one
				wantRep, err := run(t, cfg)
				if err != nil {
					t.Fatal(err)
				}
				cfg.Publisher = lanes
				rep, err := run(t, cfg)
				if err != nil {
					t.Fatal(err)
				}
				same(t, lanes.merged(), one.merged())
				wantRep.Elapsed, rep.Elapsed = 0, 0
				if rep != wantRep || rep.Passes != 2 || lanes.ended != 1 {
					t.Errorf("report %+v, want %+v; ended %d times", rep, wantRep, lanes.ended)
				}
				if !part && (lanes.stored > 0) != (spec.codec == tape.CodecPlain) {
					t.Errorf("%d batches stored", lanes.stored)
				}
				if want := all(t, tp, read); rep.Records != uint64(2*len(want)) {
					t.Errorf("%d records in two passes over %d", rep.Records, len(want))
				}
			})
		}
	}
}

// TestLanesAtOneTime: the lanes do run beside each other: their first batches can
// meet.
func TestLanesAtOneTime(t *testing.T) {
	tp := makeTape(t, tapeSpec{shards: 2, epochs: []int{1000}, codec: tape.CodecPlain, topics: 50})
	f := &fakeLanes{fakePublisher: fakePublisher{t: t}, meet: make(chan struct{})}
	if _, err := run(t, Config{Tape: tp, Publisher: f}); err != nil {
		t.Fatal(err)
	}
	same(t, f.merged(), all(t, tp, tape.ReadConfig{}))
}

// TestLaneFails: what ends one lane ends all, and the player with its reason.
func TestLaneFails(t *testing.T) {
	tp := makeTape(t, tapeSpec{shards: 3, epochs: []int{1000}, codec: tape.CodecZstd, topics: 50})
	f := &fakeLanes{fakePublisher: fakePublisher{t: t}, failAt: map[int]int{1: 2}}
	if _, err := run(t, Config{Tape: tp, Publisher: f, Passes: -1}); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
	if f.ended != 0 {
		t.Error("the stream was ended though it is not whole")
	}
}

// TestLanesEndWithContext: lanes that play for ever end with the context.
func TestLanesEndWithContext(t *testing.T) {
	tp := makeTape(t, tapeSpec{shards: 2, epochs: []int{1000}, codec: tape.CodecPlain})
	f := &fakeLanes{fakePublisher: fakePublisher{t: t}}
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	f.onSend = func(*wire.Batch) {
		if n++; n == 100 {
			cancel()
		}
	}
	p, err := New(Config{Tape: tp, Publisher: f, Passes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	rep, err := p.Run(ctx)
	if !errors.Is(err, context.Canceled) || rep.Batches < 99 || p.Progress().Records.Load() != rep.Records {
		t.Errorf("%v, %+v, progress %d", err, rep, p.Progress().Records.Load())
	}
}

// TestOrderOfOneGoroutine: paced, filtered and re-sharded play keeps the order
// over all shards, so it has no lanes.
func TestOrderOfOneGoroutine(t *testing.T) {
	tp := makeTape(t, tapeSpec{shards: 2, epochs: []int{1000}, codec: tape.CodecPlain})
	for name, cfg := range map[string]Config{
		"paced": {Speed: 1e6}, "filtered": {Topics: []string{"T"}}, "other shards": {Shards: 3},
	} {
		cfg.Tape, cfg.Publisher = tp, &fakeLanes{fakePublisher: fakePublisher{t: t}}
		p, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if p.inLanes() || cfg.SendsBlocks() {
			t.Errorf("%s: in lanes %v, sends blocks %v", name, p.inLanes(), cfg.SendsBlocks())
		}
		p.Close()
	}
}

// TestCPUs: the threads are where they are told to be, the caller's is as it was
// afterwards, and a CPU that is not there is an error.
func TestCPUs(t *testing.T) {
	tp := makeTape(t, tapeSpec{shards: 2, epochs: []int{1000}, codec: tape.CodecPlain})
	if _, err := New(Config{Tape: tp, CPUs: []int{0}}); err == nil {
		t.Error("one CPU for two shards was accepted")
	}
	cpu := firstCPU(t)
	for _, speed := range []Speed{Max, 1e6} {
		f := &fakeLanes{fakePublisher: fakePublisher{t: t}}
		f.onSend = func(*wire.Batch) {
			if got := cpusOfThread(t); got != fmt.Sprint([]int{cpu}) {
				t.Errorf("speed %v: a thread that sends may run on %s, want %d", speed, got, cpu)
			}
		}
		if _, err := run(t, Config{Tape: tp, Publisher: f, Speed: speed, CPUs: []int{cpu, cpu}}); err != nil {
			t.Fatal(err)
		}
		for _, missing := range []int{1023} {
			if _, err := run(t, Config{Tape: tp, Publisher: f, Speed: speed, CPUs: []int{missing, missing}}); err == nil {
				t.Errorf("speed %v: CPU %d was accepted", speed, missing)
			}
		}
	}
}
