package subscriber

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// LateHandler is a Handler that may return from HandleBatch before the batch has
// been handled, such as one that holds back what comes behind a gap. In lock-step
// it must say how far that is.
type LateHandler interface {
	Handler
	// Handled returns how far a shard has been handled, or handed on where something
	// else stands behind; ok is false before it has begun. It is called from the
	// shard's receive loop.
	Handled(shard int) (at Position, ok bool)
	// OnHandled is called once, before Run, with what is to be called when a shard's
	// place has changed otherwise than in a call of its receive loop. Any goroutine
	// may call that, also after Run; it does not wait.
	OnHandled(changed func(shard int))
}

// errNotLate: in lock-step a Between must be a LateHandler.
var errNotLate = errors.New("subscriber: in lock-step what stands before the workers must say what it has handed on")

// stepping is what a loop in lock-step has said to the publisher.
type stepping struct {
	topic string    // what is subscribed to
	last  time.Time // of a pair: when something was said, or could have been
	said  wire.ReaderStep
	hello wire.Nanos                   // send time of the latest
	bell  atomic.Pointer[zsock.Waiter] // rung when more has been handled; nil where nobody handles late
}

// open makes the loop listen for what is handled beside it.
func (p *stepping) open(l *loop) error {
	if !l.sub.cfg.LockStep || l.sub.late == nil {
		return nil
	}
	bell, err := zsock.NewWaiter(l.socket)
	if err != nil {
		return fmt.Errorf("subscriber: shard %d: %w", l.shard, err)
	}
	p.bell.Store(bell)
	return nil
}

// close is to be called while the socket is still open.
func (p *stepping) close() error {
	if bell := p.bell.Load(); bell != nil {
		return bell.Close()
	}
	return nil
}

// recv receives the next message. In lock-step it may end early, with ErrAgain,
// when something has been handled.
func (l *loop) recv() error {
	if bell := l.step.bell.Load(); bell != nil && !l.socket.Readable() {
		if _, err := bell.Wait(nil, receiveSlice); err != nil {
			return err
		}
		if !l.socket.Readable() {
			return zsock.ErrAgain
		}
	}
	return l.socket.Recv(l.message)
}

// send tells the publisher how far this reader has handled the shard, where it is
// further than it was, and that a hello has come. The new word comes before the old one goes, so that the
// publisher always has one.
func (p *stepping) send(l *loop) error {
	lock := l.sub.cfg.LockStep
	if !l.ready || !lock && l.sub.cfg.Pair == nil {
		return nil
	}
	if !lock {
		now := time.Now()
		if now.Sub(p.last) < stepEvery {
			return nil
		}
		p.last = now
	}
	at, ok := l.stepAt()
	step := wire.ReaderStep{Epoch: at.Epoch, Next: at.Next, Hello: p.hello}
	if !ok || step == p.said || at.Epoch != l.stream.epoch {
		return nil // the publisher has left other epochs
	}
	topic := step.Topic(l.sub.id)
	if err := l.socket.Subscribe(topic); err != nil {
		return err
	}
	if p.topic != "" {
		if err := l.socket.Unsubscribe(p.topic); err != nil {
			return err
		}
	}
	p.topic, p.said = topic, step
	return nil
}

// stepEvery is how often a reader of a pair says how far it has come at most.
const stepEvery = 50 * time.Millisecond

// stepAt is how far the reader has come: in lock-step what it has handled, and
// otherwise what it has received, which is what it drops when it comes again.
func (l *loop) stepAt() (at Position, ok bool) {
	if l.sub.cfg.LockStep {
		return l.handled()
	}
	return l.handedOver()
}

// handled is how far the shard has been handled.
func (l *loop) handled() (at Position, ok bool) {
	if l.sub.late != nil {
		return l.sub.late.Handled(l.shard)
	}
	return l.handedOver()
}

// handedOver is how far the loop has handed the shard over. It belongs to the loop.
func (l *loop) handedOver() (at Position, ok bool) {
	return Position{Shard: l.shard, Epoch: l.stream.epoch, Next: l.stream.next}, l.stream.begun
}

// waitFor makes what a LateHandler says what this reader has handled.
func (s *Subscriber) waitFor(h LateHandler) {
	s.late = h
	h.OnHandled(s.handledLate)
}

// handledLate makes a loop say that more has been handled.
func (s *Subscriber) handledLate(shard int) {
	if bell := s.loops[shard].step.bell.Load(); bell != nil {
		bell.Wake()
	}
}

// lateWorkers is the side of Workers that a loop in lock-step asks what has been
// handled.
type lateWorkers struct {
	Handler // never called: batches take the way that they take without lock-step
	workers *Workers
	late    LateHandler // the Between, or nil
}

// waitForWorkers makes what the workers have let go of what this reader has handled.
func (w *Workers) waitForWorkers() error {
	late, ok := w.between.(LateHandler)
	if w.between != nil && !ok {
		return errNotLate
	}
	w.sub.waitFor(&lateWorkers{workers: w, late: late})
	return nil
}

// Handled implements LateHandler. What has been handed over to the workers is asked
// for first: where they have nothing in hand then, they have handled that.
func (h *lateWorkers) Handled(shard int) (Position, bool) {
	at, ok := h.workers.sub.loops[shard].handedOver()
	if h.late != nil {
		at, ok = h.late.Handled(shard)
	}
	if behind, idle := h.workers.pools[shard].handled.idle(); !idle {
		return behind, behind.Epoch != 0
	}
	at.Shard = shard
	return at, ok
}

// OnHandled implements LateHandler.
func (h *lateWorkers) OnHandled(changed func(shard int)) {
	for i, p := range h.workers.pools {
		p.onHandled = func() { changed(i) }
	}
	if h.late != nil {
		h.late.OnHandled(changed)
	}
}
