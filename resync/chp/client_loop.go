package chp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

const (
	readMessages = 512     // that are taken from a socket before the others have their turn
	readBytes    = 4 << 20 // or so many bytes
	messageMax   = 64 << 20
)

// clientSockets are the sockets of a client's loop, and what belongs to them.
type clientSockets struct {
	ctx        *zsock.Context
	updates    *zsock.Socket             // SUB, of the server in use
	snapshot   *zsock.Socket             // DEALER, of the last question
	collectors [serversMax]*zsock.Socket // XPUB: it hears when a server's collector is there
	reached    [serversMax]bool          // the server's collector is there
	stale      bool                      // the waiter does not have the sockets of now
	err        error                     // of opening a socket, which an agent cannot be told
	in         *zsock.Inbox
	out        zsock.Outbox
	now        time.Time
}

// Run connects and keeps the table up to date until ctx is done; then it returns
// nil. It can be called once.
func (c *Client) Run(ctx context.Context) (err error) {
	c.mu.Lock()
	if c.started || len(c.servers) == 0 {
		c.mu.Unlock()
		return fmt.Errorf("%w: no server, or it ran already", ErrConfig)
	}
	c.started = true
	c.mu.Unlock()
	defer func() { err = errors.Join(err, c.close()) }()
	n := &c.net
	n.in = zsock.NewInbox()
	if n.ctx, err = zsock.NewContext(zsock.NoCPU); err != nil {
		return err
	}
	if err := c.openCollectors(); err != nil {
		return err
	}
	c.agent = agent{host: c, servers: len(c.servers), subtree: c.subtree, silence: c.cfg.Silence,
		pause: c.cfg.Pause, buffer: c.cfg.Buffer, stats: new(agentStats)}
	n.now = c.now()
	c.agent.start(n.now)
	defer context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.wakeLocked()
	})()
	var ready []int
	for ctx.Err() == nil {
		busy, err := c.step()
		if err != nil {
			return err
		}
		if busy || ctx.Err() != nil {
			continue
		}
		if n.stale {
			if err := c.newWaiter(); err != nil {
				return err
			}
			continue // what came while there was none
		}
		if ready, err = c.waiter.Wait(ready[:0], max(c.agent.deadline.Sub(c.now()), 0)); err != nil {
			return err
		}
	}
	return nil
}

// step does what there is to do and reports whether there may be more.
func (c *Client) step() (busy bool, err error) {
	n := &c.net
	n.now = c.now()
	c.welcome()
	if err := c.tell(); err != nil {
		return false, err
	}
	// Updates first: they are what must not be lost.
	for _, r := range []struct {
		socket **zsock.Socket
		take   func(*Message, time.Time)
	}{{&n.updates, c.published}, {&n.snapshot, c.agent.snapshot}} {
		more, err := c.read(r.socket, r.take)
		if err != nil {
			return false, err
		}
		busy = busy || more
	}
	// After what has come: a server is not silent because this end has slept.
	c.agent.tick(n.now)
	c.report()
	return busy, n.err // busy also lets a change go out that waited for the first sign of life
}

// read gives the agent what waits at a socket, until the agent has another
// socket opened instead.
func (c *Client) read(from **zsock.Socket, take func(*Message, time.Time)) (busy bool, err error) {
	n, socket := &c.net, *from
	if socket == nil {
		return false, nil
	}
	err = socket.RecvMany(n.in, readMessages, readBytes)
	if errors.Is(err, zsock.ErrAgain) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for frames := n.in.Next(); frames != nil && *from == socket; frames = n.in.Next() {
		m, err := Parse(KVMsg, frames)
		if err != nil {
			c.mu.Lock()
			c.status.Malformed++
			c.mu.Unlock()
			continue
		}
		take(&m, n.now)
	}
	return true, nil
}

// published takes an update. One that has the UUID of a change confirms it.
func (c *Client) published(m *Message, now time.Time) {
	c.agent.update(m, now)
	if len(m.UUID) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range c.changes {
		if bytes.Equal(ch.uuid[:], m.UUID) {
			close(ch.done)
			c.dropLocked(ch)
			return
		}
	}
}

