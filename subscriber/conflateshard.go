package subscriber

import (
	"context"

	"github.com/tapedeck/tapedeck/wire"
)

// look returns the state and what is closed when it changes.
func (s *conflateShard) look() (turned <-chan struct{}, state conflateState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turned, conflateState(s.state.Load())
}

func (s *conflateShard) turnLocked(state conflateState) {
	s.state.Store(int32(state))
	close(s.turned)
	s.turned = make(chan struct{})
}

// keep copies a batch's records to the table, unless the shard is passing by now.
// While it settles, and little waits, the loop waits until it passes: else a busy
// stream could keep it from ever doing so.
func (s *conflateShard) keep(b *wire.Batch, skip uint32) (bool, error) {
	for {
		select {
		case <-s.all.done:
			return false, s.all.ended()
		default:
		}
		s.mu.Lock()
		switch state := conflateState(s.state.Load()); {
		case state == passing:
			s.mu.Unlock()
			return false, nil
		case state == conflating, s.latest.waits() > settleMax:
			err := s.keepLocked(b, skip)
			s.mu.Unlock()
			signal(s.wake)
			return true, err
		}
		turned := s.turned
		s.mu.Unlock()
		select {
		case <-turned:
		case <-s.all.done:
		}
	}
}

func (s *conflateShard) keepLocked(b *wire.Batch, skip uint32) error {
	at := recordPlace{header: b.Header}
	var skipped, dropped uint64
	walk, ordinals := b.Records(), b.Ordinals()
	for i := uint32(0); walk.Next(); i++ {
		at.seq, at.ordinal = walk.Seq(), ordinals.Next()
		if i >= skip {
			one, two := s.latest.put(walk.Record(), &at)
			skipped, dropped = skipped+one, dropped+two
		}
	}
	s.skipped.Add(skipped)
	s.dropped.Add(dropped)
	return walk.Err()
}

// tell calls f in its place among the records: now, or when they have been handed
// over; then with a copy of r.
func (s *conflateShard) tell(r wire.Record, f func(wire.Record)) {
	s.mu.Lock()
	if conflateState(s.state.Load()) == passing {
		s.mu.Unlock()
		f(r)
		return
	}
	r = append(wire.Record(nil), r...)
	if !s.latest.tell(func() { f(r) }) {
		s.untold.Add(1)
	}
	s.mu.Unlock()
	signal(s.wake)
}

// serve hands over what waits, until the context ends.
func (s *conflateShard) serve(ctx context.Context) error {
	var t taken
	for {
		for s.take(&t) {
			if err := s.hand(&t); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return nil
			}
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// take takes what has waited longest. Where nothing waits and the shard settles,
// it passes from now on: this goroutine is in no call of the next handler, and the
// loop comes to see that only behind the lock.
func (s *conflateShard) take(t *taken) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest.take(t) {
		if t.tell == nil {
			s.conflated.Add(1)
		}
		return true
	}
	if conflateState(s.state.Load()) == settling {
		s.latest.reset()
		t.record = nil
		s.turnLocked(passing)
	}
	return false
}

// hand gives what was taken to the next handler.
func (s *conflateShard) hand(t *taken) error {
	if t.tell != nil {
		t.tell()
		return nil
	}
	h := &t.at.header
	if s.all.conflated != nil {
		s.given = Conflated{
			Shard: s.number, Record: t.record, Batch: h,
			Seq: t.at.seq, Ordinal: t.at.ordinal, Skipped: t.skipped,
		}
		return s.all.conflated.HandleConflated(&s.given)
	}
	s.batch = wire.Batch{Header: *h, Payload: t.record}
	one := &s.batch.Header
	one.FirstSeq, one.FirstOrdinal, one.Count = t.at.seq, t.at.ordinal, 1
	one.PayloadSize, one.OrderSize, one.CRC, one.Hash = uint32(len(t.record)), 0, wire.CRC(t.record, nil), 0
	return s.all.next.HandleBatch(&s.batch, 0)
}

// signal tells whoever waits on c to look again. Who is busy looks afterwards.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
