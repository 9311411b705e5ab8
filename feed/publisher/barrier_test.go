package publisher

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// waitHandled runs WaitHandled beside the test.
func waitHandled(ctx context.Context, p *Publisher) chan error {
	done := make(chan error, 1)
	go func() { done <- p.WaitHandled(ctx) }()
	return done
}

// stepper is a reader of all shards by raw sockets, which says what the test wants.
type stepper struct {
	t     testing.TB
	id    wire.ReaderID
	name  string
	raws  []*raw
	steps []string
}

// newStepper joins, and says nothing of what it has handled.
func newStepper(t testing.TB, p *Publisher, id byte, name string) *stepper {
	t.Helper()
	r := &stepper{t: t, id: wire.ReaderID{id}, name: name}
	for _, endpoint := range p.Endpoints() {
		s := connect(t, endpoint, zsock.SUB)
		s.subscribe(wire.Signature, wire.ReadyTopic(r.id, name))
		r.raws, r.steps = append(r.raws, s), append(r.steps, "")
	}
	return r
}

// says says that it has handled everything before next of a shard.
func (r *stepper) says(shard int, epoch wire.Epoch, next wire.Seq) {
	r.t.Helper()
	topic := wire.ReaderStep{Epoch: epoch, Next: next}.Topic(r.id)
	r.raws[shard].subscribe(topic)
	if r.steps[shard] != "" {
		if err := r.raws[shard].Unsubscribe(r.steps[shard]); err != nil {
			r.t.Fatal(err)
		}
	}
	r.steps[shard] = topic
}

// leaves makes it go, as a process that is killed does.
func (r *stepper) leaves() {
	for _, s := range r.raws {
		if err := s.Unsubscribe(wire.ReadyTopic(r.id, r.name)); err != nil {
			r.t.Fatal(err)
		}
	}
	for i, s := range r.raws {
		if err := s.Unsubscribe(r.steps[i]); err != nil {
			r.t.Fatal(err)
		}
	}
}

// absent is who is waited for, in words.
func absent(p *Publisher) string {
	var list []string
	for _, a := range p.Absent() {
		list = append(list, a.String())
	}
	return strings.Join(list, "; ")
}

// awaitAbsent attends to readers until those are waited for.
func awaitAbsent(t testing.TB, p *Publisher, want string) {
	t.Helper()
	until(t, p, func() bool { return absent(p) == want })
}

