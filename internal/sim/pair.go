package sim

import (
	"time"

	"github.com/tapedeck/tapedeck/control/binarystar"
)

// pairRun is a binary star pair and its clients. What must hold:
//
//  1. An epoch has one active server: no server is active twice in the same epoch,
//     nor are two, over all restarts, losses of power and full disks. Only an epoch
//     that a disk which was failing did not keep may come again.
//  2. A server accepts requests only while it is active, in the epoch that it became
//     active in.
//  3. Where nothing goes wrong between the two, they are not both active for longer
//     than it takes to tell.
//  4. When all is calm, one server is active soon, the other passive, and every client
//     is served.
//  5. Then it stays so: but for one change, where the work is given back to the primary.
type pairRun struct {
	w         *World
	heartbeat time.Duration
	expiry    time.Duration
	failback  time.Duration
	plain     bool // announcements as the guide has them: one digit, no epochs
	servers   [2]*pairServer
	clients   []*pairClient
	claims    map[uint64]claim
	fine      time.Duration // since when nothing goes wrong between the two; -1: it does
	both      time.Duration // since when both are active; -1: they are not
}

type claim struct {
	by   *pairServer
	kept bool
}

type pairServer struct {
	run      *pairRun
	role     binarystar.Role
	p        *Process
	peer     *pairServer
	out      *link               // to the peer
	m        *binarystar.Machine // nil: it could not start
	epochs   *binarystar.Epochs
	active   bool
	epoch    uint64 // of its activity
	votes    bool   // it has a voter of its own
	changes  int
	accepted int
}

type pairClient struct {
	run    *pairRun
	p      *Process
	to     [2]*link
	from   [2]*link
	at     int
	number int // of the request that waits
	seen   uint64
	served int
}

func runPair(w *World) {
	r := &pairRun{w: w, claims: map[uint64]claim{}, fine: -1, both: -1}
	r.heartbeat = one(w, 100*time.Millisecond, time.Second)
	r.expiry = 2 * r.heartbeat
	if w.Chance(0.3) {
		r.failback = w.Between(r.expiry, 5*r.expiry)
	}
	r.plain = w.Chance(0.1)
	w.Logf("heartbeat %v, failback after %v, plain %v", r.heartbeat, r.failback, r.plain)
	t := &trouble{w: w, clocks: true, disks: true, longest: 8 * r.expiry}
	r.build(t)
	for _, p := range t.processes {
		w.After(w.Between(0, one(w, 0, 3*r.expiry)), p.Start)
	}
	w.Every(func() time.Duration { return r.heartbeat / 4 }, func() bool { r.watch(); return true })
	t.run(w.Between(20*r.heartbeat, 150*r.heartbeat), w.Between(r.heartbeat/2, 10*r.heartbeat))
	t.end()
	r.settle()
}

func (r *pairRun) build(t *trouble) {
	w := r.w
	for i, role := range []binarystar.Role{binarystar.Primary, binarystar.Backup} {
		s := &pairServer{run: r, role: role, votes: w.Chance(0.2)}
		s.p = w.Process(role.String(), s.boot)
		s.p.drift = float64(w.IntN(400) - 200)
		r.servers[i] = s
		t.processes = append(t.processes, s.p)
	}
	a, b := r.servers[0], r.servers[1]
	a.peer, b.peer, a.out, b.out = b, a, w.link(a.p, b.p), w.link(b.p, a.p)
	t.links = append(t.links, []*link{a.out, b.out})
	for range 1 + w.IntN(4) {
		c := &pairClient{run: r}
		c.p = w.Process("client", c.boot)
		for i, s := range r.servers {
			c.to[i], c.from[i] = w.link(c.p, s.p), w.link(s.p, c.p)
			t.links = append(t.links, []*link{c.to[i], c.from[i]})
		}
		r.clients = append(r.clients, c)
		t.processes = append(t.processes, c.p)
	}
}

// boot is a server's start.
func (s *pairServer) boot() {
	s.active, s.m = false, nil
	var err error
	if s.epochs, err = binarystar.OpenEpochs(s.p.fs, "."); err != nil {
		s.run.w.Logf("%v: %v", s.role, err)
		s.p.Again()
		return
	}
	s.m = binarystar.NewMachine(binarystar.MachineConfig{Role: s.role, Expiry: s.run.expiry, Failback: s.run.failback, Epoch: s.epochs.Known()}, s.p.Now())
	beat := func() time.Duration { return s.run.heartbeat }
	if s.run.w.bug != bugPairSilent {
		s.p.Every(beat, s.say)
	}
	if s.votes {
		s.p.Every(beat, func() {
			if _, until := s.m.PeerState(); !s.active && s.p.Now() >= until {
				s.act(s.m.Vote(s.p.Now()))
			}
		})
	}
	s.p.After(0, s.say)
	s.p.Every(func() time.Duration { return s.run.w.Between(s.run.expiry, 60*s.run.expiry) }, s.operator)
}

// operator promotes it now and then.
func (s *pairServer) operator() {
	if s.run.fine >= 0 || s.run.w.Chance(0.5) {
		return
	}
	force := s.run.w.Chance(0.3)
	s.run.w.Logf("%v: promoted by an operator, force %v", s.role, force)
	out, _ := s.m.Promote(s.p.Now(), force)
	s.act(out)
}

// say announces the state.
func (s *pairServer) say() {
	state, epoch := s.m.State()
	frame := binarystar.AppendAnnouncement(nil, state, epoch, s.run.plain)
	s.out.send(func() { s.peer.hear(frame) })
}

