package pirate

import (
	"cmp"
	"slices"
	"time"
)

// queueMachine is what a queue knows and decides. It is pure: events come in
// through the methods, with the time as a duration since some start; what is to
// be done is appended to acts, which the caller takes and empties.
type queueMachine struct {
	cfg     queueTimes
	workers map[string]*peer
	idle    []*peer // ready ones, the least recently used first
	jobs    map[ticket]*job
	waiting []*job
	bytes   int // of all jobs
	last    ticket
	acts    []act
	count   QueueCounters

	ticked, beaten time.Duration
	stopping       bool
}

type queueTimes struct {
	heartbeat   time.Duration
	idleSilence time.Duration // of a ready worker, until it is forgotten
	busySilence time.Duration // of a worker at work, until its request is given to another
	life        time.Duration // of a request

	requests, bytes, requestBytes, workers int // bounds
}

// ticket names a request that the queue holds.
type ticket uint64

type job struct {
	ticket   ticket
	client   string
	size     int
	deadline time.Duration
	tries    int
	waiting  bool
	closed   bool // answered or failed: a further answer is late
}

// peerState is what a queue knows of a worker.
type peerState uint8

const (
	peerReady peerState = iota
	peerBusy
	peerLost // silent at work; its request was taken from it, its answer is still welcome
)

// peer is a worker as the queue sees it.
type peer struct {
	id      string
	state   peerState
	job     *job // unless ready
	leaving bool // said DOWN while busy
	heard   time.Duration
}

// act is something for the caller to do.
type act struct {
	do     deed
	worker string // actSend, actBeat, actDown
	ticket ticket // actSend, actFail, actDrop
	reason Reason // actFail
}

type deed uint8

const (
	actSend deed = iota // the request to the worker
	actBeat             // a heartbeat to the worker
	actDown             // DOWN to the worker
	actFail             // tell the client why its request has failed; actDrop follows
	actDrop             // let go of the request
)

// triesMax is how many workers get a request at most: the first, and another
// where that one dies.
const triesMax = 2

func newQueueMachine(cfg queueTimes) *queueMachine {
	return &queueMachine{cfg: cfg, workers: map[string]*peer{}, jobs: map[ticket]*job{}}
}

// ready takes note of READY.
func (m *queueMachine) ready(now time.Duration, id []byte) {
	p := m.workers[string(id)]
	if p == nil {
		if p = m.join(id); p == nil {
			return
		}
	} else if state, j := p.state, p.job; state != peerReady {
		// It began anew: what it was given is lost, and was taken from a lost one
		// before.
		m.rest(p)
		if state == peerBusy {
			m.again(now, j)
		}
	}
	p.heard, p.leaving = now, false
	m.dispatch(now)
}

// join lists a new worker as ready.
func (m *queueMachine) join(id []byte) *peer {
	if len(m.workers) >= m.cfg.workers {
		m.count.Refused++
		return nil
	}
	p := &peer{id: string(id)}
	m.workers[p.id] = p
	m.idle = append(m.idle, p)
	m.count.Joined++
	return p
}

// rest makes a worker ready.
func (m *queueMachine) rest(p *peer) {
	p.state, p.job = peerReady, nil
	m.idle = append(m.idle, p)
}

// heartbeat takes note of HEARTBEAT. It says that a worker lives, never that it is
// ready: one that was sent before a request arrived is still on its way when the
// worker is busy.
func (m *queueMachine) heartbeat(now time.Duration, id []byte) {
	p := m.workers[string(id)]
	if p == nil {
		m.stranger(id)
		return
	}
	p.heard = now
}

// stranger tells a worker that it is not listed: a queue before this one knew it,
// or this one has given it up. It would wait for a silence to find out.
func (m *queueMachine) stranger(id []byte) {
	m.count.Strangers++
	m.do(act{do: actDown, worker: string(id)})
}

// down takes note of DOWN.
func (m *queueMachine) down(now time.Duration, id []byte) {
	p := m.workers[string(id)]
	if p != nil && p.state == peerBusy && !p.job.closed {
		// DOWN and the request crossed: it will see the request, and answer it.
		p.leaving, p.heard = true, now
		return
	}
	if p != nil {
		m.count.Left++
		m.forget(p)
	}
	m.do(act{do: actDown, worker: string(id)})
}

// reply takes note of a reply for client and says whether it is to be forwarded.
func (m *queueMachine) reply(now time.Duration, id, client []byte) bool {
	p := m.workers[string(id)]
	if p == nil {
		m.count.Late++
		m.stranger(id)
		return false
	}
	p.heard = now
	j := p.job
	if j == nil || j.client != string(client) {
		m.count.Unasked++
		return false
	}
	forward := !j.closed
	if forward {
		m.count.Answered++
		m.close(j)
	} else {
		m.count.Late++
	}
	m.rest(p)
	if p.leaving {
		m.count.Left++
		m.forget(p)
		m.do(act{do: actDown, worker: p.id})
	}
	m.dispatch(now)
	return forward
}

// unreachable takes note that a worker cannot be sent to. The request that was to
// be sent has not been, so it is no try.
func (m *queueMachine) unreachable(now time.Duration, id string) {
	p := m.workers[id]
	if p == nil {
		return
	}
	m.count.Expired++
	m.forget(p)
	if j := p.job; p.state == peerBusy {
		j.tries--
		m.again(now, j)
	}
	m.dispatch(now)
}

