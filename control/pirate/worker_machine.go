package pirate

import "time"

// workerMachine is what a worker knows and decides about its queue. It is pure:
// what happens comes in through the methods, with the time as a duration since
// some start; each returns what is to be done, in order.
type workerMachine struct {
	cfg      workerTimes
	back     Backoff
	state    workerState
	stopping bool

	until time.Duration // away: when to try again; leaving: when to go without an answer
	heard time.Duration // from the queue
	beat  time.Duration // when the next heartbeat is due
	began time.Duration // busy: since when

	lost, dismissed, overdue uint64
}

type workerTimes struct {
	heartbeat time.Duration
	silence   time.Duration // of the queue, until the worker looks for it anew
	work      time.Duration // that a request may take
	drain     time.Duration // how long a leaving worker waits for the queue's answer
}

// workerState is where a worker stands.
type workerState uint8

const (
	workerAway    workerState = iota // no connection
	workerIdle                       // has said READY
	workerBusy                       // has a request
	workerLeaving                    // has said DOWN
	workerDone                       // has left
)

// workerAct is something for the caller to do.
type workerAct uint8

const (
	workerNothing   workerAct = iota
	workerOpen                // a new socket, connected, and READY on it
	workerClose               // the socket, and drop what it has not sent
	workerBeat                // send a heartbeat
	workerStart               // handle the request that has come
	workerGoodbye             // send DOWN
	workerMalformed           // count what has come
)

func newWorkerMachine(cfg workerTimes, first, most time.Duration, random func() float64) *workerMachine {
	return &workerMachine{cfg: cfg, back: Backoff{First: first, Most: most, Random: random}}
}

// tick does what time brings.
func (m *workerMachine) tick(now time.Duration) workerAct {
	switch m.state {
	case workerAway:
		if now >= m.until {
			m.state, m.heard, m.beat = workerIdle, now, now+m.cfg.heartbeat
			return workerOpen
		}
	case workerIdle:
		if now-m.heard >= m.cfg.silence {
			m.lost++
			return m.leave(now)
		}
		return m.beatIfDue(now)
	case workerBusy:
		if now-m.began >= m.cfg.work {
			// Stuck: it must not look alive, so that the queue gives the request to
			// another.
			return workerNothing
		}
		return m.beatIfDue(now)
	case workerLeaving:
		if now >= m.until {
			m.state = workerDone
			return workerClose
		}
	}
	return workerNothing
}

func (m *workerMachine) beatIfDue(now time.Duration) workerAct {
	if now < m.beat {
		return workerNothing
	}
	m.beat = now + m.cfg.heartbeat
	return workerBeat
}

// leave gives the connection up, to come back after a while.
func (m *workerMachine) leave(now time.Duration) workerAct {
	m.state, m.until = workerAway, now+m.back.Next()
	return workerClose
}

// message takes note of what the queue sent. A busy worker does not read, so
// there it is not called: what comes waits.
func (m *workerMachine) message(now time.Duration, c command) workerAct {
	if m.state != workerIdle && m.state != workerLeaving {
		return workerNothing
	}
	switch c {
	case heartbeat:
		m.heard = now
		m.back.Reset()
	case work:
		m.heard, m.began = now, now
		m.back.Reset()
		m.state = workerBusy
		return workerStart
	case down:
		if m.state == workerLeaving {
			m.state = workerDone
			return workerClose
		}
		m.dismissed++
		return m.leave(now)
	default:
		return workerMalformed
	}
	return workerNothing
}

// finished takes note that the request has been handled; the caller has sent the
// reply.
func (m *workerMachine) finished(now time.Duration) workerAct {
	if m.state != workerBusy {
		return workerNothing
	}
	if now-m.began >= m.cfg.work {
		m.overdue++
	}
	// While it was busy the queue had no cause to beat.
	m.state, m.heard = workerIdle, now
	if m.stopping {
		return m.goodbye(now)
	}
	return m.beatIfDue(now)
}

func (m *workerMachine) goodbye(now time.Duration) workerAct {
	m.state, m.until = workerLeaving, now+m.cfg.drain
	return workerGoodbye
}

// stop makes the worker leave: at once, or when it has handled what it has.
func (m *workerMachine) stop(now time.Duration) workerAct {
	m.stopping = true
	switch m.state {
	case workerAway:
		m.state = workerDone
	case workerIdle:
		return m.goodbye(now)
	}
	return workerNothing
}

// due is how long nothing happens by itself.
func (m *workerMachine) due(now time.Duration) time.Duration {
	switch m.state {
	case workerAway, workerLeaving:
		return max(m.until-now, 0)
	case workerIdle:
		return max(min(m.beat, m.heard+m.cfg.silence)-now, 0)
	case workerBusy:
		if stuck := m.began + m.cfg.work; now < stuck {
			return max(min(m.beat, stuck)-now, 0)
		}
		return time.Second // nothing but the handler's end is waited for
	}
	return 0
}
