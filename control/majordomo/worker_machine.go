package majordomo

import (
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
)

// workerMachine is what one registration of a worker knows and decides about its
// broker. It is pure: what happens comes in through the methods, with the time as a
// duration since some start; each returns what is to be done.
type workerMachine struct {
	cfg      workerTimes
	back     pirate.Backoff
	count    *WorkerCounters
	state    workerState
	stopping bool
	renew    bool // when it has answered it is to offer itself anew
	told     bool // busy: the handler was told that it takes too long

	until time.Duration // away: when to try again
	heard time.Duration // from the broker
	beat  time.Duration // when the next heartbeat is due
	began time.Duration // busy: since when
}

type workerTimes struct {
	heartbeat time.Duration
	silence   time.Duration // of the broker, until the worker looks for one anew
	work      time.Duration // that a request may take
}

// workerState is where a registration stands.
type workerState uint8

const (
	workerAway workerState = iota // no connection
	workerIdle                    // has said READY
	workerBusy                    // has a request
	workerDone                    // has left
)

// workerAct is something for the caller to do.
type workerAct uint8

const (
	workerNothing workerAct = iota
	workerOpen              // a new socket, connected, and READY on it
	workerClose             // the socket, and drop what it has not sent
	workerBeat              // send a heartbeat
	workerStart             // handle the requests that have come
	workerOverdue           // end the handler's context
	workerGoodbye           // send DISCONNECT, and close the socket when that is out
)

// tick does what time brings.
func (m *workerMachine) tick(now time.Duration) workerAct {
	switch m.state {
	case workerAway:
		if now >= m.until {
			m.state, m.heard, m.beat = workerIdle, now, now+m.cfg.heartbeat
			m.count.Connected++
			return workerOpen
		}
	case workerIdle:
		if now-m.heard >= m.cfg.silence {
			m.count.Lost++
			m.leave(now + m.back.Next())
			return workerClose
		}
		return m.beatIfDue(now)
	case workerBusy:
		if now-m.began < m.cfg.work {
			return m.beatIfDue(now)
		}
		// Stuck: it must not look alive, so that the broker gives the request to
		// another.
		if !m.told {
			m.told = true
			m.count.Overdue++
			return workerOverdue
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

// leave gives the connection up, to come back later.
func (m *workerMachine) leave(until time.Duration) {
	m.state, m.until, m.renew = workerAway, until, false
}

// message takes note of what the broker sent. While requests are handled nothing is
// read, but several messages may have come together: what follows a request is
// taken note of, and what it asks for is done when they are handled.
func (m *workerMachine) message(now time.Duration, c command) workerAct {
	if m.state != workerIdle && m.state != workerBusy {
		return workerNothing
	}
	switch c {
	case heartbeat, workerRequest:
		m.heard = now
		m.back.Reset()
		if c == heartbeat {
			return workerNothing
		}
		m.count.Requests++
		if m.state == workerBusy {
			return workerNothing
		}
		m.state = workerBusy
		m.progress(now)
		return workerStart
	case disconnect:
		m.count.Dismissed++
		if m.state == workerBusy {
			m.renew = true
			return workerNothing
		}
		m.leave(now + m.back.Next())
		return workerClose
	}
	m.count.Malformed++
	return workerNothing
}

// progress takes note of when the handler began with the request that it is at.
func (m *workerMachine) progress(began time.Duration) {
	if m.began != began {
		m.began, m.told = began, false
	}
}

// finished takes note that the requests have been handled; the caller has sent the
// replies, or could not.
func (m *workerMachine) finished(now time.Duration, sent bool) workerAct {
	if m.state != workerBusy {
		return workerNothing
	}
	// While it was busy it did not read.
	m.state, m.heard = workerIdle, now
	switch {
	case m.stopping:
		m.state = workerDone
		return workerGoodbye
	case m.renew || !sent:
		// To say READY on the same connection would be against the protocol.
		m.leave(now)
		return workerClose
	}
	return m.beatIfDue(now)
}

// reconnected takes note that the broker was connected to anew: it does not know
// this worker, and would find out by the next heartbeat.
func (m *workerMachine) reconnected(now time.Duration) workerAct {
	switch m.state {
	case workerIdle:
		m.count.Lost++
		m.leave(now)
		return workerGoodbye
	case workerBusy:
		m.renew = true
	}
	return workerNothing
}

// stop makes the worker leave: at once, or when it has handled what it has.
func (m *workerMachine) stop() workerAct {
	m.stopping = true
	switch m.state {
	case workerAway:
		m.state = workerDone
	case workerIdle:
		m.state = workerDone
		return workerGoodbye
	}
	return workerNothing
}

// due is when something happens by itself.
func (m *workerMachine) due() time.Duration {
	switch m.state {
	case workerAway:
		return m.until
	case workerIdle:
		return min(m.beat, m.heard+m.cfg.silence)
	case workerBusy:
		if !m.told {
			return min(m.beat, m.began+m.cfg.work)
		}
	}
	return never
}

const never = time.Duration(1<<63 - 1)
