package resync

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// mender heals one shard: its machine, and who does what the machine says. The
// receive loop and the mender's own goroutine meet in it.
type mender struct {
	healer *Healer
	number int
	woken  chan struct{}

	// mu guards the machine, and makes the calls of the Handler one at a time. It
	// is held for one delivery, never while waiting for the network.
	mu       sync.Mutex
	machine  *machine
	err      error // of the Handler: nothing is delivered after it
	at       Span  // how far the Handler has taken
	sessions []session
	stream   *stream   // of the request that runs
	over     []*stream // cancelled ones, which the mender's goroutine closes: it may have a message of theirs in hand

	completed, partial uint64
}

// session is what a publisher has said about an epoch.
type session struct {
	epoch wire.Epoch
	about *wire.Session
}

// sessionsMax is how many sessions of epochs that have not begun are kept.
const sessionsMax = 2 * liveMax

func (s *mender) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// tell lets the machine take note of something.
func (s *mender) tell(note func(m *machine)) {
	s.mu.Lock()
	note(s.machine)
	idle := s.machine.idle()
	s.mu.Unlock()
	if !idle {
		s.wake()
	}
}

func (s *mender) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machine.idle()
}

func (s *mender) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// mark takes a hello, a heartbeat or an end mark.
func (s *mender) mark(h *wire.Header) {
	s.mu.Lock()
	m := s.machine
	fresh := m.find(h.Epoch) == nil
	m.markHash(h.Epoch, h.FirstSeq, h.Hash)
	if h.End() {
		m.finish(h.Epoch, h.FirstSeq, h.Flags&wire.FlagEarly != 0)
	}
	idle := m.idle()
	s.mu.Unlock()
	// The first hello of an epoch comes with a session, which may say where the
	// epoch before has ended.
	if !idle && !(fresh && h.Flags&wire.FlagHello != 0) {
		s.wake()
	}
}

// session takes what a publisher says about an epoch. It is handed on in its place
// in the stream.
func (s *mender) session(epoch wire.Epoch, about *wire.Session) {
	s.mu.Lock()
	m := s.machine
	if p := about.Start; p != nil {
		if m.find(epoch) == nil && m.first != 0 {
			m.mark(epoch, 0)
		}
		m.start(epoch, p)
	}
	if len(m.epochs) > 0 && m.epochs[0].id == epoch && m.epochs[0].begun {
		s.healer.next.HandleSession(s.number, epoch, about)
	}
	if len(s.sessions) >= sessionsMax {
		s.sessions = append(s.sessions[:0], s.sessions[1:]...)
	}
	s.sessions = append(s.sessions, session{epoch, about})
	s.mu.Unlock()
	s.wake()
}

// sessionOf is what is known about an epoch; where nothing is, what its publisher
// said about another one: the encodings are most likely the same.
func (s *mender) sessionOf(epoch wire.Epoch) *wire.Session {
	var about *wire.Session
	for _, k := range s.sessions {
		about = k.about
		if k.epoch == epoch {
			break
		}
	}
	return about
}

// take offers a batch to the machine and delivers or holds it. s.mu is held.
func (s *mender) take(b *wire.Batch, refill bool) error {
	for s.err == nil {
		v := s.machine.offer(b, refill)
		switch v.what {
		case busy:
			s.perform(s.machine.next(s.healer.now()))
			continue
		case deliver:
			s.deliver(b, v.skip, refill)
		case hold:
			v.hold.fill(b, refill)
		}
		break
	}
	return s.err
}

// deliver hands a batch to the Handler. s.mu is held.
func (s *mender) deliver(b *wire.Batch, skip uint32, refill bool) {
	if refill && s.healer.refills != nil {
		s.err = s.healer.refills.HandleRefill(b, skip)
	} else {
		s.err = s.healer.next.HandleBatch(b, skip)
	}
	if s.err == nil {
		s.at = Span{Epoch: b.Epoch, Shard: s.number, To: b.Next()}
	}
}

// perform does what the machine wants done. s.mu is held.
func (s *mender) perform(a action) {
	h := s.healer
	switch a.do {
	case doBegin:
		_, next, _ := s.machine.position()
		s.at = Span{Epoch: a.epoch, Shard: s.number, To: next}
		if about := s.sessionOf(a.epoch); about != nil {
			h.next.HandleSession(s.number, a.epoch, about)
		}
	case doDeliver:
		// What had to wait is as late as what it waited for.
		s.deliver(&a.hold.batch, a.skip, true)
	case doRequest:
		s.stream = h.cfg.Client.refill(a.server, a.span)
		s.stream.asked = a.id
		s.wake() // to look at it, where the receive loop is who does this
	case doCancel:
		if s.stream != nil && s.stream.asked == a.id {
			s.stream.cancel()
			s.over, s.stream = append(s.over, s.stream), nil
			s.wake()
		}
	case doLost:
		h.next.HandleGap(s.number, a.span.Epoch, a.span.From, a.span.To)
		s.at = Span{Epoch: a.span.Epoch, Shard: s.number, To: a.span.To}
		h.cfg.Warn(s.number, &LostError{Span: a.span, Reason: a.reason})
	case doEnd:
		if a.complete {
			s.completed++
		} else {
			s.partial++
		}
		h.next.HandleEnd(s.number, a.epoch, a.complete)
	case doBroken:
		h.cfg.Warn(s.number, &LostError{Span: a.span})
	}
}

