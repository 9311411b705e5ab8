package majordomo

import (
	"bytes"
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
)

// request takes a request in, or says why not. path and body are copied.
func (m *machine) request(now time.Duration, from []byte, path [][]byte, name []byte, body [][]byte) Reason {
	size := sizeOf(path) + sizeOf(body)
	if m.stopping {
		return m.turnAway(ReasonStopping)
	}
	if size > m.cfg.requestBytes+frameOverhead*(len(path)+len(body)) {
		return m.turnAway(ReasonTooLarge)
	}
	number, failed, hasNum := pirate.ParseNumber(body[0])
	if failed {
		hasNum = false
	}
	if hasNum && m.repeat(now, from, path, name, body, size, number) {
		return ""
	}
	c := m.clients[string(from)]
	s := m.services[string(name)]
	switch {
	case m.open.len >= m.cfg.requests, m.bytes+size > m.cfg.bytes,
		c != nil && (c.open >= m.cfg.clientRequests || m.cfg.clientBytes > 0 && c.bytes+size > m.cfg.clientBytes), s != nil && s.open >= m.cfg.serviceRequests,
		s == nil && len(m.services) >= m.cfg.services:
		return m.turnAway(ReasonFull)
	}
	s = m.serve(now, name)
	if c == nil {
		c = m.meet(from)
	}
	m.take(now, s, c, path, body, size, number, hasNum)
	m.dispatch(now, s)
	return ""
}

func sizeOf(frames [][]byte) int {
	n := frameOverhead * len(frames)
	for _, f := range frames {
		n += len(f)
	}
	return n
}

func (m *machine) turnAway(r Reason) Reason {
	m.count.failed(r)
	return r
}

// take makes a request of what has been found good.
func (m *machine) take(now time.Duration, s *service, c *client, path, body [][]byte, size int, number uint64, hasNum bool) {
	j := m.job()
	m.last++
	j.ticket, j.service, j.client, j.size = m.last, s, c, size
	j.path.set(path)
	j.body.set(body)
	j.number, j.hasNum = number, hasNum
	j.arrived, j.deadline, j.tries = now, now+s.life, 0
	if hasNum {
		j.key = keyOf(s, c, number)
		if _, taken := m.numbered[j.key]; !taken { // by a request of another body
			m.numbered[j.key], j.keyed = j, true
		}
	}
	s.open++
	c.open++
	c.bytes += size
	m.bytes += size
	m.open.push(&j.all)
	m.wait(j, false)
	m.count.Requests++
}

func keyOf(s *service, c *client, number uint64) numberKey {
	if number >= numbersOfTheirOwn {
		c = nil
	}
	return numberKey{s, c, number}
}

// repeat reports whether the request is here already, and makes its reply go to
// where it came from now.
func (m *machine) repeat(now time.Duration, from []byte, path [][]byte, name []byte, body [][]byte, size int, number uint64) bool {
	s, c := m.services[string(name)], m.clients[string(from)]
	if s == nil || c == nil && number < numbersOfTheirOwn {
		return false
	}
	j := m.numbered[keyOf(s, c, number)]
	if j == nil || !j.body.equal(body) {
		return false
	}
	m.count.Repeated++
	if c == nil {
		c = m.meet(from)
	}
	j.client.bytes -= j.size
	c.bytes += size
	if j.client != c {
		j.client.open--
		c.open++
		j.client = c
	}
	j.path.set(path)
	m.bytes += size - j.size
	j.size = size
	j.arrived, j.deadline = now, now+s.life
	return true
}

// meet makes a client known.
func (m *machine) meet(address []byte) *client {
	c := &client{address: bytes.Clone(address)}
	m.clients[string(c.address)] = c
	return c
}

func (m *machine) job() *job {
	if n := len(m.spare); n > 0 {
		j := m.spare[n-1]
		m.spare = m.spare[:n-1]
		return j
	}
	j := &job{}
	j.all.value, j.place.value = j, j
	return j
}

const spareMax = 1024 // requests whose memory is kept for the next one

