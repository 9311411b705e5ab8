package subscriber

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/wire"
)

// holder is a Between that holds some batches back, as one that fills gaps does: from
// one in five on it copies what comes, and hands that on from its own goroutine.
type holder struct {
	next Handler

	mu    sync.Mutex
	idle  *sync.Cond
	more  chan struct{}
	held  []func() error // what waits, in order
	begun int            // batches so far
	fail  error          // what Run returns at once

	passed, late int // batches
	marks        int
}

func newHolder(next Handler) *holder {
	h := &holder{next: next, more: make(chan struct{}, 1)}
	h.idle = sync.NewCond(&h.mu)
	return h
}

// later puts a call behind what waits.
func (h *holder) later(f func() error) {
	h.held = append(h.held, f)
	select {
	case h.more <- struct{}{}:
	default:
	}
}

func (h *holder) HandleBatch(b *wire.Batch, skip uint32) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.begun++
	if len(h.held) == 0 && h.begun%5 != 0 {
		h.passed++
		return h.next.HandleBatch(b, skip)
	}
	own := *b
	own.Payload, own.Order = slices.Clone(b.Payload), slices.Clone(b.Order)
	h.late++
	h.later(func() error {
		return h.next.(interface {
			HandleRefill(*wire.Batch, uint32) error
		}).HandleRefill(&own, skip)
	})
	return nil
}

func (h *holder) note(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.held) == 0 {
		f()
		return
	}
	h.later(func() error { f(); return nil })
}

func (h *holder) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	h.note(func() { h.next.HandleGap(shard, epoch, from, to) })
}

func (h *holder) HandleSession(shard int, epoch wire.Epoch, s *wire.Session) {
	h.note(func() { h.next.HandleSession(shard, epoch, s) })
}

func (h *holder) HandleEnd(shard int, epoch wire.Epoch, complete bool) {
	h.note(func() { h.next.HandleEnd(shard, epoch, complete) })
}

func (h *holder) HandleMark(int, *wire.Header) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.marks++
}

func (h *holder) Run(ctx context.Context) error {
	if h.fail != nil {
		return h.fail
	}
	for {
		h.mu.Lock()
		for len(h.held) > 0 && ctx.Err() == nil {
			if err := h.held[0](); err != nil {
				h.mu.Unlock()
				return err
			}
			h.held = h.held[1:]
			h.mu.Unlock() // let the loop add to it
			h.mu.Lock()
		}
		h.idle.Broadcast()
		h.mu.Unlock()
		select {
		case <-h.more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (h *holder) Settle(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.held) > 0 {
		h.idle.Wait()
	}
	return nil
}

// TestBetween: whatever stands between loops and workers and holds back, every
// record comes once, in order, and the end comes last.
func TestBetween(t *testing.T) {
	for _, wc := range []WorkersConfig{
		{Workers: 1}, {Workers: 3}, {Workers: 5, PoolBatches: 2}, {Workers: 3, PoolBytes: 1}, {Workers: 3, Dispatch: Any},
	} {
		t.Run(fmt.Sprintf("%v/workers=%d/batches=%d/bytes=%d", wc.Dispatch, wc.Workers, wc.PoolBatches, wc.PoolBytes), func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			p := newFake(t, anyPort, 0, 1, 7)
			var h *holder
			wc.Between = func(next Handler) (Between, error) {
				h = newHolder(next)
				return h, nil
			}
			led := newLedger(wc.Workers)
			w := mustWorkers(t, Config{Endpoints: []string{p.endpoint}}, wc, led.handler)
			done := runWorkers(t, t.Context(), w)
			p.greet()
			next := map[string]uint32{}
			for range 200 {
				p.sendTopics(30, next)
			}
			p.end()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			led.check(t, wc.Dispatch, next)
			for _, page := range led.pages {
				if last := page.events[len(page.events)-1]; wc.Dispatch == ByTopic && last != "end true" {
					t.Errorf("last of all: %s", last)
				}
			}
			if h.late < 40 || h.passed+h.late != 200 || h.marks == 0 {
				t.Errorf("%d batches passed, %d late, %d marks", h.passed, h.late, h.marks)
			}
			if at, want := w.Handled(), []Position{{Epoch: 7, Next: 6000}}; !slices.Equal(at, want) {
				t.Errorf("handled %v, want %v", at, want)
			}
		})
	}
}

// TestBetweenFails: an error of what stands between ends the run.
func TestBetweenFails(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	own := errors.New("nobody knows where to begin")
	p := newFake(t, anyPort, 0, 1, 7)
	w := mustWorkers(t, Config{Endpoints: []string{p.endpoint}}, WorkersConfig{Workers: 2, Between: func(next Handler) (Between, error) {
		h := newHolder(next)
		h.fail = own
		return h, nil
	}}, newLedger(2).handler)
	if err := w.Run(t.Context()); !errors.Is(err, own) {
		t.Errorf("run: %v", err)
	}
	_, err := NewWorkers(Config{Endpoints: []string{p.endpoint}}, WorkersConfig{Workers: 1, Between: func(Handler) (Between, error) { return nil, own }}, newLedger(1).handler)
	if !errors.Is(err, own) {
		t.Errorf("new: %v", err)
	}
}

// through is a Between that hands everything on at once.
type through struct{ Handler }

func (through) Run(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
func (through) Settle(context.Context) error  { return nil }

// watcher writes down where the bytes of what it is given lie.
type watcher struct {
	nothing
	at     *byte
	refill bool
}

func (v *watcher) HandleShare(s *Share) error {
	v.at, v.refill = unsafe.SliceData(s.Batch().Payload), s.Refill()
	return nil
}

// whole reports whether every lease is back.
func (p *pool) whole() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.free) == cap(p.free)
}

