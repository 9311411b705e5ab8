package colmap

import (
	"math"
	"time"
	_ "time/tzdata" // zones must be known where the system has none

	"github.com/tapedeck/tapedeck/wire"
)

// zone turns wall clock times into UTC. It keeps the span of wall clock in which
// the offset that it used last holds, so that a stream of times near each other
// costs two comparisons each.
//
// A wall clock time that occurs twice, when clocks are put back, is taken to be
// the first. One that does not occur, when they are put forward, is taken with
// the offset before the change.
type zone struct {
	loc      *time.Location
	from, to wire.Nanos // the span, to excluded
	offset   wire.Nanos // wall clock minus UTC in it
}

func newZone(loc *time.Location) zone { return zone{loc: loc} }

// utcZone is the zone UTC, whose span has no end.
var utcZone = zone{loc: time.UTC, from: math.MinInt64, to: math.MaxInt64}

// utc returns the UTC time of the wall clock time, given in nanoseconds as if
// it were UTC.
func (z *zone) utc(wall wire.Nanos) wire.Nanos {
	if wall < z.from || wall >= z.to {
		z.move(wall)
	}
	return wall - z.offset
}

// move finds the span that wall lies in.
func (z *zone) move(wall wire.Nanos) {
	// No offset is a day or more, so the span of a day earlier is the wanted one
	// or one before it.
	at := time.Unix(0, max(int64(wall), math.MinInt64+int64(dayNs))-int64(dayNs)).In(z.loc)
	for {
		start, end := at.ZoneBounds()
		if !end.IsZero() && !end.After(at) {
			// Behind the last change that a zone has in its table the time package
			// takes every year to have 365 days: on the last day of a leap year
			// the span ends before it.
			end = at.Add(time.Duration(dayNs))
		}
		offset := offsetOf(at)
		from, to := wire.Nanos(math.MinInt64), wire.Nanos(math.MaxInt64)
		if !start.IsZero() {
			from = wallNanos(start, max(offset, offsetOf(start.Add(-1))))
		}
		if !end.IsZero() {
			to = wallNanos(end, max(offset, offsetOf(end)))
		}
		if wall < to || end.IsZero() {
			z.from, z.to, z.offset = from, to, wire.Nanos(offset)*wire.Nanos(time.Second)
			return
		}
		at = end
	}
}

func offsetOf(t time.Time) int {
	_, seconds := t.Zone()
	return seconds
}

// wallNanos is t's wall clock at an offset in seconds, within what Nanos holds.
func wallNanos(t time.Time, offset int) wire.Nanos {
	const secondsMax = math.MaxInt64 / int64(time.Second)
	seconds := t.Unix() + int64(offset)
	switch {
	case seconds >= secondsMax:
		return math.MaxInt64
	case seconds <= -secondsMax:
		return math.MinInt64
	}
	return wire.Nanos(seconds * int64(time.Second))
}
