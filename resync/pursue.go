package resync

import (
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// ask is the request that runs. There is one at most per shard: order needs the
// first gap first, and a request streams as much as its gap has.
type ask struct {
	id       uint64 // 0: none
	server   int
	epoch    wire.Epoch
	from     wire.Seq      // what came next when it was made
	to       wire.Seq      // may be Open
	got      wire.Seq      // everything before it has come, by the request itself or before it
	unwanted bool          // what it asks for has been given up
	deadline time.Duration // by when it must have brought something
}

// gap is the first gap of the front epoch, and how it has been pursued.
type gap struct {
	open    bool
	since   time.Duration
	to      wire.Seq // Open: what lies behind the last known sequence is asked for
	again   bool     // the last request brought nothing
	mute    bool     // one of those that brought nothing was not answered with what the server has
	rounds  int      // of all servers, since something came
	retryAt time.Duration
	servers []asking
	reason  Reason // of the last failure
}

// bridge is how many records between two gaps are asked for again, so that both
// are one request.
const bridge = 256

// missing is the end of what must be asked for at the front epoch's next, and
// where the first gap ends.
func (m *machine) missing(e *epoch) (to, first wire.Seq, ok bool) {
	if len(e.held) == 0 {
		switch {
		case len(m.epochs) > 1 && !e.ended:
			return Open, Open, true // another epoch follows, and this one's end is not known
		case e.top > e.next:
			return e.top, e.top, true
		}
		return 0, 0, false
	}
	first = e.held[0].batch.FirstSeq
	to = first
	for list := e.held; ; {
		end, ahead := list.covered(to)
		if len(ahead) == 0 || end-to > bridge {
			return to, first, true
		}
		to, list = ahead[0].batch.FirstSeq, ahead
	}
}

// pursue does what can be done now about the gap that begins at e.next.
func (m *machine) pursue(now time.Duration, e *epoch, to, first wire.Seq) action {
	g := &m.gap
	if !g.open || g.to == Open && first != Open {
		m.openGap(now, first)
	}
	if first != Open {
		g.to = max(g.to, first) // it may have grown
	}
	if m.ask.id != 0 {
		if now < m.ask.deadline {
			return action{}
		}
		id := m.ask.id
		m.failed(now, id, failure{reason: ReasonSlow})
		return action{do: doCancel, id: id}
	}
	if until, reason := m.hopeless(e, first); reason != 0 {
		return m.giveUp(e, until, reason)
	}
	if now < g.retryAt {
		return action{}
	}
	server := m.choose(now, e) // hopeless has seen that there is one
	m.asked++
	m.ask = ask{id: m.asked, server: server, epoch: e.id, from: e.next, to: to, got: e.next, deadline: now + m.cfg.patience}
	m.count.Requests++
	if g.again {
		m.count.Retries++
	}
	return action{do: doRequest, id: m.ask.id, server: server, span: m.span(e, e.next, to)}
}

func (m *machine) span(e *epoch, from, to wire.Seq) Span {
	return Span{Epoch: e.id, Shard: m.shard, From: from, To: to}
}

func (m *machine) openGap(now time.Duration, to wire.Seq) {
	m.gap = gap{open: true, since: now, to: to, servers: m.gap.servers}
	clear(m.gap.servers)
	for i := range m.gap.servers {
		if m.cfg.chooser.Resting(i, now) {
			m.gap.servers[i].due = now + restFirst
		}
	}
	if to != Open {
		m.count.Gaps++
	}
}

// closeGap takes note that the front epoch has come to the end of its gap.
func (m *machine) closeGap(now time.Duration, e *epoch) {
	if m.gap.open && e.next >= m.gap.to {
		m.gap.open = false
		m.count.Healed++
		if m.cfg.healed != nil {
			m.cfg.healed(now - m.gap.since)
		}
	}
}

// hopeless reports whether nobody has what is missing at e.next, and up to where.
func (m *machine) hopeless(e *epoch, first wire.Seq) (until wire.Seq, reason Reason) {
	g := &m.gap
	if m.cfg.servers == 0 {
		return first, ReasonNoServer
	}
	until, had := Open, first // had: what a server says that it has behind a hole begins there
	enough, rounds := true, m.rounds(e)
	for i := range g.servers {
		s := &g.servers[i]
		until = min(until, s.gone)
		if s.open(e.next) {
			enough = enough && s.failures >= rounds
		} else {
			had = min(had, s.gone)
		}
	}
	switch {
	case until > e.next:
		return min(until, first), g.reason
	case enough:
		e.spent = e.spent || !g.mute
		return had, g.reason
	}
	return 0, 0
}

// rounds is how often every server is asked for a gap: once, where all have said of
// another gap of the epoch, often enough, that they do not have it, and still do not know
// the epoch, or do not have what was missed though the epoch is over.
func (m *machine) rounds(e *epoch) int {
	if e.spent && !m.gap.mute && (m.gap.reason == ReasonUnknown || len(m.epochs) > 1) {
		return 1
	}
	return m.cfg.attempts
}

// giveUp leaves out what is missing up to until.
func (m *machine) giveUp(e *epoch, until wire.Seq, reason Reason) action {
	m.ask.unwanted = true
	probe := until == Open
	if probe {
		// What is known to be missing, and whatever came behind it.
		until = max(e.top, e.next)
		e.ended, e.end, e.broken = true, until, true
		e.whole = false
	}
	from := e.next
	e.next = until
	// The rest of the gap, where only its beginning is gone, is another gap.
	m.gap.open = false
	if from == until {
		return action{} // only the end is unknown
	}
	e.whole = false
	m.count.GaveUp++
	m.count.Lost += uint64(until - from)
	m.count.LostBy[min(reason, reasons-1)] += uint64(until - from)
	return action{do: doLost, span: m.span(e, from, until), reason: reason}
}

// progress takes note that a request has brought something.
func (m *machine) progress(now time.Duration, id uint64) {
	if id == m.ask.id && id != 0 {
		m.ask.deadline = now + m.cfg.patience
	}
}

// done takes note that a request is through: everything up to next was sent.
// ended: that is where the epoch ends. good: what came was what was sent.
func (m *machine) done(now time.Duration, id uint64, next wire.Seq, ended, good bool) {
	if id != m.ask.id || id == 0 {
		return
	}
	e, to := m.epochs[0], m.ask.to
	if e.id != m.ask.epoch {
		m.ask = ask{}
		return
	}
	if !good {
		// What came cannot be taken back.
		m.diverge(e)
	}
	switch {
	case to != Open && e.next < to, to == Open && next > e.next:
		// Not everything, in spite of what the server says.
		m.failed(now, id, failure{reason: ReasonShort})
		return
	case to == Open && e.top > e.next:
		m.failed(now, id, failure{reason: ReasonNotYet})
		return
	case to == Open && !e.ended:
		e.ended, e.end, e.broken = true, e.next, !ended
		e.whole = e.whole && ended
	}
	var reason Reason
	if !good {
		reason = ReasonBad
	}
	m.noted(now, m.ask.server, e, reason, e.next > m.ask.from)
	m.ask = ask{}
}

// failure is how a request failed.
type failure struct {
	reason Reason
	next   wire.Seq // the server has sent everything before
	skip   wire.Seq // ReasonGone: where what can be had begins again, or 0
	wait   time.Duration
}

// failed takes note that a request has failed. What it brought before is good.
func (m *machine) failed(now time.Duration, id uint64, f failure) {
	if id != m.ask.id || id == 0 {
		return
	}
	server, from, to, e, g := m.ask.server, m.ask.from, m.ask.to, m.epochs[0], &m.gap
	stale := e.id != m.ask.epoch
	m.ask = ask{}
	if stale {
		return
	}
	brought := e.next > from
	m.noted(now, server, e, f.reason, brought)
	if !g.open {
		return
	}
	switch {
	case f.reason == ReasonRefused:
		g.servers[server].gone = Open
	case f.reason != ReasonGone:
	case f.next > e.next:
		f.reason = ReasonShort // what is gone comes later; what was sent before was lost
	case f.skip == 0:
		g.servers[server].gone = to
	case f.skip > e.next:
		g.servers[server].gone = f.skip
	default:
		return // what is gone has come by another way meanwhile
	}
	g.reason = f.reason
	if brought {
		g.rounds, g.mute = 0, false
		for i := range g.servers {
			g.servers[i].failures = 0
		}
	}
	g.again = true
	g.mute = g.mute || f.reason != ReasonUnknown && f.reason != ReasonNotYet && f.reason != ReasonGone
	g.retryAt = m.vain(now, server, e, f)
}

// pause is how long to wait before round n+1: it doubles, and is drawn from its
// upper half, so that readers that lost the same do not come back as one.
func (m *machine) pause(n int) time.Duration {
	d := m.cfg.backoffTo
	if n < 32 && m.cfg.backoff<<n > 0 {
		d = min(d, m.cfg.backoff<<n)
	}
	m.random = m.random*6364136223846793005 + 1442695040888963407 // Knuth, MMIX
	return d/2 + time.Duration(float64(d/2)*float64(m.random>>11)/(1<<53))
}

// Reason says why something was given up.
type Reason uint8

// The reasons.
const (
	ReasonNoServer Reason = iota + 1 // there is nobody to ask
	ReasonGone                       // every server says that it does not have it
	ReasonUnknown                    // no server knows the epoch
	ReasonNotYet                     // no server has it yet
	ReasonNoAnswer                   // no server answers
	ReasonSlow                       // nothing came within the patience
	ReasonFailed                     // the servers failed, or were busy
	ReasonRefused                    // the servers do not serve refills
	ReasonShort                      // a server ended early, without a reason
	ReasonBad                        // what came was not what was asked for

	reasons = ReasonBad + 1
)

var reasonNames = []string{"", "no server to ask", "gone at every server", "unknown to every server", "not there yet",
	"no server answers", "too slow", "failed at every server", "refused by every server", "servers send less than they say",
	"servers send what was not asked for"}

// String returns the reason in words.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown reason"
}

// reasonOf is what a server's answer means.
func reasonOf(c Code) Reason {
	switch c {
	case CodeGone:
		return ReasonGone
	case CodeUnknownEpoch:
		return ReasonUnknown
	case CodeNotYet:
		return ReasonNotYet
	case CodeBadRequest, CodeVersion, CodeNotServed:
		return ReasonRefused
	}
	return ReasonFailed
}
