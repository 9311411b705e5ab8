package subscriber

import (
	"fmt"
	"slices"

	"github.com/tapedeck/tapedeck/wire"
)

// enter reports whether the gate is open; then the loop must leave again.
func (s *gateShard) enter() bool {
	// First busy, then a look: whoever shuts the gate first shuts, then looks.
	s.busy.Store(true)
	if gateState(s.state.Load()) == gateOpen {
		return true
	}
	s.leave()
	return false
}

func (s *gateShard) leave() {
	s.busy.Store(false)
	if gateState(s.state.Load()) != gateOpen {
		signal(s.left)
	}
}

// take takes in what came while the gate was not open.
func (s *gateShard) take(item *gateItem) error {
	s.mu.Lock()
	switch gateState(s.state.Load()) {
	case gateShut:
		s.store(item)
		s.mu.Unlock()
		return nil
	case gateUntil:
		admitted := s.admit(item)
		if s.through {
			s.state.Store(int32(gateOpen))
		}
		if !admitted {
			s.mu.Unlock()
			return nil
		}
	default: // opened just now
		s.pass(item)
	}
	// The gate is shut by another goroutine: it must see that this one is at work.
	s.busy.Store(true)
	s.mu.Unlock()
	defer s.leave()
	return s.hand(item)
}

// store keeps what came while the gate is shut, at the cost of what came before.
func (s *gateShard) store(item *gateItem) {
	if item.kind == gateNotice {
		s.untold.Add(1)
		return
	}
	if item.batch.Payload != nil {
		s.kept.own(item)
	}
	s.kept.push(item)
	for s.kept.bytes > s.keep && s.kept.len() > 1 {
		old := s.kept.pop()
		s.discard(old)
		if old.kind == gateSession {
			s.session = old
			continue
		}
		s.kept.reuse(old)
	}
}

// discard counts what will never be handed on.
func (s *gateShard) discard(item *gateItem) {
	switch item.kind {
	case gateBatch:
		s.discarded.Add(uint64(item.batch.Count - item.skip))
	case gateGap, gateEnd, gateNotice:
		s.untold.Add(1)
	}
	s.pass(item)
}

// pass moves the place behind an item.
func (s *gateShard) pass(item *gateItem) {
	switch item.kind {
	case gateBatch, gateGap:
		if next := item.next(); s.at.Epoch != item.epoch {
			s.epochs[s.epochsAt%leftMax] = s.at.Epoch
			s.epochsAt++
			s.at = GatePosition{item.epoch, next}
		} else {
			s.at.Next = max(s.at.Next, next)
		}
	}
}

// checkLocked reports whether the shard can be opened at a position.
func (s *gateShard) checkLocked(at GatePosition) error {
	behind := at.Epoch != s.at.Epoch && !s.kept.has(at.Epoch) && slices.Contains(s.epochs[:], at.Epoch)
	if behind || at.Epoch == s.at.Epoch && at.Next < s.at.Next {
		return fmt.Errorf("%w: shard %d at epoch %d, sequence %d; kept is what follows epoch %d, sequence %d",
			ErrGateBehind, s.number, at.Epoch, at.Next, s.at.Epoch, s.at.Next)
	}
	return nil
}

// openLocked hands on what was kept from a position on. Meanwhile the shard stays
// shut and the loop waits for the lock: its records follow.
func (s *gateShard) openLocked(at GatePosition) error {
	s.until, s.reached, s.through = at, s.at.Epoch == at.Epoch, false
	if s.session != nil && s.admit(s.session) {
		s.all.next.HandleSession(s.number, s.session.epoch, s.session.session)
	}
	s.session = nil
	for s.kept.len() > 0 {
		if item := s.kept.pop(); s.admit(item) {
			if err := s.hand(item); err != nil {
				return err
			}
		}
	}
	s.kept = gateQueue{}
	state := gateUntil
	if s.through {
		state = gateOpen
	}
	s.state.Store(int32(state))
	return nil
}

