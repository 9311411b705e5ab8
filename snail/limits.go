package snail

import (
	"cmp"
	"errors"
	"time"
)

// Limits say from when on a reader is slow, and for how long it must be so. A
// limit to enter and a lower one to leave keep a verdict from flapping. The zero
// value of a field means its default.
type Limits struct {
	// Lag makes a Snail. Default 1 s, the guide's.
	Lag time.Duration
	// LagLeave is what it must stay below to be one no more. Default half of Lag.
	LagLeave time.Duration
	// Warn is the lag that makes a reader Lagging. Default half of Lag.
	Warn time.Duration
	// WarnLeave is what it must stay below to be OK again. Default half of Warn.
	WarnLeave time.Duration
	// Stuck is how long a call of the handler may take. Default Lag.
	Stuck time.Duration
	// Lost is how many records make a Snail when they are lost without a pause of
	// Fall. Default 1: with a short queue at the publisher records are lost long
	// before any lag would show.
	Lost uint64
	// Rise is how long a lag must last before it counts. Default a tenth of Lag.
	Rise time.Duration
	// Fall is how long a reader must have been well before a verdict is taken
	// back. Default 5 times Lag.
	Fall time.Duration
}

// lagDefault is the guide's limit.
const lagDefault = time.Second

var errLimits = errors.New("snail: a limit is negative, or lower than the one for leaving it, or the limit of lag lower than the one for warning")

// withDefaults returns the limits with every field set, or what is wrong.
func (l Limits) withDefaults() (Limits, error) {
	l.Lag = cmp.Or(l.Lag, lagDefault)
	l.LagLeave = cmp.Or(l.LagLeave, l.Lag/2)
	l.Warn = cmp.Or(l.Warn, l.Lag/2)
	l.WarnLeave = cmp.Or(l.WarnLeave, l.Warn/2)
	l.Stuck = cmp.Or(l.Stuck, l.Lag)
	l.Lost = cmp.Or(l.Lost, 1)
	l.Rise = cmp.Or(l.Rise, l.Lag/10)
	l.Fall = cmp.Or(l.Fall, 5*l.Lag)
	for _, d := range []time.Duration{l.Lag, l.LagLeave, l.Warn, l.WarnLeave, l.Stuck, l.Rise, l.Fall} {
		if d < 0 {
			return l, errLimits
		}
	}
	if l.LagLeave > l.Lag || l.WarnLeave > l.Warn || l.Warn > l.Lag {
		return l, errLimits
	}
	return l, nil
}

// limit is one limit of lag with its hysteresis.
type limit struct {
	enter, leave time.Duration
	in           bool // it is exceeded
	turning      bool // the lag is on the other side, since when
	since        instantNs
}

// instantNs is a time of a monotonic clock, ns.
type instantNs int64

// take takes in a lag. It changes sides only when the lag has been on the other
// one for the whole of rise, or fall.
func (l *limit) take(now instantNs, lag, rise, fall time.Duration) {
	bound, wait := l.enter, rise
	if l.in {
		bound, wait = l.leave, fall
	}
	if (lag >= bound) == l.in {
		l.turning = false
		return
	}
	if !l.turning {
		l.turning, l.since = true, now
	}
	if time.Duration(now-l.since) >= wait {
		l.in, l.turning = !l.in, false
	}
}

// force makes the limit exceeded, until the lag has been low for as long as it
// takes.
func (l *limit) force() { l.in, l.turning = true, false }
