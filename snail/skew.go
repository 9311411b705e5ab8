package snail

import (
	"math"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// Instant is a moment by two clocks of one machine.
type Instant struct {
	// Wall is the clock that the machine shows.
	Wall wire.Nanos
	// Mono is one that is never set, ns from any beginning above 0. Lag is counted
	// by it, so that setting the reader's clock makes nobody late.
	Mono wire.Nanos
}

const (
	// skewBuckets of skewSpan each are the sliding window of the minimum.
	skewBuckets = 6
	skewSpan    = 10 * time.Second
	// driftPPM is how fast the estimate may rise, millionths: faster than clocks of
	// computers drift apart, slower than any backlog grows that matters.
	driftPPM = 200
	// stepMin is the least step back of the publisher's clock that is taken for
	// one, and not for two senders' stamps that came out of order.
	stepMin = 10 * time.Millisecond
)

// skew estimates how far the reader's clock is ahead of the publisher's: the
// minimum of receive minus send time, the one-way-delay floor. What a batch takes
// beyond that is lag.
//
// A minimum over a window alone would take a reader that is late for longer than
// the window for one in time. So the estimate falls at once but rises slowly, and
// only while the reader is well. A reader joins at the live edge of a stream, so
// the first batches show the true floor whatever the clocks say.
//
// When the publisher's clock is set back, or another publisher takes over, send
// times begin anew: the lag is then taken to be what it was. What that hides, at
// most the time between two messages, shows with the first one that comes faster.
type skew struct {
	begun bool
	floor int64      // of raw
	raw   int64      // of the last message: mono time minus send time, ns
	send  wire.Nanos // of the last message
	steps uint64     // times that send times began anew

	mins [skewBuckets]int64 // of raw; the first is of the span at hand
	turn wire.Nanos         // when that began, mono
}

// take takes in a message and returns its lag, never negative. anew: another
// publisher may have sent it. well: the reader keeps up.
func (s *skew) take(now Instant, send wire.Nanos, anew, well bool) time.Duration {
	raw := sub(int64(now.Mono), int64(send))
	switch {
	case !s.begun:
		s.begun, s.floor, s.turn = true, raw, now.Mono
		s.fill(raw)
	case sub(int64(s.send), int64(send)) >= int64(stepMin):
		s.steps++
		s.move(sub(raw, s.raw))
	case anew && raw > s.raw:
		s.move(sub(raw, s.raw))
	}
	s.raw, s.send = raw, send
	s.mins[0] = min(s.mins[0], raw)
	if now.Mono-s.turn >= wire.Nanos(skewSpan) {
		s.rotate(now.Mono, well)
	}
	s.floor = min(s.floor, raw)
	return time.Duration(sub(raw, s.floor))
}

// rotate begins another span, and lets the estimate rise where it may.
func (s *skew) rotate(now wire.Nanos, well bool) {
	if well {
		lowest := s.mins[0]
		for _, m := range s.mins {
			lowest = min(lowest, m)
		}
		rise := int64(now-s.turn) / 1_000_000 * driftPPM
		s.floor = max(s.floor, min(lowest, add(s.floor, rise)))
	}
	copy(s.mins[1:], s.mins[:])
	s.mins[0], s.turn = math.MaxInt64, now
}

// move moves the estimate and all that it is made of.
func (s *skew) move(by int64) {
	s.floor = add(s.floor, by)
	for i, m := range s.mins {
		if m != math.MaxInt64 {
			s.mins[i] = add(m, by)
		}
	}
}

func (s *skew) fill(raw int64) {
	for i := range s.mins {
		s.mins[i] = raw
	}
}

// value is the estimate as of now: the wall clock's.
func (s *skew) value(now Instant) time.Duration {
	if !s.begun {
		return 0
	}
	return time.Duration(add(s.floor, sub(int64(now.Wall), int64(now.Mono))))
}

// add and sub saturate: send times come from the network.
func add(a, b int64) int64 {
	c := a + b
	if (c > a) == (b > 0) || b == 0 {
		return c
	}
	if b > 0 {
		return math.MaxInt64
	}
	return math.MinInt64
}

func sub(a, b int64) int64 {
	if b == math.MinInt64 {
		return add(add(a, math.MaxInt64), 1)
	}
	return add(a, -b)
}
