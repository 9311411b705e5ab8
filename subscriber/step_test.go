package subscriber

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// steps is what a reader has said and not withdrawn, oldest first.
type steps []wire.ReaderStep

// mustStep waits for the next step, which must be to next.
func (p *fakePub) mustStep(said *steps, epoch wire.Epoch, next wire.Seq) {
	p.t.Helper()
	p.mustSay(said, wire.ReaderStep{Epoch: epoch, Next: next})
}

// mustSay waits for the next step. What is withdrawn meanwhile must be what was said
// before the latest.
func (p *fakePub) mustSay(said *steps, want wire.ReaderStep) {
	p.t.Helper()
	for {
		if _, err := p.poller.Wait(nil, time.Second); err != nil {
			p.t.Fatal(err)
		}
		frame, err := p.socket.TryRecvFrame()
		if errors.Is(err, zsock.ErrAgain) {
			continue
		}
		if err != nil {
			p.t.Fatal(err)
		}
		_, step, ok := wire.ParseReaderStep(frame)
		switch {
		case !ok:
		case frame[0] == 0 && (len(*said) < 2 || (*said)[0] != step):
			p.t.Fatalf("%+v is withdrawn, of %+v", step, *said)
		case frame[0] == 0:
			*said = (*said)[1:]
		case step != want:
			p.t.Fatalf("the reader says %+v, want %+v", step, want)
		default:
			*said = append(*said, step)
			return
		}
	}
}

// slowHandler is a Handler that says when it returns.
type slowHandler struct {
	notes
	begun, hold chan struct{}
	through     atomic.Int32
}

func (h *slowHandler) HandleBatch(b *wire.Batch, skip uint32) error {
	h.begun <- struct{}{}
	<-h.hold
	defer h.through.Add(1)
	return h.notes.HandleBatch(b, skip)
}

// TestLockStepSaysWhatWasHandled: a step comes with the first hello, behind each batch
// once the Handler has returned from it, behind what is missing, and with a new epoch;
// and the one before is withdrawn.
func TestLockStepSaysWhatWasHandled(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	h := &slowHandler{begun: make(chan struct{}), hold: make(chan struct{})}
	s, err := New(Config{Endpoints: []string{p.endpoint}, Name: "test", LockStep: true}, h)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context()) }()
	p.greet()
	said := &steps{}
	p.mustStep(said, 7, 0)
	for i := range 3 {
		p.sendRecords(3)
		<-h.begun
		h.hold <- struct{}{}
		p.mustStep(said, 7, wire.Seq(3*i+3))
		if n := h.through.Load(); n != int32(i+1) {
			t.Fatalf("the step came when the handler had returned %d times, want %d", n, i+1)
		}
	}
	p.records(4) // which are lost
	p.send(p.source.heartbeat(), nil)
	p.mustStep(said, 7, 13)
	h2 := p.source.heartbeat()
	h2.Flags = wire.FlagHello
	h2.Send = 99
	session, err := wire.AppendSession(nil, &wire.Session{Publisher: "fake"})
	if err != nil {
		t.Fatal(err)
	}
	h2.PayloadSize, h2.CRC = uint32(len(session)), wire.CRC(session, nil)
	p.send(h2, session) // another hello is answered
	p.mustSay(said, wire.ReaderStep{Epoch: 7, Next: 13, Hello: 99})
	p.source = source{epoch: 8}
	p.hello()
	p.mustStep(said, 8, 0)
	p.end()
	p.await(donePrefix)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestWithoutLockStepNothingIsSaid: steps are traffic that a publisher which does not
// wait for them must not get.
func TestWithoutLockStepNothingIsSaid(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	r := start(t, Config{Endpoints: []string{p.endpoint}, Name: "test"}, &notes{})
	p.greet()
	p.sendRecords(3)
	p.end()
	for {
		if _, err := p.poller.Wait(nil, time.Second); err != nil {
			t.Fatal(err)
		}
		frame, err := p.socket.TryRecvFrame()
		if errors.Is(err, zsock.ErrAgain) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		switch sig, _, _ := wire.ParseReaderSignal(frame); sig {
		case wire.SignalStep, wire.SignalUnstep:
			t.Fatalf("the reader says %q", frame)
		case wire.SignalDone:
			if err := <-r.done; err != nil {
				t.Fatal(err)
			}
			return
		}
	}
}

