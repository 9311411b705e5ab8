package resync

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// desk is the loop of a Server: it owns the sockets and all requests.
type desk struct {
	s       *Server
	clients map[string]*client
	// addresses is how many clients there are by address, where that is bounded.
	addresses map[string]int
	ring      []*client // the same, in the order of their turns
	requests  int       // of all clients
	sendsAt   int       // whose turn it is to be sent to, and to have something read
	readsAt   int

	reads   map[uint64]*read
	asked   uint64 // reads so far
	readers int
	held    int // bytes that were read and not sent
	rate    rate

	again    bool          // the last turn left something to do
	hindered bool          // a client's queue was full
	waits    time.Duration // for the budget; 0: not
	expired  time.Duration // when deadlines were looked at

	captures captures
	talks    talks
	workers  sync.WaitGroup // goroutines of captures and talks

	in         *zsock.Parts
	head, body []byte
	count      ServerCounters
}

// client is one that has requests.
type client struct {
	id       []byte
	address  string // "" where clients from one are not bounded, or it has none
	requests []*request
	sendsAt  int // whose turn it is among its requests
	readsAt  int
	full     time.Duration // its queue is full: not to be sent to before
	bytes    int           // read for it, or being read
}

// request is one that is being served.
type request struct {
	client  *client
	id      RequestID
	command Command
	limit   time.Duration // for how long nothing may be sent
	began   time.Duration // when it was taken in
	moved   time.Duration // when something was sent, or credit came
	chunk   int
	granted uint64
	sent    uint64
	digest  Digest
	over    bool
	reading int // reads under way

	refill *refill  // of a refill
	find   []byte   // of a find: the frame to be asked, until it has been
	answer [][]byte // what ends it, once everything else was sent
	failed *RequestError
	watch  *capture // of a snapshot
	at     int      // ... messages of it that were sent
}

// read is a request to the tape readers.
type read struct {
	request *request
	lane    *lane // of a refill
	bytes   int   // that it was counted with
}

func newDesk(s *Server) *desk {
	d := &desk{s: s, clients: map[string]*client{}, addresses: map[string]int{}, reads: map[uint64]*read{}, rate: newRate(s.cfg.Rate), in: zsock.NewParts()}
	d.captures = captures{desk: d, waiting: map[string]*capture{}}
	d.talks.desk = d
	return d
}

// run serves until ctx ends. inner outlives it, for what has to be ended in order.
func (d *desk) run(ctx, inner context.Context, failed <-chan error) error {
	inner, cancel := context.WithCancel(inner)
	defer cancel()
	d.captures.ctx = inner
	defer d.stop()
	for ctx.Err() == nil {
		select {
		case err := <-failed:
			return fmt.Errorf("resync: server: %w", err)
		default:
		}
		if _, err := d.s.waiter.Wait(nil, d.due()); err != nil {
			return fmt.Errorf("resync: server: %w", err)
		}
		if err := errors.Join(d.drain(d.s.pool, d.fromPool), d.drain(d.s.front, d.fromClient)); err != nil {
			return err
		}
		d.turn(d.s.now())
	}
	return nil
}

// wait waits for what run has started.
func (d *desk) wait() {
	d.workers.Wait()
	d.captures.end()
}

// stop tells every client whose request runs.
func (d *desk) stop() {
	for _, c := range d.ring {
		for _, r := range c.requests {
			d.fail(r, &RequestError{Code: CodeStopping, Advice: AdviceOther})
		}
	}
	d.tidy()
	d.talks.stop()
	d.publish()
}

// due is how long there is nothing to do if nothing arrives.
func (d *desk) due() time.Duration {
	switch {
	case d.again:
		return 0
	case d.hindered:
		return fullAgain
	case len(d.clients) == 0:
		return zsock.Forever
	case d.waits > 0:
		return min(d.waits, expireEvery)
	}
	return expireEvery
}

func (d *desk) drain(s *zsock.Socket, take func(now time.Duration)) error {
	now := d.s.now()
	for range turnMessages {
		err := s.RecvParts(d.in)
		switch {
		case errors.Is(err, zsock.ErrAgain):
			return nil
		case errors.Is(err, zsock.ErrFrames):
			d.count.Malformed++
		case err != nil:
			return fmt.Errorf("resync: server: %w", err)
		default:
			take(now)
		}
	}
	return nil
}

func (d *desk) turn(now time.Duration) {
	if now-d.expired >= expireEvery {
		d.expired = now
		d.readers = d.s.queue.State().Workers
		d.expire(now)
	}
	d.captures.start()
	d.hindered, d.waits = false, 0
	d.read(now)
	before := d.count.Chunks
	d.again = d.send(now)
	if d.count.Chunks > before {
		d.read(now) // what was sent made room
	}
	if d.talks.turn(now) {
		d.again = true
	}
	d.tidy()
	d.publish()
}

// expire ends the requests whose deadline has passed.
func (d *desk) expire(now time.Duration) {
	for _, c := range d.ring {
		for _, r := range c.requests {
			if !r.over && now-r.moved >= r.limit {
				d.fail(r, &RequestError{Code: CodeDeadline, Advice: AdviceRetry})
			}
		}
	}
	d.captures.bound()
}

// tidy forgets what is over.
func (d *desk) tidy() {
	clients := d.ring[:0]
	for _, c := range d.ring {
		requests := c.requests[:0]
		for _, r := range c.requests {
			if !r.over {
				requests = append(requests, r)
			}
		}
		d.requests -= len(c.requests) - len(requests)
		clear(c.requests[len(requests):])
		if c.requests = requests; len(requests) > 0 {
			clients = append(clients, c)
		} else {
			delete(d.clients, string(c.id))
			if d.addresses[c.address]--; d.addresses[c.address] <= 0 {
				delete(d.addresses, c.address)
			}
		}
	}
	clear(d.ring[len(clients):])
	d.ring = clients
}

// each calls visit for the clients in turn, beginning with the next one, until it
// has seen all or visit says to stop.
func (d *desk) each(turn *int, visit func(*client) bool) {
	n := len(d.ring)
	for i := range n {
		if !visit(d.ring[(*turn+i)%n]) {
			*turn = (*turn + i) % n
			return
		}
	}
	if n > 0 {
		*turn = (*turn + 1) % n
	}
}

// publish lets other goroutines see the counters.
func (d *desk) publish() {
	state := ServerState{
		Clients: len(d.clients), Requests: d.requests, Reading: len(d.reads), Readers: d.readers,
		Bytes: int64(d.held) + d.captures.bytes.Load(),
	}
	d.s.mu.Lock()
	d.s.counters, d.s.state = d.count, state
	d.s.mu.Unlock()
}
