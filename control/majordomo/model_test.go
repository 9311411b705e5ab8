package majordomo

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
)

const sec = time.Second

// testBounds are small, so that every one of them is met.
var testBounds = bounds{
	heartbeat: sec, idleSilence: 3 * sec, busySilence: 4 * sec, life: 30 * sec, lives: map[string]time.Duration{"long": 100 * sec}, unknownLife: 5 * sec,
	services: 4, requests: 12, serviceRequests: 8, clientRequests: 5, bytes: 900, clientBytes: 700, requestBytes: 300, workers: 6,
}

// model drives a machine by random events and knows what must hold.
type model struct {
	t    *testing.T
	r    *rand.Rand
	m    *machine
	now  time.Duration
	log  []string
	next int // of workers and clients that come

	workers map[string][]modelHeld // what was sent to each that the model still plays
	depths  map[string]int
	jobs    map[uint64]*modelJob
}

type modelHeld struct {
	client string
	ticket uint64
}

// modelJob is a request that the machine has taken in.
type modelJob struct {
	ticket uint64
	from   string // where its reply is to go: from where it came last
	sends  int
	over   bool
}

// TestMachineHolds: whatever happens in whatever order, every request that is taken
// in is answered or failed exactly once, to where it came from last; no worker has
// more requests than it takes, and no bound is exceeded. The seed of a failure
// brings it back.
func TestMachineHolds(t *testing.T) {
	for seed := range uint64(100) {
		d := &model{
			t: t, r: rand.New(rand.NewPCG(seed, 0)), m: newMachine(testBounds),
			workers: map[string][]modelHeld{}, depths: map[string]int{}, jobs: map[uint64]*modelJob{},
		}
		for range 1500 {
			d.step()
			if t.Failed() {
				t.Fatalf("seed %d: the last events were\n%s", seed, d.tail())
			}
		}
		d.finish()
		if t.Failed() {
			t.Fatalf("seed %d, at the end: the last events were\n%s", seed, d.tail())
		}
	}
}

func (d *model) tail() string {
	s := ""
	for _, l := range d.log[max(len(d.log)-40, 0):] {
		s += l + "\n"
	}
	return s
}

func (d *model) note(format string, args ...any) { d.log = append(d.log, fmt.Sprintf(format, args...)) }

var modelServices = []string{"a", "b", "long", "d", "e", "f"}

func (d *model) service() []byte {
	return []byte(modelServices[min(d.r.IntN(len(modelServices)), d.r.IntN(len(modelServices)))])
}

// worker returns one that was played before, or a stranger.
func (d *model) worker() string {
	if len(d.workers) == 0 || d.r.IntN(20) == 0 {
		return "stranger"
	}
	return slices.Sorted(maps.Keys(d.workers))[d.r.IntN(len(d.workers))]
}

func (d *model) step() {
	switch k := d.r.IntN(100); {
	case k < 12:
		d.join()
	case k < 20:
		w := d.worker()
		d.note("%v heartbeat %s", d.now, w)
		d.m.heartbeat(d.now, []byte(w))
	case k < 24:
		w := d.worker()
		d.note("%v disconnect %s", d.now, w)
		d.m.disconnect(d.now, []byte(w))
		delete(d.workers, w)
	case k < 28:
		d.vanish()
	case k < 55:
		d.request()
	case k < 80:
		d.reply()
	case k < 82:
		d.m.probe(d.now, d.service())
	default:
		d.now += time.Duration(d.r.IntN(1500)) * time.Millisecond
		d.note("%v tick", d.now)
		d.m.tick(d.now)
	}
	d.acts()
	d.check()
}

func (d *model) join() {
	w := d.worker()
	if w == "stranger" || d.r.IntN(4) > 0 {
		d.next++
		w = fmt.Sprint("w", d.next)
		if d.r.IntN(3) == 0 {
			w = string(identityOf(1 + d.r.IntN(3))[:7]) + fmt.Sprintf("%08d", d.next)
		}
	}
	name := d.service()
	if d.r.IntN(10) == 0 {
		name = []byte("mmi.x")
	}
	d.note("%v ready %q %s", d.now, w, name)
	d.m.ready(d.now, []byte(w), name)
	delete(d.workers, w)
	if d.m.peers[w] != nil {
		d.workers[w], d.depths[w] = nil, depthOf([]byte(w))
	}
}