// request takes a request in, or says why not.
func (m *queueMachine) request(now time.Duration, client []byte, size int) (ticket, Reason) {
	var reason Reason
	switch {
	case m.stopping:
		reason = ReasonStopping
	case size > m.cfg.requestBytes:
		reason = ReasonTooLarge
	case len(m.jobs) >= m.cfg.requests, m.bytes+size > m.cfg.bytes:
		reason = ReasonFull
	}
	if reason != "" {
		m.count.failed(reason)
		return 0, reason
	}
	m.last++
	j := &job{ticket: m.last, client: string(client), size: size, deadline: now + m.cfg.life, waiting: true}
	m.jobs[j.ticket], m.bytes = j, m.bytes+size
	m.waiting = append(m.waiting, j)
	m.count.Requests++
	return j.ticket, ""
}

// dispatch pairs waiting requests with ready workers.
func (m *queueMachine) dispatch(now time.Duration) {
	for len(m.waiting) > 0 && len(m.idle) > 0 {
		j, p := m.waiting[0], m.idle[0]
		m.waiting[0], m.idle[0] = nil, nil
		m.waiting, m.idle = m.waiting[1:], m.idle[1:]
		j.waiting = false
		if now >= j.deadline {
			m.idle = slices.Insert(m.idle, 0, p)
			m.overdue(j)
			continue
		}
		j.tries++
		// Its silence counts from here: a beat before it says nothing of the request.
		p.state, p.job, p.heard = peerBusy, j, now
		m.do(act{do: actSend, worker: p.id, ticket: j.ticket})
	}
}

// again gives a request whose worker is gone to another, or fails it.
func (m *queueMachine) again(now time.Duration, j *job) {
	switch {
	case j.closed, j.waiting:
	case m.stopping:
		m.fail(j, ReasonStopping)
	case j.tries >= triesMax:
		m.fail(j, ReasonDied)
	case now >= j.deadline:
		m.overdue(j)
	default:
		if j.tries > 0 {
			m.count.Requeued++
		}
		j.waiting = true
		i, _ := m.place(j) // older than those that wait, so in front
		m.waiting = slices.Insert(m.waiting, i, j)
	}
}

// place is where in the order of arrival j waits, or would.
func (m *queueMachine) place(j *job) (int, bool) {
	return slices.BinarySearchFunc(m.waiting, j.ticket, func(w *job, t ticket) int { return cmp.Compare(w.ticket, t) })
}

// overdue fails a request whose deadline has passed.
func (m *queueMachine) overdue(j *job) {
	if j.tries == 0 {
		m.fail(j, ReasonNoWorker)
	} else {
		m.fail(j, ReasonDeadline)
	}
}

func (m *queueMachine) fail(j *job, reason Reason) {
	m.count.failed(reason)
	m.do(act{do: actFail, ticket: j.ticket, reason: reason})
	m.close(j)
}

// close ends a request: it needs no room any more.
func (m *queueMachine) close(j *job) {
	if i, found := m.place(j); found && j.waiting {
		m.waiting = slices.Delete(m.waiting, i, i+1)
	}
	j.closed, j.waiting = true, false
	m.bytes -= j.size
	delete(m.jobs, j.ticket)
	m.do(act{do: actDrop, ticket: j.ticket})
}

func (m *queueMachine) forget(p *peer) {
	delete(m.workers, p.id)
	if p.state == peerReady {
		m.idle = slices.DeleteFunc(m.idle, func(w *peer) bool { return w == p })
	}
}

// tick does what time brings. It is to be called every now and then, after what
// has arrived was taken in: several times a heartbeat.
func (m *queueMachine) tick(now time.Duration) {
	if stall := now - m.ticked - m.cfg.heartbeat; stall > 0 && m.ticked > 0 {
		// This process stood still. That is not the workers' silence.
		for _, p := range m.workers {
			p.heard = min(p.heard+stall, now)
		}
	}
	m.ticked = now
	m.expireWorkers(now)
	m.expireJobs(now)
	m.dispatch(now)
	if now-m.beaten >= m.cfg.heartbeat {
		m.beaten = now
		for _, p := range m.idle {
			m.do(act{do: actBeat, worker: p.id})
		}
	}
}

func (m *queueMachine) expireWorkers(now time.Duration) {
	for _, p := range m.workers {
		silence := now - p.heard
		switch {
		case p.state == peerReady && silence >= m.cfg.idleSilence:
			m.count.Expired++
			m.forget(p)
		case p.state == peerBusy && silence >= m.cfg.busySilence:
			m.count.Expired++
			p.state = peerLost
			m.again(now, p.job)
		case p.state == peerLost && silence >= 2*m.cfg.busySilence:
			m.forget(p)
		}
	}
}

func (m *queueMachine) expireJobs(now time.Duration) {
	for _, j := range m.jobs {
		if now >= j.deadline {
			m.overdue(j)
		}
	}
}

// stop makes the queue take no more requests and fail those that no worker has.
func (m *queueMachine) stop() {
	m.stopping = true
	for len(m.waiting) > 0 {
		m.fail(m.waiting[0], ReasonStopping)
	}
}

// end fails what is still open and tells every worker.
func (m *queueMachine) end() {
	for _, j := range m.jobs {
		m.fail(j, ReasonStopping)
	}
	for id := range m.workers {
		m.do(act{do: actDown, worker: id})
	}
}

func (m *queueMachine) do(a act) { m.acts = append(m.acts, a) }
