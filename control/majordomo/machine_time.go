package majordomo

import "time"

// tick does what time brings. It is to be called every now and then, after what
// has arrived was taken in: ticksPerBeat times a heartbeat.
func (m *machine) tick(now time.Duration) {
	if stall := now - m.ticked - m.cfg.heartbeat; stall > 0 && m.ticked > 0 {
		// This process stood still. That is not the workers' silence.
		for n := m.listed.first; n != nil; n = n.next {
			n.value.heard = min(n.value.heard+stall, now)
		}
	}
	m.ticked = now
	m.expireWorkers(now)
	m.expireRequests(now)
	m.sweep()
	if now-m.beaten >= m.cfg.heartbeat {
		m.beaten = now
		// Those at work too: what cannot be sent to them says that they are gone.
		for n := m.listed.first; n != nil; n = n.next {
			if !n.value.lost {
				m.beat(now, n.value)
			}
		}
	}
}

func (m *machine) expireRequests(now time.Duration) {
	for n := m.open.first; n != nil; {
		j := n.value
		n = n.next // j may go
		switch {
		case now >= j.deadline:
			m.overdue(j)
		case j.waits && j.service.workers == 0 && now-max(j.arrived, j.service.emptied) >= m.cfg.unknownLife:
			m.fail(j, ReasonNoWorker)
		}
	}
}

// sweep forgets clients that have no requests.
func (m *machine) sweep() {
	for address, c := range m.clients {
		if c.open == 0 {
			delete(m.clients, address)
		}
	}
}

// stop makes the broker take no more requests and fail those that no worker has.
func (m *machine) stop() {
	m.stopping = true
	m.failWaiting(ReasonStopping)
}

// resign makes the broker leave to another one what no worker has, also where a worker
// dies, until it is told of a request again.
func (m *machine) resign() {
	m.resigned = true
	m.failWaiting(ReasonPassive)
}

func (m *machine) failWaiting(reason Reason) {
	for n := m.open.first; n != nil; {
		j := n.value
		n = n.next
		if j.waits {
			m.fail(j, reason)
		}
	}
}

// end fails what is still open and tells every worker.
func (m *machine) end() {
	for m.open.len > 0 {
		m.fail(m.open.front(), ReasonStopping)
	}
	for n := m.listed.first; n != nil; n = n.next {
		m.do(act{do: actDisconnect, address: n.value.address})
	}
}
