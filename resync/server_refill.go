package resync

import (
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// refill is what is left to read and send of one request. It is pure.
//
// A read returns as many records as lie together in the source, which nobody
// knows before. So the span is cut into lanes, of some reads each, and the reads
// of a lane follow one another while those of different lanes run at once. What
// is read is sent in order: the first lane's as it comes, the others' when it is
// through.
type refill struct {
	span    Span
	open    bool // To was Open, and where that is the source has not said yet
	last    bool // To was Open, and the epoch ends where the source's records do
	planned wire.Seq
	per     uint64 // records that a read brings, about; 0: not known
	lanes   []*lane
	bytes   int // read and not sent
}

// lane is a part of a refill that is read in order.
type lane struct {
	next, to wire.Seq // to be read
	reading  bool
	ready    []*chunk
	fail     *RequestError
	notYet   time.Duration // when the source first said so
	again    time.Duration // not to be read before
}

// chunk is what a read has brought.
type chunk struct {
	message carrier
	first   int // frame that the message to the client begins with
	header  wire.Header
	size    int // payload and order, bytes
}

// carrier is a message that can be let go.
type carrier interface{ Close() }

// laneReads is about how many reads a lane has. A lane's end cuts what lies
// together in two, so few are bad; what is read ahead waits in memory.
const laneReads = 8

func newRefill(s Span) *refill {
	return &refill{span: s, open: s.To == Open, planned: s.From}
}

// plan returns the lane that is to be read now, if any, when at most so many run.
func (f *refill) plan(now time.Duration, lanes int) *lane {
	for _, l := range f.lanes {
		if l.fail != nil {
			return nil // nothing behind it will be sent
		}
		if !l.reading && l.next < l.to && now >= l.again {
			return l
		}
	}
	if len(f.lanes) >= lanes || f.planned >= f.span.To || len(f.lanes) > 0 && (f.per == 0 || f.open) {
		return nil
	}
	l := &lane{next: f.planned, to: f.span.To}
	f.cut(l)
	f.lanes = append(f.lanes, l)
	return l
}

// cut makes a lane as long as lanes are, where that is known.
func (f *refill) cut(l *lane) {
	if n := wire.Seq(f.per * laneReads); f.per > 0 && l.to-l.next > n {
		l.to = l.next + n
	}
	f.planned = l.to
}

// limit takes note of where the source's records end now, and whether the epoch
// ends there.
func (f *refill) limit(end wire.Seq, last bool) {
	if !f.open {
		return
	}
	f.open, f.last = false, last
	f.span.To = max(end, f.span.From)
	for _, l := range f.lanes { // one
		l.to = max(f.span.To, l.next)
	}
	f.planned = min(f.planned, f.span.To)
}

// nothing takes note that the lane's read has brought nothing, because the
// source's records end there; limit was called before.
func (f *refill) nothing(l *lane) { l.reading, l.to = false, l.next }

// arrived takes in what the lane's read has brought; limit was called before.
func (f *refill) arrived(l *lane, c *chunk, chunkBytes int) {
	l.reading, l.next, l.notYet = false, c.header.Next(), 0
	l.ready = append(l.ready, c)
	f.bytes += c.size
	if f.per == 0 {
		f.per = max(uint64(c.header.Count)*uint64(chunkBytes)/uint64(max(c.size, 1)), 1)
		f.cut(l)
	}
}

// lacked takes note that the lane's read was answered: not there yet. It is tried
// again for a while.
func (f *refill) lacked(l *lane, now, patience time.Duration, e *RequestError) {
	l.reading = false
	if l.notYet == 0 {
		l.notYet = now
	}
	if now-l.notYet >= patience {
		l.fail = e
		return
	}
	l.again = now + notYetAgain
}

// head is the chunk that is to be sent next, if it has been read.
func (f *refill) head() *chunk {
	for len(f.lanes) > 0 {
		l := f.lanes[0]
		if len(l.ready) > 0 {
			return l.ready[0]
		}
		if l.reading || l.next < l.to || l.fail != nil {
			return nil
		}
		f.lanes = f.lanes[1:]
	}
	return nil
}

// sent takes the head away. The caller lets go of it.
func (f *refill) sent() *chunk {
	l := f.lanes[0]
	c := l.ready[0]
	l.ready[0] = nil
	l.ready = l.ready[1:]
	f.bytes -= c.size
	return c
}

// ended reports whether everything has been sent that will be. fail says why that
// is not all.
func (f *refill) ended() (done bool, fail *RequestError) {
	switch {
	case f.head() != nil:
		return false, nil
	case len(f.lanes) > 0:
		return f.lanes[0].fail != nil, f.lanes[0].fail
	}
	return f.planned >= f.span.To, nil
}

// drop lets go of everything that was read.
func (f *refill) drop() {
	for _, l := range f.lanes {
		for _, c := range l.ready {
			c.message.Close()
		}
		l.ready = nil
	}
	f.bytes = 0
}
