package publisher

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/feed/publisher/faults"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// line is the way of a shard's messages to the socket where Config.Faults makes it a
// bad one. What it delays, everything behind it waits for, marks as well, as on a
// connection that hangs; what it reorders goes out behind the next message that tells
// readers of it. It always copies. Whoever holds the shard holds it.
type line struct {
	plan  *faults.Plan
	epoch uint64 // epochs that the publisher has begun before this one
	marks uint64 // marks so far

	queue []packet // behind something that is delayed, oldest first
	bytes int      // of it
	held  *packet  // goes out behind the next message
	owing bool     // a batch is held, and none that is whole has come since

	count lineCounters

	timer *time.Timer // set while the queue waits
	shut  bool
	err   error // of the timer's
}

// packet is a message on its way. It owns its bytes.
type packet struct {
	header, payload, order []byte

	at     time.Time // not before
	count  uint32    // records
	late   bool      // behind the next
	broken bool      // readers refuse it
	mark   bool
}

// lineCounters are a line's faults.Counts as others may read them, without the shard.
type lineCounters struct {
	dropped, corrupted, duplicated, reordered, delayed, marked atomic.Uint64
	missing, repeated                                          atomic.Uint64
}

func (c *lineCounters) addTo(sum *faults.Counts) {
	sum.Add(&faults.Counts{
		Dropped: c.dropped.Load(), Corrupted: c.corrupted.Load(), Duplicated: c.duplicated.Load(),
		Reordered: c.reordered.Load(), Delayed: c.delayed.Load(), Marks: c.marked.Load(),
		Missing: c.missing.Load(), Repeated: c.repeated.Load(),
	})
}

// lineRetry is when a line looks again for room in the socket's queue.
const lineRetry = 2 * time.Millisecond

func (p *packet) size() int { return len(p.header) + len(p.payload) + len(p.order) }

// openLine gives the shard a bad line, where there shall be one.
func (s *shard) openLine(plan *faults.Plan) {
	if plan != nil {
		s.line = &line{plan: plan}
	}
}

// closeLine drops what is on its way. The timer does nothing more.
func (s *shard) closeLine() {
	if s.line == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line.shut = true
	if s.line.timer != nil {
		s.line.timer.Stop()
	}
}

// sendOnLine is SendBatch of the batch whose header is in s.header. room bounds what
// waits, bytes. It returns ErrAgain where there is none, having waited.
func (s *shard) sendOnLine(h *wire.Header, b *wire.Batch, room int) error {
	l := s.line
	if err := s.moveLine(time.Now()); err != nil && !errors.Is(err, errStalled) {
		return err
	}
	if l.bytes > room {
		return errors.Join(s.pause(time.Millisecond), zsock.ErrAgain)
	}
	f := l.plan.Batch(s.number, l.epoch, h.FirstSeq)
	if f.Kind == faults.Reorder && l.owing {
		f.Kind = faults.None // somebody must go first
	}
	if f.Kind == faults.None && len(l.queue) == 0 {
		if err := s.socket.SendBatch(s.header, b.Payload, b.Order, nil); err != nil {
			return err
		}
		l.owing = false
		s.passed()
		return s.tryMoveLine()
	}
	c, count := &l.count, uint64(h.Count)
	p := packet{header: slices.Clone(s.header), payload: slices.Clone(b.Payload), order: slices.Clone(b.Order), count: h.Count}
	switch f.Kind {
	case faults.Drop:
		c.dropped.Add(1)
		c.missing.Add(count)
		return nil
	case faults.Corrupt:
		c.corrupted.Add(1)
		c.missing.Add(count)
		bit := f.Bits % (8 * uint64(len(p.payload)))
		p.payload[bit/8] ^= 1 << (bit % 8)
		p.broken = true
	case faults.Dup:
		c.duplicated.Add(1)
		c.repeated.Add(count)
		l.push(p)
	case faults.Reorder:
		p.late = true
	case faults.Delay:
		c.delayed.Add(1)
		p.at = time.Now().Add(l.plan.Spec().DelayFor)
	}
	l.owing = p.late || l.owing && p.broken
	l.push(p)
	return s.tryMoveLine()
}