// tell sends changes to the servers that can be reached and have not been told.
func (c *Client) tell() error {
	for i, socket := range c.net.collectors {
		if socket == nil {
			continue
		}
		if err := c.hear(i, socket); err != nil {
			return err
		}
		// The server in use is told when the subscription is in force: else a change
		// could come back before anybody listens.
		if !c.net.reached[i] || i == c.agent.server && !c.agent.heard {
			continue
		}
		c.mu.Lock()
		for j := 0; j < len(c.changes); j++ {
			ch := c.changes[j]
			if ch.sent[i] {
				continue
			}
			ch.sent[i] = true
			ch.message.put(&c.net.out, KVMsg, nil)
			if !ch.seen && i == c.agent.server {
				close(ch.done)
				c.dropLocked(ch)
				j--
			}
		}
		c.mu.Unlock()
		for c.net.out.Messages() > 0 {
			if _, err := socket.SendMany(&c.net.out); err != nil {
				return err
			}
		}
	}
	return nil
}

// hear takes in whether a server's collector is there.
func (c *Client) hear(server int, socket *zsock.Socket) error {
	for {
		frame, err := socket.TryRecvFrame()
		if errors.Is(err, zsock.ErrAgain) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(frame) == 0 {
			continue
		}
		c.net.reached[server] = frame[0] == 1
		if frame[0] != 1 {
			continue
		}
		c.mu.Lock()
		for _, ch := range c.changes {
			ch.sent[server] = false // it may have been on its way to who is gone
		}
		c.mu.Unlock()
	}
}

func (c *Client) openCollectors() error {
	for i, server := range c.servers {
		if server.Collector == "" {
			continue
		}
		socket, err := c.net.ctx.NewSocket(zsock.XPUB, zsock.SocketConfig{SendQueue: 100_000, Linger: time.Second})
		if err != nil {
			return err
		}
		c.net.collectors[i] = socket
		// A change that a server missed must not reach one that starts much later.
		if err := errors.Join(socket.OnlyConnected(), socket.Connect(server.Collector)); err != nil {
			return err
		}
	}
	c.net.stale = true
	return nil
}

// listen implements host.
func (c *Client) listen(server int) {
	prefixes := []string{string(c.subtree)}
	if len(c.subtree) > 0 {
		prefixes = append(prefixes, keyHugz) // or a quiet subtree looks like a dead server
	}
	c.reopen(&c.net.updates, zsock.SUB, zsock.SocketConfig{ReceiveQueue: 100_000, MessageMax: messageMax}, func(s *zsock.Socket) error {
		for _, p := range prefixes {
			if err := s.Subscribe(p); err != nil {
				return err
			}
		}
		return s.Connect(c.servers[server].Updates)
	})
}

// ask implements host. Each question has a socket of its own, so that what is
// left of the answer to another cannot be taken for this one's.
func (c *Client) ask(server int) {
	c.reopen(&c.net.snapshot, zsock.DEALER, zsock.SocketConfig{MessageMax: messageMax, SendQueue: 10}, func(s *zsock.Socket) error {
		if err := s.Connect(c.servers[server].Snapshot); err != nil {
			return err
		}
		return s.SendFrames(AppendRequest(nil, c.subtree)...)
	})
}

func (c *Client) reopen(socket **zsock.Socket, t zsock.Type, cfg zsock.SocketConfig, setUp func(*zsock.Socket) error) {
	n := &c.net
	n.stale = true
	if old := *socket; old != nil {
		*socket = nil
		if err := old.Close(); err != nil {
			n.err = err
			return
		}
	}
	s, err := n.ctx.NewSocket(t, cfg)
	if err == nil {
		*socket = s
		err = setUp(s)
	}
	if err != nil {
		n.err = err
	}
}

// newWaiter makes a waiter for the sockets of now.
func (c *Client) newWaiter() error {
	var sockets []*zsock.Socket
	for _, s := range append([]*zsock.Socket{c.net.updates, c.net.snapshot}, c.net.collectors[:]...) {
		if s != nil {
			sockets = append(sockets, s)
		}
	}
	w, err := zsock.NewWaiter(sockets...)
	if err != nil {
		return err
	}
	c.net.stale = false
	c.mu.Lock()
	old := c.waiter
	c.waiter = w
	c.mu.Unlock()
	if old != nil {
		return old.Close()
	}
	return nil
}

func (c *Client) close() error {
	c.mu.Lock()
	c.ended = true
	w := c.waiter
	c.waiter = nil
	c.mu.Unlock()
	var errs []error
	if w != nil {
		errs = append(errs, w.Close())
	}
	n := &c.net
	for _, s := range append([]*zsock.Socket{n.updates, n.snapshot}, n.collectors[:]...) {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	if n.ctx != nil {
		errs = append(errs, n.ctx.Close())
	}
	n.in.Close()
	return errors.Join(errs...)
}