// TestLockStepWaitsForAllWorkers: what one of them has still in hand is not handled.
func TestLockStepWaitsForAllWorkers(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	var through atomic.Int32
	l := newLedger(2)
	for _, page := range l.pages {
		page.begun, page.hold = make(chan struct{}), make(chan struct{})
		page.fail = func() error { through.Add(1); return nil }
	}
	w := mustWorkers(t, Config{Endpoints: []string{p.endpoint}, LockStep: true}, WorkersConfig{Workers: 2}, l.handler)
	done := runWorkers(t, t.Context(), w)
	p.greet()
	said := &steps{}
	p.mustStep(said, 7, 0)
	next := map[string]uint32{}
	for i := range 3 {
		p.sendTopics(17, next) // some for each
		for _, page := range l.pages {
			<-page.begun
		}
		l.pages[i%2].hold <- struct{}{}
		l.pages[1-i%2].hold <- struct{}{}
		p.mustStep(said, 7, wire.Seq(17*(i+1)))
		if n := through.Load(); n != int32(2*(i+1)) {
			t.Fatalf("the step came when workers had returned %d times, want %d", n, 2*(i+1))
		}
	}
	p.end()
	p.await(donePrefix)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// lateBetween is a Between that hands batches on when it is told to.
type lateBetween struct {
	holder
	release chan struct{}

	at      sync.Mutex
	done    Position
	changed func(int)
}

func (b *lateBetween) HandleBatch(batch *wire.Batch, skip uint32) error {
	own := *batch
	own.Payload = append([]byte(nil), batch.Payload...)
	go func() {
		<-b.release
		_ = b.next.HandleBatch(&own, skip)
		b.at.Lock()
		b.done = Position{Epoch: own.Epoch, Next: own.Next()}
		b.at.Unlock()
		b.changed(int(own.Shard))
	}()
	return nil
}

func (b *lateBetween) HandleSession(shard int, epoch wire.Epoch, s *wire.Session) {
	b.at.Lock()
	b.done = Position{Epoch: epoch}
	b.at.Unlock()
	b.next.HandleSession(shard, epoch, s)
}

func (b *lateBetween) Handled(int) (Position, bool) {
	b.at.Lock()
	defer b.at.Unlock()
	return b.done, b.done.Epoch != 0
}

func (b *lateBetween) OnHandled(changed func(int)) { b.changed = changed }

// TestLockStepWaitsForWhatIsHeldBack: what stands between the loops and the handler,
// with workers and without, says what was handled, and the loop is woken for it.
func TestLockStepWaitsForWhatIsHeldBack(t *testing.T) {
	for _, workers := range []int{0, 2} {
		p := newFake(t, anyPort, 0, 1, 7)
		b := &lateBetween{holder: *newHolder(&notes{}), release: make(chan struct{})}
		cfg := Config{Endpoints: []string{p.endpoint}, LockStep: true}
		var run func(context.Context) error
		if workers == 0 {
			s, err := New(cfg, b)
			if err != nil {
				t.Fatal(err)
			}
			run = s.Run
		} else {
			run = mustWorkers(t, cfg, WorkersConfig{Workers: workers, Between: func(next Handler) (Between, error) {
				b.next = next
				return b, nil
			}}, newLedger(workers).handler).Run
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- run(ctx) }()
		p.greet()
		said := &steps{}
		p.mustStep(said, 7, 0)
		next := map[string]uint32{}
		for i := range 5 {
			p.sendTopics(17, next)
			b.release <- struct{}{}
			p.mustStep(said, 7, wire.Seq(17*(i+1)))
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}

// TestLockStepNeedsToKnow: a Between that does not say what it has handed on is refused.
func TestLockStepNeedsToKnow(t *testing.T) {
	_, err := NewWorkers(Config{Endpoints: []string{anyPort}, LockStep: true},
		WorkersConfig{Workers: 2, Between: func(next Handler) (Between, error) { return newHolder(next), nil }}, newLedger(2).handler)
	if !errors.Is(err, errNotLate) {
		t.Fatalf("got %v, want %v", err, errNotLate)
	}
}
