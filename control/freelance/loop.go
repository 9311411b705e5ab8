package freelance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// Words of the protocol.
var (
	wordPing = []byte("PING")
	wordPong = []byte("PONG")
)

// loop is a goroutine with sockets to all servers: one ROUTER, which reaches each by
// its identity, or for Shotgun a DEALER each, so that each gets one copy.
type loop struct {
	c       *Client
	m       *machine // under c.mu
	router  *zsock.Socket
	dealers []*zsock.Socket
	waiter  *zsock.Waiter
	places  map[string]int // servers by endpoint
	waiting map[uint64]*call

	calls chan *call // bounded: requests that the loop has not seen
	ended chan struct{}
	err   error // valid once ended is closed
	stop  context.CancelFunc
}

// call is a request that somebody waits for.
type call struct {
	ctx      context.Context
	frames   [][]byte // the caller's until done
	done     chan struct{}
	reply    [][]byte
	endpoint string
	err      error
}

func (c *Client) startLoop() (err error) {
	l := &loop{
		c: c, places: map[string]int{}, waiting: map[uint64]*call{},
		calls: make(chan *call, c.cfg.Outstanding), ended: make(chan struct{}),
	}
	l.m = newMachine(machineConfig{
		servers: len(c.cfg.Endpoints), all: c.cfg.Strategy == Shotgun, pings: c.cfg.Strategy == Routed,
		try: c.cfg.Timeout, tries: c.cfg.Tries, ping: c.cfg.Ping, dead: c.cfg.Dead, rest: c.cfg.Rest, most: c.cfg.RestMax,
	})
	if err := l.open(); err != nil {
		return errors.Join(err, l.closeSockets())
	}
	c.loop, c.chooser = l, l.m.chooser
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	go func() {
		l.err = l.run(ctx)
		l.endCalls()
		l.err = errors.Join(l.err, l.closeSockets())
		close(l.ended)
	}()
	return nil
}

func (l *loop) open() (err error) {
	cfg := &l.c.cfg
	for i, e := range cfg.Endpoints {
		if _, twice := l.places[e]; twice {
			return fmt.Errorf("%s is named twice", e)
		}
		l.places[e] = i
	}
	options := zsock.SocketConfig{MessageMax: cfg.ReplyBytes}
	if cfg.Strategy == Routed {
		if l.router, err = l.c.ctx.NewSocket(zsock.ROUTER, options); err != nil {
			return err
		}
		if err := l.router.MustReach(); err != nil {
			return err
		}
		for _, e := range cfg.Endpoints {
			if err := l.router.Connect(e); err != nil {
				return err
			}
		}
		l.waiter, err = zsock.NewWaiter(l.router)
		return err
	}
	for _, e := range cfg.Endpoints {
		s, err := l.c.ctx.NewSocket(zsock.DEALER, options)
		if err != nil {
			return err
		}
		l.dealers = append(l.dealers, s)
		if err := s.Connect(e); err != nil {
			return err
		}
	}
	l.waiter, err = zsock.NewWaiter(l.dealers...)
	return err
}

// request hands a request to the loop and waits for its end.
func (l *loop) request(ctx context.Context, frames [][]byte) ([][]byte, string, error) {
	c := &call{ctx: ctx, frames: frames, done: make(chan struct{})}
	select {
	case l.calls <- c:
	case <-l.ended:
		return nil, "", ErrClosed
	default:
		return nil, "", ErrBusy
	}
	// The frames are the caller's, and the loop may send them again: it lets go first.
	defer context.AfterFunc(ctx, l.waiter.Wake)()
	l.waiter.Wake()
	select {
	case <-c.done:
	case <-l.ended:
		return nil, "", ErrClosed
	}
	return c.reply, c.endpoint, c.err
}

// run is the loop's goroutine.
func (l *loop) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, l.waiter.Wake)()
	for ctx.Err() == nil {
		l.take()
		l.cancelled()
		if err := l.receive(); err != nil {
			return err
		}
		l.act(l.locked(func() []act { return l.m.tick(l.c.now()) }))
		wait := time.Second
		if due, ok := l.m.next(); ok {
			wait = min(wait, max(due-l.c.now(), 0))
		}
		if _, err := l.waiter.Wait(nil, wait); err != nil {
			return fmt.Errorf("freelance: %w", err)
		}
	}
	return nil
}

