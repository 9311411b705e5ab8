package snail

import (
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// Meter judges how a reader fares on one shard. It belongs to one goroutine at a
// time; its methods do not allocate and cost some nanoseconds.
type Meter struct {
	limits Limits
	skew   skew
	snail  limit
	warn   limit
	slow   Cause // what made the snail

	lag     time.Duration // of the last message
	lost    uint64
	losing  uint64    // lost, with no pause of Fall between
	lostAt  instantNs // the last time
	epoch   wire.Epoch
	next    wire.Seq
	heard   uint64
	lastNow Instant

	busy      wire.Nanos // the call of the handler that Tick saw last; 0: none
	busySeen  instantNs  // when Tick saw it first
	ticked    instantNs  // the last Tick
	stuck     bool
	stuckTime time.Duration // how long the call has taken, so far

	idle idle
}

// Status is what a Meter says.
type Status struct {
	Verdict Verdict
	Cause   Cause
	// Lag is how long after it was sent the last message was taken, without skew;
	// of a reader that is stuck, how late it is by now.
	Lag time.Duration
	// Lost is how many records did not come, so far.
	Lost uint64
	// Skew is how far the reader's clock seems ahead of the publisher's, the
	// shortest way between them included.
	Skew time.Duration
	// Steps is how often the publisher's clock was set back.
	Steps uint64
	// Epoch and Next are the place in the stream.
	Epoch wire.Epoch
	Next  wire.Seq
	// Heard is how many messages were taken in, marks included.
	Heard uint64
}

// NewMeter checks the limits.
func NewMeter(l Limits) (*Meter, error) {
	l, err := l.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Meter{
		limits: l,
		snail:  limit{enter: l.Lag, leave: l.LagLeave}, warn: limit{enter: l.Warn, leave: l.WarnLeave},
	}, nil
}

// Observe takes in a message, a batch or a mark, at the moment at which the reader
// takes it. Messages must come in the order of the shard.
func (m *Meter) Observe(now Instant, h *wire.Header) Verdict {
	at := instantNs(now.Mono)
	waited := m.idle.waited(at, m.ticked, m.heard, m.limits.Stuck)
	m.heard++
	m.lag = m.skew.take(now, h.Send, h.Epoch != m.epoch && m.epoch != 0, !m.snail.in && !m.warn.in && !m.warn.turning)
	m.epoch, m.next = h.Epoch, h.Next()
	m.lastNow = now
	lag := m.lag
	if m.idle.excuses(&m.skew, h, waited, lag) {
		lag = 0
	}
	m.judge(at, lag)
	return m.Verdict()
}

// Lose takes note that n records did not come: a gap.
func (m *Meter) Lose(now Instant, n uint64) Verdict {
	at := instantNs(now.Mono)
	if time.Duration(at-m.lostAt) >= m.limits.Fall {
		m.losing = 0
	}
	m.lost, m.losing, m.lostAt, m.lastNow = m.lost+n, m.losing+n, at, now
	if m.losing >= m.limits.Lost && n > 0 {
		m.enter(CauseLost)
		m.snail.force()
	}
	return m.Verdict()
}

// Tick is to be called every tenth of Limits.Stuck or so, whatever comes or does
// not. busySince is when the handler was called, by the monotonic clock, or 0
// while it is not at work.
func (m *Meter) Tick(now Instant, busySince wire.Nanos) Verdict {
	at := instantNs(now.Mono)
	asleep := time.Duration(at-m.ticked) >= m.limits.Stuck/2
	m.lastNow, m.ticked = now, at
	m.idle.saw(at, busySince != 0, asleep, m.heard)
	if busySince == 0 || busySince != m.busy || asleep && !m.stuck {
		m.free()
		m.busy, m.busySeen = busySince, at
		return m.Verdict()
	}
	m.stuckTime = time.Duration(max(now.Mono-busySince, 0))
	// Seen for a while: a process that was stopped, or a machine that slept, finds
	// every call old when it wakes.
	if m.stuckTime >= m.limits.Stuck && time.Duration(at-m.busySeen) >= m.limits.Rise {
		m.enter(CauseHandler)
		m.stuck = true
		m.snail.force()
	}
	return m.Verdict()
}

// free takes note that the handler has returned.
func (m *Meter) free() { m.busy, m.stuck, m.stuckTime = 0, false, 0 }

// enter remembers what made a snail of a reader that was none.
func (m *Meter) enter(c Cause) {
	if !m.snail.in || c == CauseHandler {
		m.slow = c
	}
}

// judge moves the limits. Loss has made the snail's start anew.
func (m *Meter) judge(now instantNs, lag time.Duration) {
	was := m.snail.in
	m.warn.take(now, lag, m.limits.Rise, m.limits.Fall)
	if m.snail.take(now, lag, m.limits.Rise, m.limits.Fall); m.snail.in && !was {
		m.slow = CauseLag
	}
}

// Verdict is the verdict as of the last call.
func (m *Meter) Verdict() Verdict {
	switch {
	case m.stuck:
		return Stuck
	case m.snail.in:
		return Snail
	case m.warn.in:
		return Lagging
	}
	return OK
}

// Status is everything as of the last call.
func (m *Meter) Status() Status {
	s := Status{
		Verdict: m.Verdict(), Lag: m.lag + m.stuckTime, Lost: m.lost,
		Skew: m.skew.value(m.lastNow), Steps: m.skew.steps, Epoch: m.epoch, Next: m.next, Heard: m.heard,
	}
	switch s.Verdict {
	case Snail, Stuck:
		s.Cause = m.slow
	case Lagging:
		s.Cause = CauseLag
	}
	return s
}

// Forgive takes the verdict back at once: something was done about it that makes
// what was seen before say nothing about what comes. Counts and skew stay.
func (m *Meter) Forgive() {
	m.free()
	m.losing, m.slow = 0, CauseNone
	m.snail.in, m.snail.turning = false, false
	m.warn.in, m.warn.turning = false, false
}
