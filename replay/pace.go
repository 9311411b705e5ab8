package replay

import (
	"math"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/internal/latency"
	"github.com/tapedeck/tapedeck/wire"
)

// pacer says when each record is due. Everything is counted from one anchor, a
// tape time tied to a moment of the monotonic clock, so errors never add up.
//
// Squeezed, it moves the anchor's tape time on where an idle stretch begins, by what
// is left out of that. So what is due when depends on the records' times alone, not on
// when they are looked at.
type pacer struct {
	speed    Speed
	squeeze  wire.Nanos // what longer idle stretches last; 0: they last what they last
	anchored bool
	tape     wire.Nanos // tape time of the anchor
	mono     int64      // monotonic time of the anchor, ns
	latest   int64      // due time of the latest record so far, monotonic ns
	seen     wire.Nanos // squeezed: the greatest time so far
	// Between these times there is nothing to look at but the distance to the anchor.
	near, far wire.Nanos
	left      *atomic.Int64 // tape time that was left out
	late      *latency.Histogram
}

func newPacer(speed Speed) *pacer {
	return &pacer{speed: speed, left: &atomic.Int64{}, late: new(latency.Histogram)}
}

// anchor ties a tape time to a moment of the monotonic clock.
func (p *pacer) anchor(t wire.Nanos, mono int64) {
	p.anchored, p.tape, p.mono, p.latest, p.seen = true, t, mono, mono, t
	p.near, p.far = later(t, -dueFar), later(t, dueFar)
	if p.squeeze > 0 {
		p.near, p.far = wire.NanosMax, wire.NanosMin
	}
}

// dueFar is how far from the anchor a due moment can be, ns: 146 years.
const dueFar = 1 << 62

// due returns the moment at which a record of tape time t is due. A record that
// lies before the one before it is due with it: it keeps its place.
func (p *pacer) due(t wire.Nanos) int64 {
	apart := int64(t - p.tape)
	if t < p.near || t > p.far {
		apart = p.apart(t)
	}
	// The exact quotient has at most 53 significant bits here: a day in
	// nanoseconds has 47.
	d := math.Round(float64(apart) / float64(p.speed))
	p.latest = max(p.latest, p.mono+int64(min(max(d, -dueFar), dueFar)))
	return p.latest
}

// apart is how far a time is from the anchor, where the difference may not fit, once
// idle time before it has been left out.
func (p *pacer) apart(t wire.Nanos) int64 {
	if p.squeeze > 0 {
		if idle := distance(t, p.seen); idle > p.squeeze {
			p.tape = later(p.tape, idle-p.squeeze)
			p.left.Add(int64(idle - p.squeeze))
		}
		p.seen = max(p.seen, t)
	}
	return int64(distance(t, p.tape))
}

// distance subtracts two times; where the difference does not fit, it is as far as can
// be.
func distance(t, from wire.Nanos) wire.Nanos {
	d := t - from
	switch { // where it does not fit, it has wrapped
	case t > from && d < 0:
		return wire.NanosMax
	case t < from && d > 0:
		return wire.NanosMin
	}
	return d
}

// timeAt is the inverse of due: what time it is on the tape at a moment.
func (p *pacer) timeAt(mono int64) wire.Nanos {
	return p.tape + wire.Nanos(float64(mono-p.mono)*float64(p.speed))
}

// sent records that what was due at the given moments left at another.
func (p *pacer) sent(dues []int64, mono int64) {
	late := p.late.Run() // of most records of a batch it is the same, at three digits
	for _, due := range dues {
		late.Record(max(mono-due, 1))
	}
	late.End()
}
