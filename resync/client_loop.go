package resync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

const (
	// receiveBatch is how many messages of one server are received before the
	// others, the outboxes and the clock are looked at.
	receiveBatch = 64
	// sendAgain is after how long a message is tried again that could not be sent
	// because the queue is full.
	sendAgain = 5 * time.Millisecond
	// pings go out when a request has been silent for a part of
	// ClientConfig.Silence, or for half of ClientConfig.Switch.
	pingsPerSilence = 8
)

// serve is the loop of Run.
func (c *Client) serve(ctx context.Context, waiter *zsock.Waiter) error {
	var ready []int
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		due, err := c.redial(c.now())
		if err != nil {
			return err
		}
		waiting, err := c.flush()
		if err != nil {
			return err
		}
		timeout, idle := c.tend(c.now())
		if err := c.ping(idle); err != nil {
			return err
		}
		if waiting {
			timeout = sendAgain
		}
		timeout = sooner(timeout, due)
		if ready, err = waiter.Wait(ready[:0], timeout); err != nil {
			return fmt.Errorf("resync: %w", err)
		}
		c.ready = c.ready[:0]
		for _, i := range ready {
			c.ready = append(c.ready, c.watched[i]) // by now: sockets may be closed below
		}
		for _, w := range c.ready {
			s := c.servers[w.server]
			switch {
			case s.socket == nil:
			case w.monitor:
				err = c.heed(s)
			default:
				err = c.receive(w.server)
			}
			if err != nil {
				return fmt.Errorf("resync: %s: %w", s.endpoint, err)
			}
		}
	}
}

// flush sends what the outboxes hold and reports whether something had to stay.
func (c *Client) flush() (waiting bool, err error) {
	for _, s := range c.servers {
		for s.stands {
			c.mu.Lock()
			if len(s.outbox) == 0 {
				s.outbox = nil
				c.mu.Unlock()
				break
			}
			frames := s.outbox[0]
			c.mu.Unlock()
			if err := s.socket.SendFrames(frames...); errors.Is(err, zsock.ErrAgain) {
				waiting = true
				break
			} else if err != nil {
				return false, fmt.Errorf("resync: %s: %w", s.endpoint, err)
			}
			c.mu.Lock()
			if len(s.outbox) > 0 {
				s.outbox = s.outbox[1:]
			}
			c.mu.Unlock()
		}
	}
	return waiting, nil
}

// ping pings servers that are not asked for anything. Who is not connected misses it.
func (c *Client) ping(idle []*server) error {
	for _, s := range idle {
		if !s.stands {
			continue
		}
		if err := s.socket.SendFrames(AppendPing(nil, 0)); err != nil && !errors.Is(err, zsock.ErrAgain) {
			return fmt.Errorf("resync: %s: %w", s.endpoint, err)
		}
	}
	return nil
}

// tend pings where it is silent and gives up servers that do not even answer
// that. It returns for how long nothing of the kind is due; below 0: for ever; and which
// servers are to be pinged of which nothing is asked.
func (c *Client) tend(now time.Time) (time.Duration, []*server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.streams) == 0 {
		return zsock.Forever, nil
	}
	interval := max(min(c.cfg.Silence/pingsPerSilence, c.cfg.Switch/2), time.Millisecond)
	for i := 0; i < len(c.order); i++ {
		s := c.order[i]
		srv := c.servers[s.server]
		if c.silent(s.server, now) {
			c.giveUp(s.server, now)
			i = -1 // some are no more
			continue
		}
		if c.stuck(s, now) {
			c.sendLocked(s.server, AppendCancel(nil, s.id))
			c.finish(s, nil, fmt.Errorf("%w: %s", ErrStuck, srv.endpoint))
			i = -1
			continue
		}
		if now.Sub(s.heard) >= interval && now.Sub(s.pinged) >= interval {
			s.pinged = now
			// Where nothing can be sent, the pings that wait say it already.
			if len(srv.outbox) == 0 {
				c.sendLocked(s.server, AppendPing(nil, s.id))
			}
		}
	}
	return interval, c.idle(now, interval)
}