// LostError says what a Healer has given up.
type LostError struct {
	// Span that is missing. Where To is Open, the epoch was followed by another,
	// and nobody knows whether it had more.
	Span   Span
	Reason Reason
}

// Error implements error.
func (e *LostError) Error() string {
	s := e.Span
	if s.To == Open {
		return fmt.Sprintf("resync: shard %d: epoch %d went without an end at sequence %d", s.Shard, s.Epoch, s.From)
	}
	return fmt.Sprintf("resync: shard %d: sequences [%d, %d) of epoch %d are lost: %v", s.Shard, s.From, s.To, s.Epoch, e.Reason)
}

// run does, one thing at a time, what is due, takes what the request that runs has
// brought, and waits. It ends with the context, and then returns nil, or with the
// Handler's error.
func (s *mender) run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	defer s.close()
	for ctx.Err() == nil {
		s.mu.Lock()
		if s.err != nil {
			s.mu.Unlock()
			s.settled()
			return s.err
		}
		if s.stream != nil && s.stream.arrived() {
			// It is not the server that keeps us waiting.
			s.machine.progress(s.healer.now(), s.stream.asked)
		}
		a := s.machine.next(s.healer.now())
		s.perform(a)
		stream := s.stream
		at, timed := s.machine.wake()
		idle := s.machine.idle()
		s.closeOver()
		s.mu.Unlock()
		did := a.do != doNothing
		if stream != nil {
			did = s.drink(stream) || did
		}
		if did {
			continue
		}
		if idle {
			s.settled()
		}
		var ready chan struct{}
		if stream != nil {
			ready = stream.ready
		}
		if h := s.healer; h.world != nil {
			wait := time.Duration(-1)
			if timed {
				wait = max(at-h.now(), 0)
			}
			h.world.Sleep(wait, func() bool { return len(ready) > 0 || len(s.woken) > 0 })
			drain(ready)
			drain(s.woken)
			continue
		}
		if timed {
			timer.Reset(max(at-s.healer.now(), 0))
		} else {
			timer.Stop()
		}
		select {
		case <-ready:
		case <-s.woken:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// drain takes a signal, if there is one.
func drain(signal chan struct{}) {
	select {
	case <-signal:
	default:
	}
}

// settled tells Settle to look.
func (s *mender) settled() {
	select {
	case s.healer.quiet <- struct{}{}:
	default:
	}
}

// drink takes one message of a request, or its end, and reports whether there was
// one.
func (s *mender) drink(st *stream) bool {
	switch st.take() {
	case waiting:
		return false
	case something:
		b, err := st.chunk()
		if err != nil {
			s.ended(st, func(m *machine, now time.Duration) { m.failed(now, st.asked, failureOf(err)) })
			return true
		}
		s.mu.Lock()
		if s.stream == st {
			s.machine.progress(s.healer.now(), st.asked)
		}
		s.machine.bringer = st.server
		_ = s.take(b, true) // kept, and seen by run
		s.mu.Unlock()
	case through:
		good := st.checked() == nil
		if !good && st.digest.Records == 0 {
			s.ended(st, func(m *machine, now time.Duration) { m.failed(now, st.asked, failure{reason: ReasonBad}) })
			return true
		}
		s.ended(st, func(m *machine, now time.Duration) { m.done(now, st.asked, st.end.Next, st.end.Ended, good) })
	case broken:
		s.ended(st, func(m *machine, now time.Duration) { m.failed(now, st.asked, failureOf(st.err)) })
	}
	return true
}

// ended lets the machine take note of how the request that runs has ended.
func (s *mender) ended(st *stream, note func(m *machine, now time.Duration)) {
	s.mu.Lock()
	if s.stream == st {
		note(s.machine, s.healer.now())
		s.stream = nil
	}
	s.mu.Unlock()
	st.close()
}

func (s *mender) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeOver()
	if s.stream != nil {
		s.stream.close()
		s.stream = nil
	}
}

// closeOver closes requests that were cancelled. s.mu is held; only the mender's
// goroutine calls it.
func (s *mender) closeOver() {
	for i, st := range s.over {
		st.close()
		s.over[i] = nil
	}
	s.over = s.over[:0]
}

// failureOf is what an error of a request means to the machine.
func failureOf(err error) failure {
	var answer *RequestError
	if errors.As(err, &answer) {
		return failure{reason: reasonOf(answer.Code), next: answer.Next, skip: answer.Skip, wait: answer.Wait}
	}
	if errors.Is(err, ErrNoAnswer) || errors.Is(err, ErrForgotten) || errors.Is(err, ErrClosed) {
		return failure{reason: ReasonNoAnswer}
	}
	if errors.Is(err, ErrStuck) {
		return failure{reason: ReasonSlow}
	}
	return failure{reason: ReasonBad}
}
