package chp

import (
	"errors"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// answer begins a snapshot of what is there now.
func (s *Server) answer(subtree []byte) (*Answer, error) {
	a := &Answer{form: s.cfg.Form, epoch: s.state.epoch, subtree: subtree, now: s.now, counters: &s.counters}
	if s.cfg.Store == nil {
		a.capture = s.state.capture(subtree, s.now())
		return a, nil
	}
	// Before the moment of the capture: no update behind it is left out.
	s.state.wanted.Store(true)
	capture, err := s.cfg.Store.Capture(subtree)
	if err != nil {
		return nil, err
	}
	a.capture = capture
	return a, nil
}

// Answer begins the answer to a request that arrived elsewhere: on a ROUTER that
// somebody else owns. frames are the request's, without the identity of its
// sender, and are copied. Whoever calls sends the answer's messages at a pace of
// his own choosing, on a socket that says when it cannot, and closes it; who is
// not sent everything must not be sent the last message.
//
// A *FormatError: it is no request. ErrBusy: too many Answers are open.
func (s *Server) Answer(frames [][]byte) (*Answer, error) {
	s.counters.requests.Add(1)
	subtree, err := ParseRequest(frames)
	if err != nil {
		s.counters.requestsBad.Add(1)
		return nil, err
	}
	if s.answers.Add(1) > int64(s.cfg.Requesters) {
		s.answers.Add(-1)
		s.counters.requestsBusy.Add(1)
		return nil, ErrBusy
	}
	s.settle.wait(s.publishing.Wake)
	a, err := s.answer(append([]byte(nil), subtree...))
	if err != nil {
		s.answers.Add(-1)
		s.counters.failed.Add(1)
		return nil, err
	}
	a.closed = func() { s.answers.Add(-1) }
	return a, nil
}

// Serve answers a request that arrived on a ROUTER that somebody else owns, on
// the calling goroutine. frames are the request's, without the identity of its
// sender. send is given the messages of the answer one by one, without the
// identity and borrowed, and takes as long as it wants; its first error ends the
// answer, without the last message. zsock.ErrAgain from it counts the requester
// as too slow, zsock.ErrUnreachable as gone.
//
// A request of a requester that is being answered gets no answer of its own, and
// no error.
func (s *Server) Serve(identity []byte, frames [][]byte, send func(frames [][]byte) error) error {
	s.mu.Lock()
	if s.serving[string(identity)] {
		s.mu.Unlock()
		s.counters.requests.Add(1)
		s.counters.requestsRepeated.Add(1)
		return nil
	}
	s.serving[string(identity)] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.serving, string(identity))
		s.mu.Unlock()
	}()
	a, err := s.Answer(frames)
	if err != nil {
		return err
	}
	defer a.Close()
	for m := a.Next(); m != nil; m = a.Next() {
		if err = send(m); err != nil {
			break
		}
	}
	if err == nil {
		err = a.Err()
	}
	switch {
	case err == nil:
		s.counters.served.Add(1)
	case errors.Is(err, zsock.ErrAgain):
		s.counters.dropped.Add(1)
	case errors.Is(err, zsock.ErrUnreachable):
		s.counters.gone.Add(1)
	default:
		s.counters.failed.Add(1)
	}
	return err
}
