package resync

import (
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// chooser knows how the servers fare, over all shards: a *freelance.Chooser, or a
// Client's, by way of choice.
type chooser interface {
	Pick(now time.Duration, tried func(i int) bool) int
	Resting(i int, now time.Duration) bool
	Failed(i int, now time.Duration)
	Answered(i int)
}

const (
	// restFirst and restMost are for how long a server that fails is left alone where
	// another one can be asked: at first, and at most.
	restFirst = 200 * time.Millisecond
	restMost  = time.Minute
)

// asking is how one server fares with the gap that is pursued.
type asking struct {
	asked    bool          // in this round
	failures int           // requests in a row that brought nothing
	gone     wire.Seq      // sequences below are not to be had there
	due      time.Duration // rounds that begin before do without it: it does not answer
}

// open reports whether a server can be asked for what comes next.
func (a *asking) open(next wire.Seq) bool { return a.gone <= next }

// choose returns the server to ask for what is missing at e.next: of those that have not
// been asked in this round, one of which it is not known that it lacks the epoch, and
// which answers. There must be one that can be asked.
func (m *machine) choose(now time.Duration, e *epoch) int {
	servers := m.gap.servers
	left := func(i int) bool { return servers[i].asked || !servers[i].open(e.next) || servers[i].due > now }
	if m.through(now, e) {
		for i := range servers {
			servers[i].asked = false
		}
		if m.through(now, e) { // all that can be asked do not answer
			left = func(i int) bool { return !servers[i].open(e.next) }
		}
	}
	i := m.cfg.chooser.Pick(now, func(i int) bool { return left(i) || e.lacks(i) })
	if left(i) || e.lacks(i) {
		i = m.cfg.chooser.Pick(now, left)
	}
	servers[i].asked = true
	return i
}

// through reports whether nobody is left to be asked in this round.
func (m *machine) through(now time.Duration, e *epoch) bool {
	return !slices.ContainsFunc(m.gap.servers, func(a asking) bool { return !a.asked && a.open(e.next) && a.due <= now })
}

// alone reports whether there is no more than one server that can be asked.
func (m *machine) alone(e *epoch) bool {
	n := 0
	for i := range m.gap.servers {
		if m.gap.servers[i].open(e.next) {
			n++
		}
	}
	return n <= 1
}

// noted takes note of how a request to a server has ended. brought: it has brought
// something of epoch e.
func (m *machine) noted(now time.Duration, server int, e *epoch, reason Reason, brought bool) {
	lacks := reason == ReasonGone || reason == ReasonUnknown || reason == ReasonRefused
	if lacks || brought {
		if e.lacking == nil {
			e.lacking = make([]bool, m.cfg.servers)
		}
		e.lacking[server] = lacks && !brought
	}
	switch reason {
	case 0, ReasonGone, ReasonUnknown, ReasonNotYet, ReasonRefused:
		m.cfg.chooser.Answered(server)
	case ReasonNoAnswer: // whoever found that out has said so
	default:
		m.cfg.chooser.Failed(server, now)
	}
}

// vain takes note that a server was asked in vain for what is missing at e.next, and
// returns when somebody is to be asked again.
func (m *machine) vain(now time.Duration, server int, e *epoch, f failure) time.Duration {
	g := &m.gap
	a := &g.servers[server]
	a.failures++
	if f.reason == ReasonNoAnswer || f.reason == ReasonSlow {
		a.due = now + min(restFirst<<min(a.failures-1, 10), m.cfg.backoffTo)
	}
	if !m.through(now, e) {
		return now
	}
	wait := m.pause(g.rounds)
	g.rounds++
	if m.alone(e) {
		wait = max(wait, min(f.wait, m.cfg.backoffTo))
	}
	return now + wait
}

// lacks reports whether a server has said that it does not have the epoch, or not what
// was asked for, and has brought nothing since.
func (e *epoch) lacks(server int) bool { return e.lacking != nil && e.lacking[server] }
