package chp

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

const (
	collectMessages = 256     // KVSETs that are taken in before what they change is published
	collectBytes    = 4 << 20 // or so many bytes of them
	expireAtOnce    = 1000    // values that are removed before others get their turn
	subscriptions   = 1024    // that are taken in before others get their turn
	// greetAgain is how often at most a subscription is greeted with a sign of life
	// out of turn.
	greetAgain = 20 * time.Millisecond
)

// publish owns the publisher and the collector. It takes changes in, sends what
// is to be published, removes what has expired and gives signs of life.
func (s *Server) publish(ctx context.Context) error {
	defer s.settle.end()
	in := zsock.NewInbox()
	defer in.Close()
	var box *zsock.Outbox
	var ready []int
	greeted := s.now()
	hugz := greeted.Add(s.cfg.Hugz)
	for ctx.Err() == nil {
		now := s.now()
		joined, err := s.subscribed(in)
		if err != nil {
			return ended(ctx, err)
		}
		if greet := greeted.Add(greetAgain); joined && greet.Before(hugz) {
			hugz = greet // who joins learns at once that its subscription is in force
		}
		busy, err := s.collect(in, now)
		if err != nil {
			return ended(ctx, err)
		}
		removed, next := s.state.expire(now, expireAtOnce)
		s.counters.expired.Add(uint64(removed))
		s.counters.updates.Add(uint64(removed))
		if !now.Before(hugz) {
			// Also between updates: who listens to a quiet subtree hears nothing else.
			if s.cfg.Silent == nil || !s.cfg.Silent() {
				s.state.hugz()
			}
			greeted, hugz = now, now.Add(s.cfg.Hugz)
		}
		box = s.state.take(box)
		for box.Messages() > 0 {
			if _, err := s.publisher.SendMany(box); err != nil && !errors.Is(err, zsock.ErrAgain) {
				return ended(ctx, err)
			}
		}
		s.settle.settled(s.publisher)
		if busy || removed == expireAtOnce {
			continue
		}
		if next.IsZero() || hugz.Before(next) {
			next = hugz
		}
		if ready, err = s.publishing.Wait(ready[:0], max(next.Sub(s.now()), 0)); err != nil {
			return ended(ctx, err)
		}
	}
	return nil
}

// ended is what a loop returns that cannot go on: nothing if it was to end.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// subscribed takes subscriptions in and reports whether somebody new listens to
// signs of life.
func (s *Server) subscribed(in *zsock.Inbox) (joined bool, err error) {
	err = s.publisher.RecvMany(in, subscriptions, collectBytes)
	if errors.Is(err, zsock.ErrAgain) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for frames := in.Next(); frames != nil; frames = in.Next() {
		f := frames[0]
		if !s.quota.Take(f, in.From()) {
			s.counters.excess.Add(1)
			continue
		}
		if len(f) > 0 && f[0] == 1 {
			s.state.wanted.Store(true)
		}
		joined = joined || len(f) > 0 && f[0] == 1 && strings.HasPrefix(keyHugz, string(f[1:]))
	}
	return joined, nil
}

// collect takes some KVSETs in and reports whether there may be more.
func (s *Server) collect(in *zsock.Inbox, now time.Time) (busy bool, err error) {
	if s.collector == nil {
		return false, nil
	}
	err = s.collector.RecvMany(in, collectMessages, collectBytes)
	if errors.Is(err, zsock.ErrAgain) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for frames := in.Next(); frames != nil; frames = in.Next() {
		s.kvset(frames, now)
	}
	return true, nil
}

// kvset makes one client's change, or refuses and counts it.
func (s *Server) kvset(frames [][]byte, now time.Time) {
	m, err := Parse(s.cfg.Form, frames)
	if err != nil {
		s.counters.setsBad.Add(1)
		return
	}
	if s.cfg.ReadOnly {
		s.counters.setsReadOnly.Add(1)
		return
	}
	p, ttl, err := s.state.given(m.Key, m.Properties, m.Value)
	if err != nil {
		s.counters.setsBad.Add(1)
		return
	}
	switch _, err = s.state.set(m.Key, m.UUID, p, ttl, m.Value, now); {
	case err == nil:
		s.counters.sets.Add(1)
		s.counters.updates.Add(1)
	case errors.Is(err, ErrQueueFull):
		s.counters.updatesFull.Add(1)
	default:
		s.counters.setsFull.Add(1)
	}
}

// settling lets a snapshot wait until the publisher has taken in every
// subscription that has reached it. A client subscribes before it asks, so what
// is published after the capture reaches it. While nobody publishes there is
// nothing to wait for: the publishing loop begins with the subscriptions.
type settling struct {
	mu         sync.Mutex
	waiting    []chan struct{}
	publishing bool
}

// begin is told before the publishing loop begins.
func (s *settling) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publishing = true
}

// wait returns when the publishing loop has looked at its socket, after wake, or
// has ended.
func (s *settling) wait(wake func()) {
	s.mu.Lock()
	if !s.publishing {
		s.mu.Unlock()
		return
	}
	done := make(chan struct{})
	s.waiting = append(s.waiting, done)
	s.mu.Unlock()
	wake()
	<-done
}

// settled looks at the socket for those who wait by now.
func (s *settling) settled(socket *zsock.Socket) {
	s.mu.Lock()
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	if len(waiting) == 0 {
		return
	}
	socket.Readable() // takes subscriptions in
	for _, done := range waiting {
		close(done)
	}
}

// end lets everyone go who waits now or later: the publishing loop has ended.
func (s *settling) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publishing = false
	for _, done := range s.waiting {
		close(done)
	}
	s.waiting = nil
}