// TestWaitHandled: the publisher goes on when all readers that are named have handled
// everything, on every shard, and says meanwhile for whom it waits.
func TestWaitHandled(t *testing.T) {
	p := open(t, Config{Endpoints: []string{anyPort, anyPort}, Barrier: []string{"desk", "risk"}, Epoch: 7})
	awaitAbsent(t, p, `"desk", which is not there; "risk", which is not there`)
	desk := newStepper(t, p, 1, "desk")
	newStepper(t, p, 2, "other")
	awaitAbsent(t, p, `"desk", which does not say what it handles of shard 0: is it in lock-step?; `+
		`"desk", which does not say what it handles of shard 1: is it in lock-step?; "risk", which is not there`)
	desk.says(0, 7, 0)
	desk.says(1, 7, 0)
	awaitAbsent(t, p, `"risk", which is not there`)
	risk := newStepper(t, p, 3, "risk")
	risk.says(0, 7, 0)
	done := waitHandled(t.Context(), p)
	risk.says(1, 7, 0)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	batch := makeBatch(t, 1)
	for i := range 3 {
		if err := p.Send(t.Context(), 1, batch, nil); err != nil {
			t.Fatal(err)
		}
		next := wire.Seq(i + 1)
		done := waitHandled(t.Context(), p)
		risk.says(1, 7, next)
		desk.says(1, 7, next)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Send(t.Context(), 0, batch, nil); err != nil {
		t.Fatal(err)
	}
	desk.says(0, 7, 1)
	awaitAbsent(t, p, `"risk", which has handled 0 of 1 records of shard 0`)
	risk.leaves()
	awaitAbsent(t, p, `"risk", which is not there`)
	again := newStepper(t, p, 4, "risk") // it has nothing of what was sent before
	again.says(0, 7, 1)
	done = waitHandled(t.Context(), p)
	again.says(1, 7, 3)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if p.Stats().Awaited == 0 {
		t.Error("no time was spent waiting")
	}
}

// TestBarrierWaitsForAllOfOneName: two readers that call themselves the same are both
// waited for; where one goes, the other is enough.
func TestBarrierWaitsForAllOfOneName(t *testing.T) {
	p := open(t, Config{Barrier: []string{"desk"}, Epoch: 7})
	first, second := newStepper(t, p, 1, "desk"), newStepper(t, p, 2, "desk")
	first.says(0, 7, 0)
	second.says(0, 7, 0)
	awaitAbsent(t, p, "")
	until(t, p, func() bool { return len(p.Readers()) == 2 })
	if err := p.Send(t.Context(), 0, makeBatch(t, 1), nil); err != nil {
		t.Fatal(err)
	}
	second.says(0, 7, 1)
	awaitAbsent(t, p, `"desk", which has handled 0 of 1 records of shard 0`)
	first.leaves()
	awaitAbsent(t, p, "")
}

// TestBarrierForgetsOtherEpochs: what was handled of the epoch before says nothing of
// the one at hand.
func TestBarrierForgetsOtherEpochs(t *testing.T) {
	p := open(t, Config{Barrier: []string{"desk"}, Epoch: 7})
	desk := newStepper(t, p, 1, "desk")
	desk.says(0, 7, 100)
	awaitAbsent(t, p, "")
	if err := p.Begin(t.Context(), wire.SessionStart{Reason: "seek"}); err != nil {
		t.Fatal(err)
	}
	awaitAbsent(t, p, `"desk", which has handled 0 of 0 records of shard 0`)
	desk.says(0, p.Epoch(), 0)
	awaitAbsent(t, p, "")
}

// TestBarrierTimeout: the error says who is missing, and how.
func TestBarrierTimeout(t *testing.T) {
	p := open(t, Config{Barrier: []string{"desk", "risk"}, BarrierTimeout: 30 * time.Millisecond, Epoch: 7})
	desk := newStepper(t, p, 1, "desk")
	desk.says(0, 7, 0)
	awaitAbsent(t, p, `"risk", which is not there`)
	if err := p.Send(t.Context(), 0, makeBatch(t, 1), nil); err != nil {
		t.Fatal(err)
	}
	err := p.WaitHandled(t.Context())
	var missing *BarrierError
	if !errors.Is(err, ErrBarrier) || !errors.As(err, &missing) || missing.Waited < 30*time.Millisecond {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"in lock-step", `"desk", which has handled 0 of 1`, `"risk", which is not there`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

// TestWaitHandledObeys: a context ends the wait; without a barrier there is none.
func TestWaitHandledObeys(t *testing.T) {
	p := open(t, Config{Barrier: []string{"desk"}})
	ctx, cancel := context.WithCancel(t.Context())
	done := waitHandled(ctx, p)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := open(t, Config{}).WaitHandled(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestBarrierConfig: what cannot be is refused.
func TestBarrierConfig(t *testing.T) {
	for _, cfg := range []Config{
		{Barrier: []string{""}},
		{Barrier: []string{"a", "b", "a"}},
		{Barrier: []string{strings.Repeat("x", wire.ReaderNameMax+1)}},
		{Barrier: []string{"a"}, Lossless: true},
		{BarrierTimeout: -1},
	} {
		cfg.Endpoints = []string{anyPort}
		if p, err := New(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
			_ = p.Close()
		}
	}
}

// TestLockStepWithSubscribers: the library's own readers, with workers and without,
// say what the publisher waits for; one that is not named and stands still is in
// nobody's way.
func TestLockStepWithSubscribers(t *testing.T) {
	// Where the system's buffers are full, its queue is soon, too.
	p := open(t, Config{Endpoints: []string{anyPort, anyPort}, Barrier: []string{"plain", "workers"}, QueueBytes: 1})
	stuck := &gate{open: make(chan struct{})}
	defer close(stuck.open)
	subscribe(t, p, subscriber.Config{Name: "stuck", QueueBytes: 1 << 20}, stuck)
	g := openGate()
	subscribe(t, p, subscriber.Config{Name: "plain", LockStep: true}, g)
	w, err := subscriber.NewWorkers(subscriber.Config{Name: "workers", LockStep: true, Endpoints: p.Endpoints()},
		subscriber.WorkersConfig{Workers: 2}, func(int) subscriber.WorkerHandler { return idleWorker{} })
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- w.Run(t.Context()) }()
	if err := errors.Join(p.WaitReaders(t.Context(), 3), p.WaitHandled(t.Context())); err != nil {
		t.Fatal(err)
	}
	batch := makeBatch(t, 1<<20)
	const batches = 100 // far more than the queues of one that stands still have room for
	for i := range batches {
		if err := errors.Join(p.Send(t.Context(), i%2, batch, nil), p.WaitHandled(t.Context())); err != nil {
			t.Fatal(err)
		}
		if got, want := w.Summary().Records, uint64(i+1)*uint64(batch.Count); got != want {
			t.Fatalf("after batch %d the workers have %d records, want %d", i, got, want)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gaps > 0 || w.Summary().Gaps > 0 {
		t.Errorf("readers that are waited for miss %d and %d records", g.gaps, w.Summary().Lost)
	}
	p.Stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// idleWorker is a WorkerHandler that does nothing.
type idleWorker struct{}

func (idleWorker) HandleShare(s *subscriber.Share) error                { return s.Batch().Check() }
func (idleWorker) HandleGap(int, wire.Epoch, wire.Seq, wire.Seq)        {}
func (idleWorker) HandleSession(int, wire.Epoch, *wire.Session)         {}
func (idleWorker) HandleEnd(shard int, epoch wire.Epoch, complete bool) {}

// TestWaitHandledAllocatesNothing where everybody is through.
func TestWaitHandledAllocatesNothing(t *testing.T) {
	p := open(t, Config{Barrier: []string{"desk"}, Epoch: 7})
	desk := newStepper(t, p, 1, "desk")
	desk.says(0, 7, 0)
	awaitAbsent(t, p, "")
	if n := testing.AllocsPerRun(100, func() {
		if err := p.WaitHandled(t.Context()); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestMarksOfALongWaitAreFew: while a reader is waited for all day, marks do not fill its
// queue: the batch that comes then must have room in it. Otherwise silence is as short as
// ever.
func TestMarksOfALongWaitAreFew(t *testing.T) {
	var now atomic.Int64
	now.Store(1)
	p := open(t, Config{Barrier: []string{"desk"}, Heartbeat: time.Second, Now: func() wire.Nanos { return wire.Nanos(now.Load()) }})
	if err := p.Send(t.Context(), 0, makeBatch(t, 1), nil); err != nil {
		t.Fatal(err)
	}
	s, began := p.shards[0], time.Now()
	day := func(waits bool) int {
		s.marks = 0
		for second := range 86_400 {
			if waits {
				p.barrier.begin(began.Add(-time.Duration(second) * time.Second))
			}
			now.Add(int64(time.Second))
			_ = p.Notice(wire.SquawkTopic, []byte("{}"))
			if err := p.Tick(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return s.marks
	}
	if n := day(true); n < marksFree || n > 800 {
		t.Errorf("%d marks in a day of waiting", n)
	}
	p.barrier.end()
	if n := day(false); n < 86_400 {
		t.Errorf("%d marks in a day", n)
	}
}

// TestAwaitedGoesOn: how long was waited for readers shows while it is waited.
func TestAwaitedGoesOn(t *testing.T) {
	p := open(t, Config{Barrier: []string{"desk"}})
	ctx, cancel := context.WithCancel(t.Context())
	done := waitHandled(ctx, p)
	for before := time.Duration(0); ; runtime.Gosched() {
		now := p.Stats().Awaited
		if now < before {
			t.Fatalf("waited %v, then %v", before, now)
		}
		if before > 0 && now > before {
			break
		}
		before = now
	}
	cancel()
	<-done
}
