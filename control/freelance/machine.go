package freelance

import (
	"container/heap"
	"time"
)

// machine is what a client that has sockets to all servers knows and decides. It is
// pure: events and times, as durations since some start, go in; each method returns
// what is to be done, in order.
type machine struct {
	cfg     machineConfig
	chooser *Chooser
	open    map[uint64]*request
	timers  timers
	last    uint64 // number of the latest request
	acts    []act

	repeated, late uint64
}

type machineConfig struct {
	servers    int
	all        bool // every server is asked at once
	pings      bool
	try        time.Duration // how long one try waits
	tries      int           // of a request
	ping, dead time.Duration
	rest, most time.Duration // see Chooser
}

// request is one that has not been answered.
type request struct {
	number uint64
	tries  int
	server int // that has it; -1 where all have
	tried  []bool
}

// act is something for the caller to do.
type act struct {
	do     action
	server int
	number uint64
}

type action uint8

const (
	actSend action = iota // the request to the server
	actPing
	actFail // the request has failed
)

func newMachine(cfg machineConfig) *machine {
	m := &machine{cfg: cfg, chooser: NewChooser(cfg.servers, cfg.rest, cfg.most), open: map[uint64]*request{}}
	if cfg.pings {
		for i := range cfg.servers {
			m.at(0, timer{server: i})
		}
	}
	return m
}

// timer is what is due at a moment: a ping of a server, or the end of a request's try.
type timer struct {
	due    time.Duration
	number uint64 // 0: a ping
	try    int    // that it ends; the request may have another one by then
	server int
	again  bool // within the try: nobody could be reached
}

// timers is a heap, earliest first.
type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].due < t[j].due }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	old := *t
	x := old[len(old)-1]
	*t = old[:len(old)-1]
	return x
}

func (m *machine) at(due time.Duration, t timer) {
	t.due = due
	heap.Push(&m.timers, t)
}

// next is when tick is due; false where nothing is.
func (m *machine) next() (time.Duration, bool) {
	if len(m.timers) == 0 {
		return 0, false
	}
	return m.timers[0].due, true
}

// begin takes a request and returns its number.
func (m *machine) begin(now time.Duration) (uint64, []act) {
	m.last++
	r := &request{number: m.last, server: -1, tried: make([]bool, m.cfg.servers)}
	m.open[r.number] = r
	m.acts = m.acts[:0]
	m.try(r, now)
	return r.number, m.acts
}

// try asks once more, or gives up.
func (m *machine) try(r *request, now time.Duration) {
	if r.tries == m.cfg.tries {
		m.acts = append(m.acts, act{do: actFail, number: r.number})
		delete(m.open, r.number)
		return
	}
	if r.tries > 0 {
		m.repeated++
	}
	r.tries++
	m.at(now+m.cfg.try, timer{number: r.number, try: r.tries})
	if m.cfg.all {
		for i := range m.cfg.servers {
			m.acts = append(m.acts, act{actSend, i, r.number})
		}
		return
	}
	r.server = m.pick(r, now)
	m.acts = append(m.acts, act{actSend, r.server, r.number})
}

func (m *machine) pick(r *request, now time.Duration) int {
	i := m.chooser.Pick(now, func(i int) bool { return r.tried[i] })
	if r.tried[i] { // all have been: another round
		clear(r.tried)
	}
	r.tried[i] = true
	return i
}

// unsent says that a request could not be sent to a server.
func (m *machine) unsent(number uint64, server int, now time.Duration) []act {
	m.acts = m.acts[:0]
	r := m.open[number]
	if r == nil || r.server != server {
		return nil
	}
	m.chooser.Failed(server, now)
	if i := m.chooser.Pick(now, func(i int) bool { return r.tried[i] }); !r.tried[i] {
		r.tried[i], r.server = true, i // this costs no time, so it is no try
		m.acts = append(m.acts, act{actSend, i, number})
	}
	if len(m.acts) == 0 { // nobody is connected: perhaps soon
		m.at(now+m.cfg.rest/4, timer{number: number, try: r.tries, again: true})
	}
	return m.acts
}

// heard says that something came from a server.
func (m *machine) heard(server int, now time.Duration) {
	m.chooser.Heard(server, now+m.cfg.dead)
}

// replied says that a server has answered a request, and reports whether somebody
// waits for that.
func (m *machine) replied(server int, number uint64) bool {
	if _, ok := m.open[number]; !ok {
		m.late++
		return false
	}
	m.chooser.Answered(server)
	delete(m.open, number)
	return true
}

// forget says that nobody waits for a request any more.
func (m *machine) forget(number uint64) { delete(m.open, number) }

// tick does what is due.
func (m *machine) tick(now time.Duration) []act {
	m.acts = m.acts[:0]
	for len(m.timers) > 0 && m.timers[0].due <= now {
		t := heap.Pop(&m.timers).(timer)
		if t.number == 0 {
			m.acts = append(m.acts, act{do: actPing, server: t.server})
			m.at(now+m.cfg.ping, t)
			continue
		}
		r := m.open[t.number]
		if r == nil || r.tries != t.try {
			continue
		}
		if t.again {
			clear(r.tried)
			r.server = m.pick(r, now)
			m.acts = append(m.acts, act{actSend, r.server, r.number})
			continue
		}
		if r.server >= 0 {
			m.chooser.Failed(r.server, now)
		}
		m.try(r, now)
	}
	return m.acts
}