// locked calls f while nobody looks at the machine.
func (l *loop) locked(f func() []act) []act {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	return f()
}

// take begins the requests that have come.
func (l *loop) take() {
	for {
		select {
		case c := <-l.calls:
			if len(l.waiting) >= l.c.cfg.Outstanding {
				c.end(ErrBusy)
				continue
			}
			l.act(l.locked(func() []act {
				number, acts := l.m.begin(l.c.now())
				l.waiting[number] = c
				return acts
			}))
		default:
			return
		}
	}
}

// cancelled lets go of requests whose callers wait no longer.
func (l *loop) cancelled() {
	for number, c := range l.waiting {
		if c.ctx.Err() != nil {
			l.locked(func() []act { l.m.forget(number); return nil })
			delete(l.waiting, number)
			c.end(context.Cause(c.ctx))
		}
	}
}

// act does what the machine wants.
func (l *loop) act(acts []act) {
	acts = slices.Clone(acts) // what follows asks the machine for more
	for len(acts) > 0 {
		a := acts[0]
		acts = acts[1:]
		switch a.do {
		case actPing:
			_ = l.send(a.server, wordPing) // who cannot be reached is not alive
		case actFail:
			if c := l.waiting[a.number]; c != nil {
				delete(l.waiting, a.number)
				c.end(l.c.unanswered())
			}
		case actSend:
			c := l.waiting[a.number]
			if c == nil {
				continue
			}
			control := strconv.AppendUint(nil, a.number, 10)
			if err := l.send(a.server, append([][]byte{control}, c.frames...)...); err != nil {
				more := l.locked(func() []act { return l.m.unsent(a.number, a.server, l.c.now()) })
				acts = append(acts, more...)
			}
		}
	}
}

// send sends a message to a server. The error says that it was not sent.
func (l *loop) send(server int, frames ...[]byte) error {
	if l.router != nil {
		return l.router.SendFrames(append([][]byte{[]byte(l.c.cfg.Endpoints[server])}, frames...)...)
	}
	return l.dealers[server].SendFrames(append([][]byte{nil}, frames...)...)
}

// receive takes in all that has come.
func (l *loop) receive() error {
	if l.router != nil {
		return l.drain(l.router, func(m [][]byte) {
			if i, ok := l.places[string(m[0])]; ok && len(m) > 1 {
				l.message(i, m[1:])
				return
			}
			l.c.malformed()
		})
	}
	for i, s := range l.dealers {
		err := l.drain(s, func(m [][]byte) {
			if len(m) > 1 && len(m[0]) == 0 {
				l.message(i, m[1:])
				return
			}
			l.c.malformed()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// drainMax is how many messages of a socket are taken in before others have their turn.
const drainMax = 256

func (l *loop) drain(s *zsock.Socket, take func([][]byte)) error {
	for range drainMax {
		m, err := s.RecvFrames()
		if errors.Is(err, zsock.ErrAgain) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("freelance: %w", err)
		}
		take(m)
	}
	l.waiter.Wake() // there may be more
	return nil
}

// message takes what a server says: a pong, or control and reply.
func (l *loop) message(server int, m [][]byte) {
	now := l.c.now()
	if len(m) == 1 && bytes.Equal(m[0], wordPong) {
		l.locked(func() []act { l.m.heard(server, now); return nil })
		return
	}
	number, err := strconv.ParseUint(string(m[0]), 10, 64)
	if err != nil {
		l.c.malformed()
		return
	}
	wanted := false
	l.locked(func() []act {
		l.m.heard(server, now)
		wanted = l.m.replied(server, number)
		return nil
	})
	c := l.waiting[number]
	if !wanted || c == nil {
		return
	}
	delete(l.waiting, number)
	c.reply, c.endpoint = m[1:], l.c.cfg.Endpoints[server]
	c.end(nil)
}

func (c *call) end(err error) {
	c.err = err
	close(c.done)
}

// endCalls ends all requests when the loop has.
func (l *loop) endCalls() {
	for _, c := range l.waiting {
		c.end(ErrClosed)
	}
	l.waiting = nil
}

func (l *loop) close() error {
	l.stop()
	<-l.ended
	return l.err
}

func (l *loop) closeSockets() error {
	var errs []error
	if l.waiter != nil {
		errs = append(errs, l.waiter.Close())
	}
	if l.router != nil {
		errs = append(errs, l.router.Close())
	}
	for _, s := range l.dealers {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