func (s *pairServer) hear(frame []byte) {
	if s.m == nil {
		return
	}
	state, epoch, err := binarystar.ParseAnnouncement(frame)
	if err != nil {
		s.run.w.Fail("%v does not understand %q: %v", s.role, frame, err)
	}
	if s.run.w.bug == bugPairDeaf && s.active && state == binarystar.Active {
		return
	}
	s.act(s.m.Peer(s.p.Now(), state, epoch))
}

// act does what the machine asks for, as a Pair does.
func (s *pairServer) act(out binarystar.Outcome) {
	if out.Announce {
		s.p.After(0, s.say)
	}
	_, known := s.m.State()
	var err error
	if s.run.w.bug != bugPairForgets {
		err = s.epochs.Keep(known)
	}
	switch out.Became {
	case binarystar.Active:
		s.run.w.Logf("%v: active in epoch %d: %s (kept: %v)", s.role, out.Epoch, out.Reason, err)
		s.run.claim(s, out.Epoch, err == nil)
		s.active, s.epoch = true, out.Epoch
		s.changes++
	case binarystar.Passive:
		s.run.w.Logf("%v: passive: %s", s.role, out.Reason)
		s.active = false
		s.changes++
	}
}

// claim holds property 1.
func (r *pairRun) claim(s *pairServer, epoch uint64, kept bool) {
	if before, ok := r.claims[epoch]; ok && before.kept {
		r.w.Fail("the %v is active in epoch %d, in which the %v was", s.role, epoch, before.by.role)
	}
	r.claims[epoch] = claim{s, kept}
}

// request takes in a client's request, and answers it.
func (s *pairServer) request(answer func(epoch uint64, ok bool)) {
	if s.m == nil {
		return
	}
	refused, out := s.m.Request(s.p.Now())
	s.act(out)
	if s.run.w.bug == bugPairAccepts {
		refused = ""
	}
	state, epoch := s.m.State()
	if refused == "" && (state != binarystar.Active || !s.active || epoch != s.epoch) {
		s.run.w.Fail("the %v accepts a request, in state %v, epoch %d; active: %v, since epoch %d", s.role, state, epoch, s.active, s.epoch)
	}
	if refused == "" {
		s.accepted++
	}
	if s.run.w.bug == bugPairPast && s.accepted > 5 {
		epoch = 0
	}
	answer(epoch, refused == "")
}

// boot is a client's start.
func (c *pairClient) boot() {
	c.p.After(0, c.ask)
}

// ask sends a request to the server that the client believes in. One that does not
// answer, or refuses, makes it turn to the other.
func (c *pairClient) ask() {
	c.number++
	number, at := c.number, c.at
	server := c.run.servers[at]
	c.to[at].send(func() {
		server.request(func(epoch uint64, ok bool) {
			c.from[at].send(func() { c.answered(number, epoch, ok) })
		})
	})
	c.p.After(c.run.heartbeat, func() {
		if c.number == number {
			c.number++
			c.at = 1 - c.at
			c.ask()
		}
	})
}

func (c *pairClient) answered(number int, epoch uint64, ok bool) {
	if c.number != number {
		return // another answer came before
	}
	c.number++
	if fenced := epoch < c.seen && !c.run.plain; !ok || fenced {
		c.at = 1 - c.at
	} else {
		c.seen = epoch
		c.served++
	}
	c.p.After(c.run.w.Between(0, c.run.heartbeat), c.ask)
}

// watch holds property 3.
func (r *pairRun) watch() {
	fine := true
	for _, s := range r.servers {
		w := &s.out.weather
		fine = fine && s.p.Well() && !s.out.cut && w.lose == 0 && w.overtake == 0 && w.repeat == 0
	}
	r.since(&r.fine, fine)
	r.since(&r.both, r.servers[0].active && r.servers[1].active && r.servers[0].p.Well() && r.servers[1].p.Well())
	if r.fine < 0 || r.both < 0 {
		return
	}
	// What is on its way when all becomes well may be late.
	if long := r.w.now - max(r.fine, r.both); long > 3*r.heartbeat+5*time.Second {
		r.w.Fail("both have been active for %v, and nothing is wrong between them", long)
	}
}

func (r *pairRun) since(at *time.Duration, holds bool) {
	switch {
	case !holds:
		*at = -1
	case *at < 0:
		*at = r.w.now
	}
}

// settle holds properties 4 and 5.
func (r *pairRun) settle() {
	one := func() bool {
		return r.servers[0].active != r.servers[1].active
	}
	r.w.Run(4 * time.Second) // what was late arrives
	if !r.w.RunUntil(10*r.expiry, r.heartbeat/2, one) {
		r.w.Fail("all is calm, and the primary is %v, the backup %v", r.state(0), r.state(1))
	}
	r.w.Run(r.failback + 6*r.expiry) // the primary may get the work back
	changes := r.servers[0].changes + r.servers[1].changes
	served := make([]int, len(r.clients))
	for i, c := range r.clients {
		served[i] = c.served
	}
	r.w.Run(20 * r.heartbeat)
	if n := r.servers[0].changes + r.servers[1].changes; n != changes || !one() {
		r.w.Fail("all is calm, and %d changes follow", n-changes)
	}
	if r.failback > 0 && !r.plain && !r.servers[0].active {
		r.w.Fail("all is calm, and the primary has not got the work back")
	}
	for i, c := range r.clients {
		// Who was served in an epoch that nobody remembers waits for a later one.
		if c.served == served[i] && r.claims[c.seen].kept {
			r.w.Fail("all is calm, and client %d is not served", i)
		}
	}
}

func (r *pairRun) state(i int) binarystar.State {
	s, _ := r.servers[i].m.State()
	return s
}