// vanish has a worker that can no longer be sent to.
func (d *model) vanish() {
	w := d.worker()
	p := d.m.peers[w]
	if p == nil {
		return
	}
	sent := uint64(0)
	if p.held.len > 0 && p.held.last.value.job != nil && d.r.IntN(2) == 0 {
		sent = p.held.last.value.job.ticket
	}
	d.note("%v unreachable %q %d", d.now, w, sent)
	d.m.unreachable(d.now, p, sent)
	delete(d.workers, w)
}

func (d *model) request() {
	from := fmt.Sprint("c", d.r.IntN(4))
	name := d.service()
	body := [][]byte{make([]byte, d.r.IntN(120))}
	if d.r.IntN(12) == 0 {
		body = append(body, make([]byte, 280))
	}
	if d.r.IntN(3) > 0 {
		number := uint64(d.r.IntN(6))
		if d.r.IntN(2) == 0 {
			number += numbersOfTheirOwn
		}
		body = append([][]byte{pirate.AppendNumber(nil, number, false)}, make([]byte, d.r.IntN(3)))
	}
	var path [][]byte
	if d.r.IntN(8) == 0 {
		path = [][]byte{[]byte("further")}
	}
	taken, repeated, last := d.m.count.Requests, d.m.count.Repeated, d.m.last
	reason := d.m.request(d.now, []byte(from), path, name, body)
	d.note("%v request %d from %s for %s, %d frames: %q", d.now, d.m.last, from, name, len(body), reason)
	switch {
	case reason != "":
		if d.m.count.Requests != taken || d.m.count.Repeated != repeated {
			d.t.Error("a refused request was taken in")
		}
	case d.m.count.Repeated > repeated:
		d.moved(from)
	default:
		if d.m.last != last+1 {
			d.t.Errorf("a request got ticket %d after %d", d.m.last, last)
		}
		d.jobs[d.m.last] = &modelJob{ticket: d.m.last, from: from}
	}
}

// moved has the request that was repeated be answered to where it came from now.
func (d *model) moved(from string) {
	for n := d.m.open.first; n != nil; n = n.next {
		if j := n.value; string(j.client.address) == from && d.jobs[j.ticket].from != from {
			d.jobs[j.ticket].from = from
		}
	}
}

func (d *model) reply() {
	w := d.worker()
	held := d.workers[w]
	client, at := "c1", -1
	if len(held) > 0 && d.r.IntN(10) > 0 {
		at = 0
		if d.r.IntN(3) == 0 {
			at = d.r.IntN(len(held)) // out of order
		}
		client = held[at].client
		at = slices.IndexFunc(held, func(h modelHeld) bool { return h.client == client })
	} else if i := slices.IndexFunc(held, func(h modelHeld) bool { return h.client == client }); i >= 0 {
		at = i
	}
	known := d.m.peers[w] != nil
	d.note("%v reply of %q to %s", d.now, w, client)
	j := d.m.reply(d.now, []byte(w), []byte(client))
	if at >= 0 {
		ticket := held[at].ticket
		d.workers[w] = slices.Delete(slices.Clone(held), at, at+1)
		over := d.jobs[ticket].over
		if known && (j == nil) != over {
			d.t.Errorf("request %d, over %v: forwarded %v", ticket, over, j != nil)
		}
		if j != nil && j.ticket != ticket {
			d.t.Errorf("the reply to %d was taken for one to %d", ticket, j.ticket)
		}
	}
	if j == nil {
		return
	}
	if at < 0 {
		d.t.Errorf("a reply to nothing was taken for one to %d", j.ticket)
	}
	d.over(j, "answered")
}

