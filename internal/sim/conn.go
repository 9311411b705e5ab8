package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// conn is one connection between a DEALER and a ROUTER, from its handshake until both
// ends know that it is no more. What is sent over it comes in order, however bad the
// weather, or not at all: when it breaks, what was on its way is gone.
type conn struct {
	w      *World
	dealer *port
	router *port
	id     string
	number int      // for people
	pipes  [2]*pipe // to the router, to the dealer
	ends   [2]bool  // whether the dealer, and the router, take it to stand
	over   bool
	silent [2]time.Duration // since when nothing can come to that end; 0: it can
}

// way returns the way from a process to another, the same for all connections.
func (w *World) way(from, to *Process) *link {
	key := [2]*Process{from, to}
	if w.ways[key] == nil {
		w.ways[key] = w.link(from, to)
	}
	return w.ways[key]
}

// stand is the end of the handshake.
func (c *conn) stand() {
	w := c.w
	if !c.dealer.alive() || !c.router.alive() || c.id != "" && c.router.peers[c.id] != nil {
		// Gone meanwhile, or the name is taken by a connection that broke unseen.
		c.give()
		return
	}
	w.named++
	c.number = w.named
	if c.id == "" {
		c.id = fmt.Sprintf("\x00%04d", c.number)
	}
	c.ends = [2]bool{true, true}
	c.router.peers[c.id] = c
	c.router.order = append(c.router.order, c)
	for _, m := range c.dealer.waiting {
		c.pipes[0].send(m)
	}
	c.dealer.waiting = nil
	c.dealer.tell(zsock.Connected)
	if c.dealer.p != c.router.p {
		w.Logf("%s to %s: connection %d", c.dealer.p.name, c.router.p.name, c.number)
	}
	c.dealer.p.poke()
	c.listen()
}

// give gives up a handshake.
func (c *conn) give() {
	c.over = true
	c.w.forget(c)
	if c.dealer.up == c {
		c.dealer.up = nil
		c.w.After(c.w.Between(reconnect/2, reconnect), c.dealer.dial)
	}
}

// listen breaks the connection at an end that has heard nothing for long, where that
// end heeds it.
func (c *conn) listen() {
	if c.over {
		return
	}
	for i, s := range []*port{c.dealer, c.router} {
		deaf := c.pipes[1-i].way.cut || !c.pipes[1-i].from.p.Well()
		switch {
		case !deaf || !c.ends[i] || !s.heeds || !s.p.Well():
			c.silent[i] = 0
		case c.silent[i] == 0:
			c.silent[i] = c.w.now
		case c.w.now-c.silent[i] >= death:
			c.drop(i)
		}
	}
	c.w.After(time.Second, c.listen)
}

// pipe returns the pipe that leads to a port.
func (c *conn) pipe(to *port) *pipe {
	if to == c.router {
		return c.pipes[0]
	}
	return c.pipes[1]
}

func (c *conn) end(s *port) int {
	if s == c.dealer {
		return 0
	}
	return 1
}

// hangUp ends the connection from one side, behind what was sent.
func (c *conn) hangUp(s *port) {
	c.pipes[c.end(s)].send(nil)
	c.leave(c.end(s))
}

// abort ends the connection from one side; some of what was sent may still arrive.
func (c *conn) abort(s *port) {
	if p := c.pipes[c.end(s)]; len(p.queue) > 0 {
		p.queue = p.queue[:c.w.IntN(len(p.queue)+1)]
	}
	c.hangUp(s)
}

// drop makes an end know that the connection is no more, and then the other.
func (c *conn) drop(end int) {
	if c.over || !c.ends[end] {
		return
	}
	c.pipes[0].queue, c.pipes[1].queue = nil, nil
	c.leave(end)
	if c.ends[1-end] {
		c.pipes[end].send(nil)
	}
}

// leave takes the connection away from an end.
func (c *conn) leave(end int) {
	c.ends[end] = false
	s := c.dealer
	if end == 1 {
		s = c.router
		if s.peers[c.id] == c {
			delete(s.peers, c.id)
		}
		s.order = slices.DeleteFunc(s.order, func(o *conn) bool { return o == c })
	} else if s.up == c {
		s.up = nil
		s.tell(zsock.Disconnected)
		c.w.After(c.w.Between(reconnect/2, reconnect), s.dial)
	}
	if !c.ends[0] && !c.ends[1] {
		c.over = true
		c.w.forget(c)
	}
	if s.alive() {
		s.p.poke()
	}
}

func (w *World) forget(c *conn) {
	w.conns = slices.DeleteFunc(w.conns, func(o *conn) bool { return o == c })
}

// flap breaks a connection that stands. Those within a process never break.
func (w *World) flap() {
	if len(w.streams) > 0 {
		s := w.streams[w.IntN(len(w.streams))]
		w.Logf("%s to %s: the connection breaks", s.name, s.peer.name)
		one(w, s, s.peer).cutOff()
		return
	}
	if len(w.conns) == 0 {
		return
	}
	c := w.conns[w.IntN(len(w.conns))]
	if c.dealer.p == c.router.p {
		return
	}
	w.Logf("%s to %s: connection %d breaks", c.dealer.p.name, c.router.p.name, c.number)
	c.drop(w.IntN(2))
}

// pipe is one way of a connection.
type pipe struct {
	c        *conn
	from, to *port
	way      *link
	queue    []onWay
	held     int // messages in the queue and not received
	clear    time.Duration
	going    bool
}

// onWay is a message, or where frames is nil the connection's end.
type onWay struct {
	frames [][]byte
	due    time.Duration
}

// send puts a message on its way. The frames are the pipe's.
func (p *pipe) send(frames [][]byte) {
	w, c := p.c.w, &p.way.weather
	at := w.now + w.Between(c.least, c.most)
	for w.Chance(min(c.lose, 0.5)) {
		at += resend // what is lost is sent again, and holds up what follows
	}
	p.clear = max(p.clear, at)
	p.queue = append(p.queue, onWay{frames, p.clear})
	if frames != nil {
		p.held++
	}
	p.set()
}

func (p *pipe) set() {
	if !p.going && len(p.queue) > 0 {
		p.going = true
		p.c.w.After(p.queue[0].due-p.c.w.now, p.arrive)
	}
}

// arrive delivers what is due.
func (p *pipe) arrive() {
	w := p.c.w
	p.going = false
	if p.way.cut {
		if len(p.queue) > 0 {
			p.going = true
			w.After(heldUp, p.arrive)
		}
		return
	}
	for len(p.queue) > 0 && p.queue[0].due <= w.now {
		m := p.queue[0]
		p.queue = p.queue[1:]
		p.deliver(m)
	}
	p.set()
	if p.to.alive() {
		p.to.p.poke()
	}
}

func (p *pipe) deliver(m onWay) {
	end := p.c.end(p.to)
	switch {
	case m.frames == nil && p.c.ends[end]:
		p.c.leave(end)
	case m.frames == nil:
	case !p.c.ends[end] || !p.to.alive():
		p.held--
	case p.to.router:
		p.to.in = append(p.to.in, arrived{append([][]byte{[]byte(p.c.id)}, m.frames...), p.c})
	default:
		p.to.in = append(p.to.in, arrived{m.frames, p.c})
	}
}