// TestBetweenLends: what is handed on while the loop waits is not copied, and its
// message goes with it; what is handed on later, or as a refill, is a copy.
func TestBetweenLends(t *testing.T) {
	v := &watcher{}
	var next Handler
	d, m, end := pipeline(t, WorkersConfig{Workers: 1, Between: func(h Handler) (Between, error) {
		next = h
		return through{h}, nil
	}}, func(int) WorkerHandler { return v })
	w := (*Workers)(d)
	front := newLender(w.between, w)
	batch := marketBatch(t, 4<<10)
	payload := unsafe.SliceData(batch.Payload)
	own := m
	m, err := front.keep(batch, 0, m)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the batch comes back", d.pools[0].whole)
	if m == own || v.at != payload || v.refill {
		t.Error("a batch at hand was copied")
	}
	refilled := next.(interface {
		HandleRefill(*wire.Batch, uint32) error
	}).HandleRefill
	for refill, call := range map[bool]func(*wire.Batch, uint32) error{false: next.HandleBatch, true: refilled} {
		if err := call(batch, 0); err != nil {
			t.Fatal(err)
		}
		until(t, "the batch comes back", d.pools[0].whole)
		if v.at == payload || v.refill != refill {
			t.Errorf("refill %v: not copied, or taken for what it is not", refill)
		}
	}
	end()
	m.Close()
}

// TestBetweenAlloc: a copy costs no allocation.
func TestBetweenAlloc(t *testing.T) {
	d, m, end := pipeline(t, WorkersConfig{Workers: 2, PoolBatches: 4, Between: func(h Handler) (Between, error) { return through{h}, nil }},
		func(int) WorkerHandler { return &visit{} })
	batch := marketBatch(t, 64<<10)
	step := func() {
		if err := d.HandleRefill(batch, 0); err != nil {
			t.Fatal(err)
		}
	}
	for range 16 {
		step()
	}
	if allocs := testing.AllocsPerRun(500, step); allocs != 0 {
		t.Errorf("%v allocations a batch, want 0", allocs)
	}
	end()
	m.Close()
}

// TestHandled: a shard has come as far as everything before has come back, whatever
// the order, and no further than what was discarded.
func TestHandled(t *testing.T) {
	h := newHandled(4)
	if _, ok := h.at(); ok {
		t.Error("something was handled before anything came")
	}
	a, b, c := h.begin(7, 10), h.begin(7, 20), h.begin(8, 5)
	for _, step := range []struct {
		n    uint64
		want Position
	}{{b, Position{}}, {a, Position{Epoch: 7, Next: 20}}, {c, Position{Epoch: 8, Next: 5}}} {
		h.end(step.n, false)
		if at, _ := h.at(); at != step.want {
			t.Errorf("after %d: %v, want %v", step.n, at, step.want)
		}
	}
	for i := range wire.Seq(10) { // the ring goes round
		h.end(h.begin(8, 6+i), false)
	}
	d, e := h.begin(8, 20), h.begin(8, 30)
	h.end(e, false)
	h.end(d, true)
	if at, want := h.pos, (Position{Epoch: 8, Next: 15}); at != want || !h.stuck {
		t.Errorf("behind a batch that was discarded: %v, want %v", at, want)
	}
}

// TestHandledWhileHeld: what a worker has in hand is not handled.
func TestHandledWhileHeld(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	led := newLedger(2)
	hold, begun := make(chan struct{}), make(chan struct{}, 1000)
	led.pages[0].hold, led.pages[0].begun = hold, begun
	w := mustWorkers(t, Config{Endpoints: []string{p.endpoint}}, WorkersConfig{Workers: 2}, led.handler)
	done := runWorkers(t, t.Context(), w)
	p.greet()
	next := map[string]uint32{}
	p.sendTopics(100, next)
	p.sendTopics(100, next)
	<-begun
	if at := w.Handled(); len(at) != 0 {
		t.Errorf("handled %v while the first batch is in hand", at)
	}
	close(hold)
	p.end()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if at, want := w.Handled(), []Position{{Epoch: 7, Next: 200}}; !slices.Equal(at, want) {
		t.Errorf("handled %v, want %v", at, want)
	}
}