// over takes note of the end of a request.
func (d *model) over(j *job, how string) {
	k := d.jobs[j.ticket]
	if k.over {
		d.t.Errorf("request %d was %s after its end", j.ticket, how)
	}
	if string(j.client.address) != k.from {
		d.t.Errorf("request %d was %s to %s, it came from %s", j.ticket, how, j.client.address, k.from)
	}
	k.over = true
}

func (d *model) acts() {
	for _, a := range d.m.acts {
		switch a.do {
		case actSend:
			w := string(a.peer.address)
			d.note("  send %d to %q", a.job.ticket, w)
			k := d.jobs[a.job.ticket]
			if k == nil { // it is the request that has just come
				k = &modelJob{ticket: a.job.ticket, from: string(a.job.client.address)}
				d.jobs[a.job.ticket] = k
			}
			k.sends++
			if _, played := d.workers[w]; !played { // it has just joined
				d.depths[w] = depthOf(a.peer.address)
			}
			d.workers[w] = append(d.workers[w], modelHeld{string(a.client), a.job.ticket})
			if len(d.workers[w]) > d.depths[w] {
				d.t.Errorf("worker %q has %d requests, it takes %d", w, len(d.workers[w]), d.depths[w])
			}
		case actFail:
			d.note("  fail %d: %s", a.job.ticket, a.reason)
			d.over(a.job, "failed")
		case actDrop:
			if k := d.jobs[a.job.ticket]; !k.over {
				d.t.Errorf("request %d was dropped before its end", a.job.ticket)
			}
			d.m.recycle(a.job)
		case actDisconnect:
			d.note("  disconnect %q", a.address)
			delete(d.workers, string(a.address))
		}
	}
	d.m.acts = d.m.acts[:0]
}

// check holds what the machine has against itself and its bounds.
func (d *model) check() {
	m := d.m
	open, bytes, keyed, waiting := 0, 0, 0, 0
	ofClient, bytesOf, ofService := map[*client]int{}, map[*client]int{}, map[*service]int{}
	for n := m.open.first; n != nil; n = n.next {
		j := n.value
		open++
		bytes += j.size
		ofClient[j.client]++
		bytesOf[j.client] += j.size
		ofService[j.service]++
		if j.keyed {
			keyed++
			if m.numbered[j.key] != j {
				d.t.Errorf("request %d is not found by its number", j.ticket)
			}
		}
		if j.waits {
			waiting++
		}
		if j.waits != (j.place.in != nil) || j.waits && (j.place.in != &j.queue.jobs || j.queue.place.in != &j.service.turns || j.service.queues[j.queue.client] != j.queue) {
			d.t.Errorf("request %d waits %v, but is not there", j.ticket, j.waits)
		}
		if j.tries < 0 || j.tries > triesMax {
			d.t.Errorf("request %d has %d tries", j.ticket, j.tries)
		}
		if !j.waits && !m.heldByLiving(j) {
			d.t.Errorf("nobody has request %d", j.ticket)
		}
		if m.clients[string(j.client.address)] != j.client || m.services[string(j.service.name)] != j.service {
			d.t.Errorf("the client or service of request %d is not known", j.ticket)
		}
	}
	if open != m.open.len || bytes != m.bytes || keyed != len(m.numbered) || waiting != m.waiting {
		d.t.Errorf("open %d/%d, bytes %d/%d, numbered %d/%d, waiting %d/%d", open, m.open.len, bytes, m.bytes, keyed, len(m.numbered), waiting, m.waiting)
	}
	for _, c := range m.clients {
		if c.bytes != bytesOf[c] {
			d.t.Errorf("client %s has %d bytes, %d are counted", c.address, bytesOf[c], c.bytes)
		}
		if c.open != ofClient[c] {
			d.t.Errorf("client %s has %d requests, %d are counted", c.address, ofClient[c], c.open)
		}
	}
	if open > testBounds.requests || len(m.peers) > testBounds.workers || len(m.services) > testBounds.services {
		d.t.Errorf("%d requests, %d workers, %d services", open, len(m.peers), len(m.services))
	}
	d.checkWorkers(ofService)
}

