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
	p := &peer{address: bytes.Clone(address), service: s, heard: now, beaten: now}
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

// hear takes note that a worker lives.
func (m *machine) hear(now time.Duration, p *peer) {
	p.heard = now
	if p.state == peerLost {
		p.state = peerBusy
		p.service.lost--
		p.service.workers++
	}
}

// stranger sends away who is not listed: it was given up, or a broker before this
// one knew it. It comes again with READY.
func (m *machine) stranger(address []byte) {
	m.count.Strangers++
	m.do(act{do: actDisconnect, address: address})
}

// disconnect takes note of DISCONNECT. A request that it has, has crossed with it.
func (m *machine) disconnect(now time.Duration, address []byte) {
	if p := m.peers[string(address)]; p != nil {
		m.count.Left++
		m.untried(p)
		m.forget(now, p)
	}
}

// unreachable takes note that a worker cannot be sent to. sent is the ticket of the
// request that was to be, which is therefore no try, or 0.
func (m *machine) unreachable(now time.Duration, p *peer, sent uint64) {
	if !m.listens(p) {
		return
	}
	m.count.Expired++
	if p.job != nil && p.job.ticket == sent {
		m.untried(p)
	}
	m.forget(now, p)
}

// untried takes back the try that a worker's request was.
func (m *machine) untried(p *peer) {
	if p.state == peerBusy && p.job != nil && !p.job.waits {
		p.job.tries--
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
	if p.state != peerBusy || !p.has(client) {
		m.count.Unasked++
		return nil
	}
	j := p.job
	if j != nil {
		m.count.Answered++
		m.close(now, j)
	} else {
		m.count.Late++
	}
	p.state, p.client = peerReady, p.client[:0]
	p.service.ready.push(&p.place)
	m.dispatch(now, p.service)
	return j
}

// forget takes a worker off the list. What it has goes to another.
func (m *machine) forget(now time.Duration, p *peer) {
	s, j := p.service, p.job
	m.release(p)
	delete(m.peers, string(p.address))
	p.all.leave()
	p.place.leave()
	if p.state == peerLost {
		s.lost--
	} else if s.workers--; s.workers == 0 {
		s.emptied = now
	}
	if j != nil {
		m.again(now, j)
	}
	m.leave(s)
}

// release parts a worker from its request.
func (m *machine) release(p *peer) {
	if p.job == nil {
		return
	}
	for i, h := range p.job.holders {
		if h == p {
			p.job.holders[i] = nil
		}
	}
	p.job = nil
}

// expireWorkers looks for those that have fallen silent.
func (m *machine) expireWorkers(now time.Duration) {
	for n := m.listed.first; n != nil; {
		p := n.value
		n = n.next // p may go
		silence := now - p.heard
		switch {
		case p.state == peerReady && silence >= m.cfg.idleSilence:
			m.count.Expired++
			m.forget(now, p)
		case p.state == peerBusy && silence >= m.cfg.busySilence:
			m.count.Expired++
			m.lose(now, p)
		case p.state == peerLost && silence >= 2*m.cfg.busySilence:
			m.forget(now, p)
		}
	}
}

// lose gives up a worker that is silent at work, but for its answer.
func (m *machine) lose(now time.Duration, p *peer) {
	p.state = peerLost
	p.service.lost++
	if p.service.workers--; p.service.workers == 0 {
		p.service.emptied = now
	}
	if p.job != nil {
		m.again(now, p.job)
	}
}
