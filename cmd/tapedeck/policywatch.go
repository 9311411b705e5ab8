package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// slowWatch watches how late a reader is, says so, and does what its policy says.
// Its handlers stand before and behind what a policy needs:
//
//	receive loops ── front ── Conflater or Gate ── back ── the reader's handler
//	                  │ what comes, how late          │ whether the handler returns
//	                  └──────────── slowLane ─────────┘
//	                                   │ ten times a limit: tick
//	                                 Ladder ── squawks, reports, actions
type slowWatch struct {
	cfg       slowConfig
	out       *output
	clock     func() snail.Instant
	report    func(shard int, r wire.ReaderReport)
	lanes     [][]slowLane // by shard, then by worker
	ladder    *snail.Ladder
	conflater *subscriber.Conflater // of PolicyConflate
	gate      *subscriber.Gate      // of PolicySkip
	back      *slowBack
	every     time.Duration // from tick to tick
	nextTick  atomic.Int64  // by the monotonic clock

	skipped  chan error      // the end of a skip
	skipping bool            // of watch alone
	ending   chan chan error // the stream has ended: answered when no skip is under way any more
	dying    *slowError      // of tick alone
	died     atomic.Pointer[slowError]
	dead     chan struct{} // closed when died is set

	// A squawk waits here to be written as JSON: nobody may read our output.
	lines   chan snail.Squawk
	squawks atomic.Uint64
	unsaid  atomic.Uint64 // those that there was no room for
	taken   atomic.Uint64 // snapshots
	entries atomic.Uint64 // of snapshots
}

// slowLane is what one shard gives to one worker.
type slowLane struct {
	mu    sync.Mutex
	meter *snail.Meter
	past  catchingUp
	busy  atomic.Int64 // the handler was called before then, by the monotonic clock; 0: it is not at work
	_     [64]byte     // keep neighbours off each other's cache line
}

func newSlowWatch(cfg slowConfig, out *output) (*slowWatch, error) {
	w := &slowWatch{
		cfg: cfg, out: out, clock: newClock(), report: func(int, wire.ReaderReport) {},
		skipped: make(chan error, 1), ending: make(chan chan error), dead: make(chan struct{}), lines: make(chan snail.Squawk, 256),
		every: min(max(cfg.limit/10, tickMin), tickMax),
	}
	w.nextTick.Store(1)
	for range cfg.shards {
		lanes := make([]slowLane, max(cfg.workers, 1))
		for i := range lanes {
			var err error
			if lanes[i].meter, err = snail.NewMeter(snail.Limits{Lag: cfg.limit}); err != nil {
				return nil, err
			}
		}
		w.lanes = append(w.lanes, lanes)
	}
	var err error
	w.ladder, err = snail.NewLadder(snail.LadderConfig{Policy: cfg.policy, Shards: cfg.shards, Name: cfg.name, Calm: 5 * cfg.limit})
	return w, err
}

// newClock returns a clock whose monotonic side begins above 0.
func newClock() func() snail.Instant {
	start := time.Now().Add(-1)
	return func() snail.Instant {
		now := time.Now()
		return snail.Instant{Wall: wire.NanosOf(now), Mono: wire.Nanos(now.Sub(start))}
	}
}

// handler puts what the policy needs before a reader's handler.
func (w *slowWatch) handler(h *subHandler) (subscriber.Handler, error) {
	w.back = &slowBack{w, h}
	var next subscriber.Handler = w.back
	var err error
	switch w.cfg.policy {
	case snail.PolicyConflate:
		w.conflater, err = subscriber.NewConflater(subscriber.ConflaterConfig{Shards: w.cfg.shards}, next)
		next = w.conflater
	case snail.PolicySkip:
		w.gate, err = subscriber.NewGate(subscriber.GateConfig{Shards: w.cfg.shards}, next)
		next = w.gate
	}
	return &slowFront{next, w}, err
}