// admit reports whether an item is to be handed on, less its first records
// perhaps. From the first one that reaches the position on, everything is.
func (s *gateShard) admit(item *gateItem) bool {
	if s.through || item.kind == gateNotice {
		s.pass(item)
		return true
	}
	same := item.epoch == s.until.Epoch
	switch item.kind {
	case gateSession:
		return same || s.reached
	case gateEnd:
		if !same && !s.reached {
			s.discard(item)
			return false
		}
		return true
	}
	switch {
	case same && item.next() <= s.until.Next, !same && !s.reached:
		s.reached = s.reached || same
		s.discard(item)
		return false
	case same:
		s.discarded.Add(item.clip(s.until.Next))
	}
	s.pass(item)
	s.through = true
	return true
}

// hand gives an item to the next handler.
func (s *gateShard) hand(item *gateItem) error {
	h := s.all.next
	switch item.kind {
	case gateGap:
		h.HandleGap(s.number, item.epoch, item.from, item.to)
	case gateSession:
		h.HandleSession(s.number, item.epoch, item.session)
	case gateEnd:
		h.HandleEnd(s.number, item.epoch, item.complete)
	case gateNotice:
		s.all.notices.HandleNotice(s.number, item.notice)
	default:
		return h.HandleBatch(&item.batch, item.skip)
	}
	return nil
}

// gateKind is what an item of a Gate is.
type gateKind uint8

const (
	gateBatch gateKind = iota
	gateGap
	gateSession
	gateEnd
	gateNotice
)

// gateItem is a batch, or what is told between batches.
type gateItem struct {
	kind     gateKind
	epoch    wire.Epoch
	batch    wire.Batch // its bytes are borrowed, or lie in buf
	skip     uint32
	buf      []byte
	from, to wire.Seq
	session  *wire.Session
	complete bool
	notice   wire.Record
}

// next is the sequence behind a batch or a gap.
func (i *gateItem) next() wire.Seq {
	if i.kind == gateGap {
		return i.to
	}
	return i.batch.Next()
}

// clip leaves out what lies before a sequence, and returns how many records that
// were.
func (i *gateItem) clip(from wire.Seq) uint64 {
	if i.kind == gateGap {
		i.from = max(i.from, from)
		return 0
	}
	before := i.skip
	if from > i.batch.FirstSeq {
		i.skip = max(i.skip, uint32(from-i.batch.FirstSeq))
	}
	return uint64(i.skip - before)
}

// itemCost is what an item costs beside its bytes, about.
const itemCost = 512

func (i *gateItem) size() int64 { return itemCost + int64(cap(i.buf)) }

// gateQueue holds items, oldest first.
type gateQueue struct {
	items   []*gateItem
	head    int
	bytes   int64
	records uint64
	spare   []byte // memory of an item that was let go
}

func (q *gateQueue) len() int { return len(q.items) - q.head }

// own gives a batch memory of its own.
func (q *gateQueue) own(i *gateItem) {
	n := len(i.batch.Payload)
	i.buf = append(append(q.spare[:0], i.batch.Payload...), i.batch.Order...)
	q.spare = nil
	i.batch.Payload = i.buf[:n:n]
	if i.batch.Order != nil {
		i.batch.Order = i.buf[n:]
	}
}

// reuse takes an item's memory for another one.
func (q *gateQueue) reuse(i *gateItem) {
	if cap(i.buf) > cap(q.spare) {
		q.spare = i.buf
	}
}

func (q *gateQueue) push(i *gateItem) {
	q.items = append(q.items, i)
	q.bytes += i.size()
	if i.kind == gateBatch {
		q.records += uint64(i.batch.Count - i.skip)
	}
}

func (q *gateQueue) pop() *gateItem {
	i := q.items[q.head]
	q.items[q.head] = nil
	if q.head++; q.head > len(q.items)/2 {
		q.items = append(q.items[:0], q.items[q.head:]...)
		q.head = 0
	}
	q.bytes -= i.size()
	if i.kind == gateBatch {
		q.records -= uint64(i.batch.Count - i.skip)
	}
	return i
}

// has reports whether anything of an epoch is kept.
func (q *gateQueue) has(e wire.Epoch) bool {
	return slices.ContainsFunc(q.items[q.head:], func(i *gateItem) bool { return i.epoch == e })
}