func (d *model) checkWorkers(ofService map[*service]int) {
	m := d.m
	living, lost, takers := map[*service]int{}, map[*service]int{}, map[*service]int{}
	for n := m.listed.first; n != nil; n = n.next {
		p := n.value
		if m.peers[string(p.address)] != p || m.services[string(p.service.name)] != p.service {
			d.t.Errorf("worker %q is listed and not known", p.address)
		}
		if p.lost {
			lost[p.service]++
		} else {
			living[p.service]++
		}
		takes := !p.lost && p.held.len < p.depth
		if takes {
			takers[p.service]++
		}
		if takes != (p.place.in == &p.service.ready) || p.held.len > p.depth {
			d.t.Errorf("worker %q has %d of %d, lost %v, and is ready %v", p.address, p.held.len, p.depth, p.lost, p.place.in != nil)
		}
		for h := p.held.first; h != nil; h = h.next {
			if a := h.value; a.peer != p || a.job != nil && !slices.Contains(a.job.holders[:], a) {
				d.t.Errorf("a request in the hands of %q does not know it", p.address)
			}
		}
	}
	if len(m.peers) != m.listed.len {
		d.t.Errorf("%d workers, %d listed", len(m.peers), m.listed.len)
	}
	for _, s := range m.services {
		if s.workers != living[s] || s.lost != lost[s] || s.open != ofService[s] || s.ready.len != takers[s] {
			d.t.Errorf("service %s: workers %d/%d, lost %d/%d, open %d/%d, ready %d/%d", s.name, living[s], s.workers, lost[s], s.lost, ofService[s], s.open, takers[s], s.ready.len)
		}
		queued := 0
		for n := s.turns.first; n != nil; n = n.next {
			q := n.value
			queued += q.jobs.len
			for j := q.jobs.first; j != nil; j = j.next {
				if j.next != nil && j.next.value.ticket < j.value.ticket {
					d.t.Errorf("request %d waits in front of %d", j.value.ticket, j.next.value.ticket)
				}
			}
		}
		if queued != s.waiting || s.turns.len != len(s.queues) {
			d.t.Errorf("service %s: %d requests wait in %d queues, want %d in %d", s.name, queued, s.turns.len, s.waiting, len(s.queues))
		}
		if s.waiting > 0 && s.ready.len > 0 {
			d.t.Errorf("service %s has requests that wait and workers that are ready", s.name)
		}
		if s.workers+s.lost+s.open == 0 {
			d.t.Errorf("service %s is known for nothing", s.name)
		}
		if m.workersOf(s.name) != living[s] {
			d.t.Errorf("mmi.service would say %d workers of %s, %d live", m.workersOf(s.name), s.name, living[s])
		}
		if s.open > testBounds.serviceRequests {
			d.t.Errorf("service %s has %d requests", s.name, s.open)
		}
	}
}

// finish has time pass, or the broker end: nothing is left open.
func (d *model) finish() {
	if d.r.IntN(2) == 0 {
		d.m.stop()
		d.acts()
		d.check()
		d.m.end()
		d.acts()
	} else {
		for range 200 {
			d.now += sec
			d.m.tick(d.now)
			d.acts()
			d.check()
		}
		if len(d.m.peers)+len(d.m.services)+len(d.m.clients) > 0 {
			d.t.Errorf("%d workers, %d services, %d clients after a long silence", len(d.m.peers), len(d.m.services), len(d.m.clients))
		}
	}
	for _, k := range d.jobs {
		if !k.over {
			d.t.Errorf("request %d was neither answered nor failed", k.ticket)
		}
	}
	c := &d.m.count
	if c.Requests != uint64(len(d.jobs)) {
		d.t.Errorf("%d requests counted, %d taken in", c.Requests, len(d.jobs))
	}
	if d.m.open.len != 0 || d.m.bytes != 0 || d.m.waiting != 0 || len(d.m.numbered) != 0 {
		d.t.Errorf("left: %d requests, %d bytes, %d waiting, %d numbered", d.m.open.len, d.m.bytes, d.m.waiting, len(d.m.numbered))
	}
}
