package replay

import (
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapedeck/tapedeck/wire"
)

// pacer says when each record is due. Everything is counted from one anchor, a
// tape time tied to a moment of the monotonic clock, so errors never add up.
type pacer struct {
	speed    Speed
	anchored bool
	tape     wire.Nanos // tape time of the anchor
	mono     int64      // monotonic time of the anchor, ns
	latest   int64      // due time of the latest record so far, monotonic ns
	late     *hdrhistogram.Histogram
}

func newPacer(speed Speed) *pacer {
	// 1 ns to 1 minute at three digits.
	return &pacer{speed: speed, late: hdrhistogram.New(1, 60e9, 3)}
}

// anchor ties a tape time to a moment of the monotonic clock.
func (p *pacer) anchor(t wire.Nanos, mono int64) {
	p.anchored, p.tape, p.mono, p.latest = true, t, mono, mono
}

// dueFar is how far from the anchor a due moment can be, ns: 146 years.
const dueFar = 1 << 62

// due returns the moment at which a record of tape time t is due. A record that
// lies before the one before it is due with it: it keeps its place.
func (p *pacer) due(t wire.Nanos) int64 {
	apart := int64(t - p.tape)
	switch { // where the difference does not fit, it has wrapped
	case t > p.tape && apart < 0:
		apart = math.MaxInt64
	case t < p.tape && apart > 0:
		apart = math.MinInt64
	}
	// The exact quotient has at most 53 significant bits here: a day in
	// nanoseconds has 47.
	d := math.Round(float64(apart) / float64(p.speed))
	p.latest = max(p.latest, p.mono+int64(min(max(d, -dueFar), dueFar)))
	return p.latest
}

// timeAt is the inverse of due: what time it is on the tape at a moment.
func (p *pacer) timeAt(mono int64) wire.Nanos {
	return p.tape + wire.Nanos(float64(mono-p.mono)*float64(p.speed))
}

// sent records that what was due at the given moment left at another.
func (p *pacer) sent(due, mono int64) {
	// Values above the histogram's range are counted at its end.
	_ = p.late.RecordValue(min(max(mono-due, 1), p.late.HighestTrackableValue()))
}
