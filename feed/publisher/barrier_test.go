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

// stepper is a reader of all shards by raw sockets, which says of each what the test
// wants, and which hello it has had: always the latest.
type stepper struct {
	t     testing.TB
	p     *Publisher
	id    wire.ReaderID
	name  string
	raws  []*raw
	steps []wire.ReaderStep
}

// newStepper joins, and says nothing of what it has handled.
func newStepper(t testing.TB, p *Publisher, id byte, name string) *stepper {
	t.Helper()
	r := &stepper{t: t, p: p, id: wire.ReaderID{id}, name: name, steps: make([]wire.ReaderStep, len(p.shards))}
	for _, endpoint := range p.Endpoints() {
		s := connect(t, endpoint, zsock.SUB)
		s.subscribe(wire.Signature, wire.ReadyTopic(r.id, name))
		r.raws = append(r.raws, s)
	}
	return r
}

// says says that it has handled everything before next of a shard.
func (r *stepper) says(shard int, epoch wire.Epoch, next wire.Seq) {
	r.t.Helper()
	s := r.p.shards[shard]
	s.mu.Lock()
	hello := s.lastHello
	s.mu.Unlock()
	before, step := r.steps[shard], wire.ReaderStep{Epoch: epoch, Next: next, Hello: hello}
	if step == before {
		return
	}
	r.raws[shard].subscribe(step.Topic(r.id))
	if before.Epoch != 0 {
		if err := r.raws[shard].Unsubscribe(before.Topic(r.id)); err != nil {
			r.t.Fatal(err)
		}
	}
	r.steps[shard] = step
}

// answers says what it has said once more where there was a hello since.
func (r *stepper) answers() {
	for shard, step := range r.steps {
		if step.Epoch != 0 {
			r.says(shard, step.Epoch, step.Next)
		}
	}
}

// leaves makes it go, as a process that is killed does.
func (r *stepper) leaves() {
	for _, s := range r.raws {
		if err := s.Unsubscribe(wire.ReadyTopic(r.id, r.name)); err != nil {
			r.t.Fatal(err)
		}
	}
	for i, s := range r.raws {
		if err := s.Unsubscribe(r.steps[i].Topic(r.id)); err != nil {
			r.t.Fatal(err)
		}
		r.steps[i] = wire.ReaderStep{}
	}
}