// recycle is for the caller, when it has done actDrop.
func (m *machine) recycle(j *job) {
	j.path.reset()
	j.body.reset()
	j.service, j.client, j.key, j.keyed, j.hasNum = nil, nil, numberKey{}, false, false
	if len(m.spare) < spareMax {
		m.spare = append(m.spare, j)
	}
}

// dispatch pairs a service's waiting requests with its ready workers.
func (m *machine) dispatch(now time.Duration, s *service) {
	for s.waiting > 0 && s.ready.len > 0 {
		q := s.turns.front()
		j := q.jobs.front()
		if now >= j.deadline {
			m.overdue(j)
			continue
		}
		q.place.leave()
		s.turns.push(&q.place)
		p := s.ready.front()
		p.place.leave()
		m.waitNoMore(j)
		j.tries++
		m.assign(now, j, p)
		m.offer(p)
	}
}

// wait puts a request among those of its client that wait. One that comes again is in
// front of those that came after it, and its client's turn is next.
func (m *machine) wait(j *job, again bool) {
	if j.waits {
		return
	}
	s := j.service
	q := s.queues[j.client]
	if q == nil {
		q = m.newQueue()
		q.client = j.client
		s.queues[j.client] = q
		s.turns.push(&q.place)
	}
	if again {
		q.place.leave()
		s.turns.insert(&q.place, s.turns.first)
	}
	var before *node[job]
	if q.jobs.last != nil && q.jobs.last.value.ticket > j.ticket {
		for before = q.jobs.first; before.value.ticket < j.ticket; { // those that come again are few, and in front
			before = before.next
		}
	}
	q.jobs.insert(&j.place, before)
	j.waits, j.queue = true, q
	s.waiting++
	m.waiting++
}

// waitNoMore takes a request out of those that wait.
func (m *machine) waitNoMore(j *job) {
	if !j.waits {
		return
	}
	q := j.queue
	j.waits, j.queue = false, nil
	j.place.leave()
	j.service.waiting--
	m.waiting--
	if q.jobs.len > 0 {
		return
	}
	q.place.leave()
	delete(j.service.queues, q.client)
	q.client = nil
	if len(m.queues) < spareMax {
		m.queues = append(m.queues, q)
	}
}

func (m *machine) newQueue() *queue {
	if n := len(m.queues); n > 0 {
		q := m.queues[n-1]
		m.queues = m.queues[:n-1]
		return q
	}
	q := &queue{}
	q.place.value = q
	return q
}

// again gives a request whose worker is gone to another, or fails it.
func (m *machine) again(now time.Duration, j *job) {
	switch {
	case j.waits:
	case m.heldByLiving(j):
	case m.stopping:
		m.fail(j, ReasonStopping)
	case m.resigned:
		m.fail(j, ReasonPassive)
	case j.tries >= triesMax:
		m.fail(j, ReasonDied)
	case now >= j.deadline:
		m.overdue(j)
	default:
		if j.tries > 0 {
			m.count.Requeued++
		}
		m.wait(j, true)
		m.dispatch(now, j.service)
	}
}

// heldByLiving reports whether a worker that is not lost has the request.
func (m *machine) heldByLiving(j *job) bool {
	for _, a := range j.holders {
		if a != nil && !a.peer.lost {
			return true
		}
	}
	return false
}

// overdue fails a request whose deadline has passed.
func (m *machine) overdue(j *job) {
	if j.tries == 0 {
		m.fail(j, ReasonNoWorker)
	} else {
		m.fail(j, ReasonDeadline)
	}
}

func (m *machine) fail(j *job, reason Reason) {
	m.count.failed(reason)
	m.do(act{do: actFail, job: j, reason: reason})
	m.close(j)
}

// close ends a request: it needs no room any more. What it consists of stays until
// actDrop is done.
func (m *machine) close(j *job) {
	m.waitNoMore(j)
	for i, a := range j.holders {
		if a != nil {
			a.job, j.holders[i] = nil, nil
		}
	}
	if j.keyed {
		delete(m.numbered, j.key)
	}
	j.all.leave()
	j.client.open--
	j.client.bytes -= j.size
	j.service.open--
	m.bytes -= j.size
	m.do(act{do: actDrop, job: j})
	m.leave(j.service)
}