// putOnLine is TrySend of the mark whose header is in s.header, and reports whether
// there was room for it. A mark says what was sent before it, so it overtakes nothing
// that waits, but what is reordered. The first hello of an epoch does not do that
// either: readers would take what comes behind it for nothing of the stream.
func (s *shard) putOnLine(payload []byte, begins bool) (bool, error) {
	l := s.line
	if err := s.tryMoveLine(); err != nil || len(l.queue) > 0 {
		return false, err
	}
	if begins && l.held != nil {
		if err := s.sendPacket(l.held); err != nil {
			return false, roomless(err)
		}
		l.held = nil
	}
	f := l.plan.Mark(s.number, l.marks)
	p := packet{header: s.header, payload: payload, mark: true}
	switch f.Kind {
	case faults.Drop:
	case faults.Delay:
		p.at = time.Now().Add(l.plan.Spec().DelayFor)
		l.push(packet{header: slices.Clone(s.header), payload: slices.Clone(payload), at: p.at, mark: true})
		s.rearm(p.at)
	case faults.Dup, faults.None, faults.Corrupt, faults.Reorder:
		if f.Kind == faults.Corrupt && len(payload) > 0 {
			bit := f.Bits % (8 * uint64(len(payload)))
			p.payload, p.broken = slices.Clone(payload), true
			p.payload[bit/8] ^= 1 << (bit % 8)
		}
		if err := s.socket.TrySend(p.header, p.payload); err != nil {
			return false, roomless(err)
		}
		if !p.broken {
			s.passed()
		}
		if f.Kind == faults.Dup {
			l.push(packet{header: slices.Clone(s.header), payload: slices.Clone(payload), mark: true})
		}
	}
	l.marks++
	if f.Kind != faults.None && f.Kind != faults.Reorder {
		l.count.marked.Add(1)
	}
	return true, s.tryMoveLine()
}

// roomless turns the answer of a full queue into none.
func roomless(err error) error {
	if errors.Is(err, zsock.ErrAgain) {
		return nil
	}
	return err
}

// errStalled: what is first in the line is not to go out yet.
var errStalled = errors.New("publisher: the line stands still")

// tryMoveLine is moveLine where it does not matter whether all of it went out.
func (s *shard) tryMoveLine() error {
	err := s.moveLine(time.Now())
	if errors.Is(err, errStalled) {
		return nil
	}
	return roomless(err)
}

// moveLine sends what waits and may go out. It returns errStalled while something is
// delayed, and ErrAgain while the queue is full.
func (s *shard) moveLine(now time.Time) error {
	l := s.line
	if l.err != nil {
		return l.err
	}
	for len(l.queue) > 0 {
		p := &l.queue[0]
		switch {
		case now.Before(p.at):
			s.rearm(p.at)
			return errStalled
		case p.late:
			held := *p
			l.held = &held
		default:
			if err := s.sendPacket(p); err != nil {
				s.rearm(now.Add(lineRetry))
				return err
			}
		}
		whole := !p.late && !p.broken
		l.bytes -= p.size()
		l.queue[0] = packet{}
		l.queue = l.queue[1:]
		if whole {
			s.passed()
		}
	}
	return nil
}

// sendPacket sends a packet, for as long as the socket waits at most.
func (s *shard) sendPacket(p *packet) error {
	return s.socket.SendBatch(p.header, p.payload, p.order, nil)
}

// passed takes note that a message went out that tells readers how far the shard is:
// what was held goes out next.
func (s *shard) passed() {
	l := s.line
	if l.held == nil {
		return
	}
	p := l.held
	l.held = nil
	c := &l.count
	c.reordered.Add(1)
	c.missing.Add(uint64(p.count))
	c.repeated.Add(uint64(p.count))
	p.late, p.broken = false, true // nobody is told anything by it
	l.queue = slices.Insert(l.queue, 0, *p)
	l.bytes += p.size()
}

func (l *line) push(p packet) {
	l.queue = append(l.queue, p)
	l.bytes += p.size()
}

// rearm makes the line move at a moment, whoever looks after the shard then.
func (s *shard) rearm(at time.Time) {
	l := s.line
	wait := time.Until(at)
	if l.timer != nil {
		l.timer.Reset(wait)
		return
	}
	l.timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if l.shut {
			return
		}
		if err := s.tryMoveLine(); err != nil {
			l.err = fmt.Errorf("publisher: shard %d: %w", s.number, err)
		}
	})
}