// giveUp fails every request of a server that does not answer. c.mu is held.
func (c *Client) giveUp(server int, now time.Time) {
	c.noAnswer.Add(1)
	c.chooser.Failed(server, c.since())
	c.servers[server].outbox = nil
	c.servers[server].heard = now
	for _, s := range slices.Clone(c.order) {
		if s.server == server {
			c.finish(s, nil, fmt.Errorf("%w: %s", ErrNoAnswer, c.servers[server].endpoint))
		}
	}
}

// receive takes in what a server has sent.
func (c *Client) receive(i int) error {
	for range receiveBatch {
		c.mu.Lock()
		m := c.message()
		c.mu.Unlock()
		err := c.servers[i].socket.Recv(m)
		c.mu.Lock()
		if err == nil {
			now := c.now()
			c.servers[i].heard, c.servers[i].spoke = now, now
			c.chooser.Heard(i, now.Sub(c.begun)+c.cfg.Silence)
			m = c.route(i, m)
		}
		c.recycle(m)
		c.mu.Unlock()
		if errors.Is(err, zsock.ErrAgain) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// route hands a message to the request that it is about. It returns the message,
// unless the request keeps it. c.mu is held.
func (c *Client) route(server int, m *zsock.Message) *zsock.Message {
	head, err := ParseHead(m.Frame(0), m.Frames())
	if err != nil {
		c.refused.Add(1)
		return m
	}
	if head.Command == CommandPong {
		c.routePong(server, m)
		return m
	}
	s := c.streams[head.ID]
	if s == nil || s.server != server {
		c.stray.Add(1)
		return m
	}
	s.heard = c.servers[server].heard
	s.brought = s.heard
	switch head.Command {
	case CommandError:
		e, err := ParseError(m.Frame(0), m.Frame(1))
		if err != nil {
			c.violated(s, err)
			return m
		}
		if lacking(&e) {
			c.servers[server].lacked++
		}
		c.finish(s, nil, &e)
		return m
	case CommandEnd:
		e, err := ParseEnd(m.Frame(0), m.Frame(1))
		if err != nil || s.want == CommandSpans {
			c.violated(s, err)
			return m
		}
		c.finish(s, &e, nil)
		return m
	case s.want:
		size := len(m.Frame(1)) + len(m.Frame(2))
		c.bytes.Add(uint64(size))
		c.servers[server].bytes += uint64(size)
		s.queued += int64(size)
		// A server that sends beyond what was granted could fill the memory: what
		// is queued never exceeds the window by more than a message, or it breaks
		// the protocol.
		if s.queued-int64(size) >= c.cfg.WindowBytes {
			c.violated(s, errors.New("resync: the server sends more than was granted"))
			return m
		}
		s.queue = append(s.queue, m)
		s.wake()
		if s.want == CommandSpans {
			c.finish(s, &End{ID: s.id}, nil)
		}
		return nil
	}
	c.violated(s, nil)
	return m
}

// routePong looks at whether the server still has the request that was asked
// about. Messages keep their order: had it ended, its end would have come before.
func (c *Client) routePong(server int, m *zsock.Message) {
	p, err := ParsePong(m.Frame(0))
	if err != nil {
		c.refused.Add(1)
		return
	}
	if srv := c.servers[server]; srv.run != p.Server {
		if srv.run != 0 {
			c.restarts.Add(1)
		}
		srv.run = p.Server
	}
	s := c.streams[p.ID]
	if s == nil || s.server != server {
		return
	}
	s.heard = c.servers[server].heard
	if !p.Has {
		c.forgotten.Add(1)
		c.finish(s, nil, fmt.Errorf("%w: %s", ErrForgotten, c.servers[server].endpoint))
	}
}

// violated fails a request whose server breaks the protocol. c.mu is held.
func (c *Client) violated(s *stream, err error) {
	c.refused.Add(1)
	if err == nil {
		err = bad(reasonCommand)
	}
	c.sendLocked(s.server, AppendCancel(nil, s.id))
	c.finish(s, nil, err)
}

// grant is the frame that grants more bytes, in a buffer of its own.
func grant(id RequestID, bytes uint64) []byte {
	return AppendCredit(make([]byte, 0, creditSize), id, bytes)
}