// through waits for WaitHandled; meanwhile readers answer hellos.
func through(t testing.TB, done chan error, readers ...*stepper) {
	t.Helper()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
			for _, r := range readers {
				r.answers()
			}
			runtime.Gosched()
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
func awaitAbsent(t testing.TB, p *Publisher, want string, readers ...*stepper) {
	t.Helper()
	until(t, p, func() bool {
		for _, r := range readers {
			r.answers()
		}
		return absent(p) == want
	})
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
	awaitAbsent(t, p, `"risk", which is not there`, desk)
	risk := newStepper(t, p, 3, "risk")
	risk.says(0, 7, 0)
	done := waitHandled(t.Context(), p)
	risk.says(1, 7, 0)
	through(t, done, desk, risk)
	batch := makeBatch(t, 1)
	for i := range 3 {
		if err := p.Send(t.Context(), 1, batch, nil); err != nil {
			t.Fatal(err)
		}
		next := wire.Seq(i + 1)
		done := waitHandled(t.Context(), p)
		risk.says(1, 7, next)
		desk.says(1, 7, next)
		through(t, done, desk, risk)
	}
	if err := p.Send(t.Context(), 0, batch, nil); err != nil {
		t.Fatal(err)
	}
	desk.says(0, 7, 1)
	awaitAbsent(t, p, `"risk", which has handled 0 of 1 records of shard 0`, desk, risk)
	risk.leaves()
	awaitAbsent(t, p, `"risk", which is not there`, desk)
	again := newStepper(t, p, 4, "risk") // it has nothing of what was sent before
	again.says(0, 7, 1)
	done = waitHandled(t.Context(), p)
	again.says(1, 7, 3)
	through(t, done, desk, again)
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
	until(t, p, func() bool { return len(p.Readers()) == 2 })
	awaitAbsent(t, p, "", first, second)
	if err := p.Send(t.Context(), 0, makeBatch(t, 1), nil); err != nil {
		t.Fatal(err)
	}
	second.says(0, 7, 1)
	awaitAbsent(t, p, `"desk", which has handled 0 of 1 records of shard 0`, first, second)
	first.leaves()
	awaitAbsent(t, p, "", second)
}

// TestBarrierForgetsOtherEpochs: what was handled of the epoch before says nothing of
// the one at hand.
func TestBarrierForgetsOtherEpochs(t *testing.T) {
	p := open(t, Config{Barrier: []string{"desk"}, Epoch: 7})
	desk := newStepper(t, p, 1, "desk")
	desk.says(0, 7, 100)
	awaitAbsent(t, p, "", desk)
	if err := p.Begin(t.Context(), wire.SessionStart{Reason: "seek"}); err != nil {
		t.Fatal(err)
	}
	awaitAbsent(t, p, `"desk", which has handled 0 of 0 records of shard 0`, desk)
	desk.says(0, p.Epoch(), 0)
	awaitAbsent(t, p, "", desk)
}

// TestBarrierTimeout: the error says who is missing, and how.
func TestBarrierTimeout(t *testing.T) {
	p := open(t, Config{Barrier: []string{"desk", "risk"}, BarrierTimeout: 30 * time.Millisecond, Epoch: 7})
	desk := newStepper(t, p, 1, "desk")
	desk.says(0, 7, 0)
	awaitAbsent(t, p, `"risk", which is not there`, desk)
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
	awaitAbsent(t, p, "", desk)
	if n := testing.AllocsPerRun(100, func() {
		if err := p.WaitHandled(t.Context()); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestBatchHasRoom: a reader that stood still, with its queue full of marks, is asked
// first, by a hello, whether it has had them; then the batch that follows finds room.
func TestBatchHasRoom(t *testing.T) {
	var now atomic.Int64
	now.Store(1)
	// Of heartbeats, 8 fit into the queue, and some into the system's buffers.
	p := open(t, Config{Barrier: []string{"desk"}, Heartbeat: time.Second, QueueBytes: 1, Now: func() wire.Nanos { return wire.Nanos(now.Load()) }})
	g := &gate{open: make(chan struct{}), taken: make(chan uint32, 2)}
	r := subscribe(t, p, subscriber.Config{Name: "desk", LockStep: true, QueueBytes: 1}, g)
	if err := errors.Join(p.WaitReaders(t.Context(), 1), p.WaitHandled(t.Context())); err != nil {
		t.Fatal(err)
	}
	send := func() {
		if err := p.Send(t.Context(), 0, makeBatch(t, 1), nil); err != nil {
			t.Fatal(err)
		}
	}
	send()
	hellos := 0
	for last := wire.Nanos(0); hellos < 2000; { // about a hello every four heartbeats
		now.Add(int64(time.Second))
		if err := p.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.shards[0].mu.Lock()
		if at := p.shards[0].lastHello; at != last {
			last = at
			hellos++
		}
		if p.shards[0].marks > 4 {
			t.Fatalf("%d marks behind a hello", p.shards[0].marks)
		}
		p.shards[0].mu.Unlock()
	}
	close(g.open)
	if err := p.WaitHandled(t.Context()); err != nil {
		t.Fatal(err)
	}
	send()
	if err := p.WaitHandled(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	if sum := r.Summary(); sum.Records != 2 || sum.Lost != 0 || !sum.Ended {
		t.Errorf("%+v", sum)
	}
}

// TestNoticesLeaveRoom: any number of notices at once leaves room for a batch, and all
// of them go out in time.
func TestNoticesLeaveRoom(t *testing.T) {
	p := open(t, Config{Barrier: []string{"desk"}, QueueBytes: 1})
	r := subscribe(t, p, subscriber.Config{Name: "desk", LockStep: true}, openGate())
	if err := errors.Join(p.WaitReaders(t.Context(), 1), p.WaitHandled(t.Context())); err != nil {
		t.Fatal(err)
	}
	const rounds = 50
	for range rounds {
		for range noticesMax / 2 {
			if err := p.Notice(wire.DeckTopic, []byte("{}")); err != nil {
				t.Fatal(err)
			}
		}
		if n := p.shards[0].marks; n > 6 {
			t.Fatalf("%d marks", n)
		}
		if err := errors.Join(p.WaitHandled(t.Context()), p.Send(t.Context(), 0, makeBatch(t, 1), nil), p.WaitHandled(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	until(t, p, func() bool { return p.Stats().Notices+p.Stats().Unsaid == rounds*noticesMax/2 })
	p.Stop()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	if sum := r.Summary(); sum.Records != rounds || sum.Lost != 0 {
		t.Errorf("%+v", sum)
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
