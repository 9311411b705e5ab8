package snail

import (
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

const (
	ms     = time.Millisecond
	second = time.Second
)

// sim is a publisher and a reader with clocks of their own. Times are true ones,
// from the start.
type sim struct {
	t     testing.TB
	meter *Meter

	interval time.Duration                          // between messages; default 10 ms
	network  time.Duration                          // the shortest way; default 100 us
	lag      func(sent time.Duration) time.Duration // of a message that was sent then; default none

	readerAhead    time.Duration // the reader's wall clock, at the start
	drift          float64       // of the reader's clocks, millionths
	readerStep     func(at time.Duration) time.Duration
	publisherStep  func(at time.Duration) time.Duration
	publisherAhead time.Duration

	sent, received time.Duration
	seq            wire.Seq
	verdicts       []Verdict // each new one
	at             []time.Duration
	lags           []time.Duration // as the meter has them, and
	actual         []time.Duration // as they are
}

// simStart is the true time at the start, of the wall and the monotonic clock.
const (
	simWall = wire.Nanos(1_700_000_000_000_000_000)
	simMono = wire.Nanos(5_000_000_000)
)

func (s *sim) instant(at time.Duration) Instant {
	elapsed := wire.Nanos(float64(at) * (1 + s.drift/1e6))
	i := Instant{Wall: simWall + wire.Nanos(s.readerAhead) + elapsed, Mono: simMono + elapsed}
	if s.readerStep != nil {
		i.Wall += wire.Nanos(s.readerStep(at))
	}
	return i
}

func (s *sim) stamp(at time.Duration) wire.Nanos {
	n := simWall + wire.Nanos(s.publisherAhead+at)
	if s.publisherStep != nil {
		n += wire.Nanos(s.publisherStep(at))
	}
	return n
}

// run sends and receives until a message is sent at end.
func (s *sim) run(end time.Duration) {
	s.t.Helper()
	if s.meter == nil {
		s.meter = newMeter(s.t, Limits{})
	}
	interval, network := s.interval, s.network
	if interval == 0 {
		interval = 10 * ms
	}
	if network == 0 {
		network = 100 * time.Microsecond
	}
	for ; s.sent <= end; s.sent += interval {
		late := network
		if s.lag != nil {
			late += s.lag(s.sent)
		}
		s.received = max(s.received, s.sent+late)
		h := wire.Header{Epoch: 1, FirstSeq: s.seq, Count: 10, Send: s.stamp(s.sent)}
		s.seq = h.Next()
		v := s.meter.Observe(s.instant(s.received), &h)
		s.note(v)
		s.lags = append(s.lags, s.meter.Status().Lag)
		s.actual = append(s.actual, s.received-s.sent-network)
	}
}

func (s *sim) note(v Verdict) {
	if n := len(s.verdicts); n == 0 || s.verdicts[n-1] != v {
		s.verdicts, s.at = append(s.verdicts, v), append(s.at, s.received)
	}
}

func newMeter(t testing.TB, l Limits) *Meter {
	t.Helper()
	m, err := NewMeter(l)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// from is a lag that begins at some time and stays.
func from(at, lag time.Duration) func(time.Duration) time.Duration {
	return func(sent time.Duration) time.Duration {
		if sent < at {
			return 0
		}
		return lag
	}
}