// start starts what runs beside the receive loops until the context ends.
func (w *slowWatch) start(ctx context.Context, cancel context.CancelCauseFunc) *sync.WaitGroup {
	var wg sync.WaitGroup
	wg.Go(func() { w.watch(ctx, cancel) })
	wg.Go(func() { w.say(ctx) })
	if w.conflater != nil {
		wg.Go(func() {
			if err := w.conflater.Run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	return &wg
}

// lastSkip waits for the skip that was under way when the stream ended: what it hands
// over are the last values of all.
func (w *slowWatch) lastSkip(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case w.ending <- done:
		return <-done // a skip heeds the context
	case <-ctx.Done():
		return nil
	}
}

// Ticks are a tenth of the limit apart, within reason.
const tickMin, tickMax = 5 * time.Millisecond, 100 * time.Millisecond

func (w *slowWatch) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	every := time.NewTicker(w.every)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			if w.skipping {
				<-w.skipped // it heeds the context, too
			}
			return
		case done := <-w.ending:
			var err error
			if w.skipping {
				err = w.endSkip(<-w.skipped)
			}
			done <- err
			return
		case err := <-w.skipped:
			if err = w.endSkip(err); err != nil {
				cancel(err)
			}
		case <-every.C:
			w.tick(ctx)
		}
	}
}

// tick looks at every shard.
func (w *slowWatch) tick(ctx context.Context) {
	if w.dying != nil {
		// One tick ago: by now the publisher has been told why.
		if w.died.CompareAndSwap(nil, w.dying) {
			close(w.dead)
		}
		return
	}
	now := w.clock()
	w.nextTick.Store(int64(now.Mono) + int64(w.every))
	for shard := range w.lanes {
		for i := range w.lanes[shard] {
			l := &w.lanes[shard][i]
			l.mu.Lock()
			l.meter.Tick(now, wire.Nanos(l.busy.Load()))
			l.mu.Unlock()
		}
		s, skipped := w.status(shard), uint64(0)
		if w.conflater != nil {
			skipped = w.conflater.Skipped(shard)
		}
		w.report(shard, wire.ReaderReport{Lag: s.Lag, Lost: s.Lost, Verdict: s.Verdict.String()})
		if k, ok := w.ladder.Take(now, shard, s, skipped); ok {
			w.act(ctx, k)
		}
	}
}

// status is how a shard fares: as its worst worker does.
func (w *slowWatch) status(shard int) snail.Status {
	var worst snail.Status
	for i := range w.lanes[shard] {
		l := &w.lanes[shard][i]
		l.mu.Lock()
		s := l.meter.Status()
		l.mu.Unlock()
		if i == 0 || s.Verdict > worst.Verdict || s.Verdict == worst.Verdict && s.Lag > worst.Lag {
			worst = s
		}
	}
	return worst
}

// act tells of a squawk and does what it says.
func (w *slowWatch) act(ctx context.Context, k snail.Squawk) {
	w.squawks.Add(1)
	// Last words are the error's.
	if k.Action != snail.ActDie {
		w.out.remark("%v", &k)
	}
	select {
	case w.lines <- k:
	default:
		w.unsaid.Add(1)
	}
	switch k.Action {
	case snail.ActConflate, snail.ActResume:
		w.conflater.Conflate(k.Shard, k.Action == snail.ActConflate)
	case snail.ActSkip:
		w.skipping = true
		go func() { w.skipped <- w.skip(ctx) }()
	case snail.ActDie:
		w.dying = &slowError{k, w.cfg.limit}
	}
}

// endSkip goes on after a skip: nothing that was seen before it counts.
func (w *slowWatch) endSkip(err error) error {
	w.skipping = false
	if err != nil {
		return fmt.Errorf("policy skip: %w", err)
	}
	for shard := range w.lanes {
		for i := range w.lanes[shard] {
			l := &w.lanes[shard][i]
			l.mu.Lock()
			l.meter.Forgive()
			l.mu.Unlock()
		}
	}
	w.ladder.Skipped()
	w.out.remark("skipped to a fresh snapshot, %s so far", count(w.taken.Load(), "snapshot"))
	return nil
}

// say writes the squawks as JSON. It alone waits where nobody reads our output.
func (w *slowWatch) say(ctx context.Context) {
	for {
		select {
		case k := <-w.lines:
			_ = w.out.message("squawk", &k, "")
		case <-ctx.Done():
			for len(w.lines) > 0 {
				k := <-w.lines
				_ = w.out.message("squawk", &k, "")
			}
			return
		}
	}
}
