package majordomo

import (
	"bytes"
	"time"
)

// ready takes note of READY.
func (m *machine) ready(now time.Duration, address, name []byte) {
	if p := m.peers[string(address)]; p != nil {
		// Once is enough. It begins anew, on a connection of its own.
		m.refuse(address)
		m.forget(now, p)
		return
	}
	if reserved(name) || len(m.peers) >= m.cfg.workers {
		m.refuse(address)
		return
	}
	s := m.serve(now, name)
	if s == nil {
		m.refuse(address)
		return
	}
	p := &peer{address: bytes.Clone(address), service: s, depth: depthOf(address), heard: now, beaten: now}
	p.all.value, p.place.value = p, p
	m.peers[string(p.address)] = p
	m.listed.push(&p.all)
	s.workers++
	s.ready.push(&p.place)
	m.count.Joined++
	m.dispatch(now, s)
}

func (m *machine) refuse(address []byte) {
	m.count.Refused++
	m.do(act{do: actDisconnect, address: address})
}

// heartbeat takes note of HEARTBEAT. It says that a worker lives, never that it is
// ready.
func (m *machine) heartbeat(now time.Duration, address []byte) {
	p := m.peers[string(address)]
	if p == nil {
		m.stranger(address)
		return
	}
	m.hear(now, p)
}

// hear takes note that a worker lives. One that was lost has its requests again,
// but for those that were given to another.
func (m *machine) hear(now time.Duration, p *peer) {
	p.heard = now
	if !p.lost {
		return
	}
	p.lost = false
	p.service.lost--
	p.service.workers++
	for n := p.held.first; n != nil; n = n.next {
		if n.value.job != nil {
			m.waitNoMore(n.value.job)
		}
	}
	m.offer(p)
	m.dispatch(now, p.service)
}

// offer puts a worker that takes a request among those that do.
func (m *machine) offer(p *peer) {
	if !p.lost && p.held.len < p.depth && p.place.in == nil {
		p.service.ready.push(&p.place)
	}
}

// stranger sends away who is not listed: it was given up, or a broker before this
// one knew it. It comes again with READY.
func (m *machine) stranger(address []byte) {
	m.count.Strangers++
	m.do(act{do: actDisconnect, address: address})
}

// disconnect takes note of DISCONNECT. Requests that it has, have crossed with it.
func (m *machine) disconnect(now time.Duration, address []byte) {
	p := m.peers[string(address)]
	if p == nil {
		return
	}
	m.count.Left++
	for n := p.held.first; n != nil; n = n.next {
		n.value.untried()
	}
	m.forget(now, p)
}

// unreachable takes note that a worker cannot be sent to. sent is the ticket of the
// request that was to be, which is therefore no try, or 0.
func (m *machine) unreachable(now time.Duration, p *peer, sent uint64) {
	if !m.listens(p) {
		return
	}
	m.count.Expired++
	for n := p.held.first; n != nil; n = n.next {
		if n.value.job != nil && n.value.job.ticket == sent {
			n.value.untried()
		}
	}
	m.forget(now, p)
}

// untried takes back the try that a worker's request was.
func (a *assignment) untried() {
	if a.job != nil && !a.peer.lost {
		a.job.tries--
	}
}

// reply takes note of a reply for client and returns the request that it answers,
// or nil where it is not to be forwarded.
func (m *machine) reply(now time.Duration, address, client []byte) *job {
	p := m.peers[string(address)]
	if p == nil {
		m.count.Late++
		m.stranger(address)
		return nil
	}
	m.hear(now, p)
	a := p.given(client)
	if a == nil {
		m.count.Unasked++
		return nil
	}
	j := a.job
	if j != nil {
		m.count.Answered++
		m.close(j)
	} else {
		m.count.Late++
	}
	m.unassign(a)
	m.offer(p)
	m.dispatch(now, p.service)
	return j
}

// given returns the oldest request of the client that the worker has.
func (p *peer) given(client []byte) *assignment {
	for n := p.held.first; n != nil; n = n.next {
		if bytes.Equal(n.value.client, client) {
			return n.value
		}
	}
	return nil
}

// assign gives a request to a worker.
func (m *machine) assign(now time.Duration, j *job, p *peer) {
	a := m.assignment()
	a.peer, a.job, a.client = p, j, append(a.client[:0], j.client.address...)
	if p.held.len == 0 {
		// Its silence counts from here: a beat before it says nothing of the request.
		p.heard = now
	}
	p.beaten = now
	p.held.push(&a.position)
	for i := range j.holders {
		if j.holders[i] == nil {
			j.holders[i] = a
			break
		}
	}
	m.do(act{do: actSend, peer: p, client: a.client, job: j})
}

func (m *machine) assignment() *assignment {
	if n := len(m.unused); n > 0 {
		a := m.unused[n-1]
		m.unused = m.unused[:n-1]
		return a
	}
	a := &assignment{}
	a.position.value = a
	return a
}

// unassign takes a request out of a worker's hands.
func (m *machine) unassign(a *assignment) {
	a.position.leave()
	if a.job != nil {
		for i, h := range a.job.holders {
			if h == a {
				a.job.holders[i] = nil
			}
		}
	}
	a.peer, a.job = nil, nil
	if len(m.unused) < spareMax {
		m.unused = append(m.unused, a)
	}
}

// forget takes a worker off the list. What it has goes to others.
func (m *machine) forget(now time.Duration, p *peer) {
	s := p.service
	jobs := m.scratch[:0]
	for p.held.len > 0 {
		a := p.held.front()
		if a.job != nil {
			jobs = append(jobs, a.job)
		}
		m.unassign(a)
	}
	delete(m.peers, string(p.address))
	p.all.leave()
	p.place.leave()
	if p.lost {
		s.lost--
	} else if s.workers--; s.workers == 0 {
		s.emptied = now
	}
	for _, j := range jobs {
		m.again(now, j)
	}
	clear(jobs)
	m.scratch = jobs[:0]
	m.leave(s)
}

// expireWorkers looks for those that have fallen silent.
func (m *machine) expireWorkers(now time.Duration) {
	for n := m.listed.first; n != nil; {
		p := n.value
		n = n.next // p may go
		silence := now - p.heard
		switch {
		case p.lost && silence >= 2*m.cfg.busySilence:
			m.forget(now, p)
		case p.lost:
		case p.held.len == 0 && silence >= m.cfg.idleSilence:
			m.count.Expired++
			m.forget(now, p)
		case p.held.len > 0 && silence >= m.cfg.busySilence:
			m.count.Expired++
			m.lose(now, p)
		}
	}
}

// lose gives up a worker that is silent at work, but for its answers.
func (m *machine) lose(now time.Duration, p *peer) {
	p.lost = true
	p.place.leave()
	p.service.lost++
	if p.service.workers--; p.service.workers == 0 {
		p.service.emptied = now
	}
	for n := p.held.first; n != nil; n = n.next {
		if n.value.job != nil {
			m.again(now, n.value.job)
		}
	}
}
