package freelance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// sequential asks one server after the other. Each try has a socket of its own: a
// late answer to another one cannot be taken for this one's.
func (c *Client) sequential(ctx context.Context, frames [][]byte) ([][]byte, string, error) {
	message := append([][]byte{nil}, frames...) // what a REQ would send
	tried := make([]bool, len(c.cfg.Endpoints))
	for try := range c.cfg.Tries {
		i := c.choose(tried, try)
		reply, err := c.attempt(ctx, c.cfg.Endpoints[i], message)
		switch {
		case err == nil:
			c.mu.Lock()
			c.chooser.Answered(i)
			c.mu.Unlock()
			return reply, c.cfg.Endpoints[i], nil
		case !errors.Is(err, zsock.ErrAgain):
			return nil, "", err
		}
		c.mu.Lock()
		c.chooser.Failed(i, c.now())
		c.mu.Unlock()
	}
	return nil, "", c.unanswered()
}

// choose returns the server of the next try.
func (c *Client) choose(tried []bool, try int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if try > 0 {
		c.counters.Repeated++
	}
	i := c.chooser.Pick(c.now(), func(i int) bool { return tried[i] })
	if tried[i] {
		clear(tried)
	}
	tried[i] = true
	return i
}

// attempt asks one server once. zsock.ErrAgain: it has not answered in time.
func (c *Client) attempt(ctx context.Context, endpoint string, message [][]byte) (reply [][]byte, err error) {
	s, err := c.ctx.NewSocket(zsock.DEALER, zsock.SocketConfig{MessageMax: c.cfg.ReplyBytes})
	if err != nil {
		return nil, fmt.Errorf("freelance: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	w, err := zsock.NewWaiter(s)
	if err != nil {
		return nil, fmt.Errorf("freelance: %w", err)
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	defer context.AfterFunc(ctx, w.Wake)()
	if err := s.Connect(endpoint); err != nil {
		return nil, fmt.Errorf("freelance: %w", err)
	}
	if err := s.SendFrames(message...); err != nil {
		return nil, fmt.Errorf("freelance: %s: %w", endpoint, err)
	}
	for until := c.now() + c.cfg.Timeout; ; {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		reply, err := s.RecvFrames()
		if err == nil && len(reply) > 1 && len(reply[0]) == 0 {
			return reply[1:], nil
		}
		if err == nil {
			c.malformed()
			continue
		}
		if !errors.Is(err, zsock.ErrAgain) {
			return nil, fmt.Errorf("freelance: %s: %w", endpoint, err)
		}
		left := until - c.now()
		if left <= 0 {
			return nil, zsock.ErrAgain
		}
		if _, err := w.Wait(nil, max(left, time.Millisecond)); err != nil {
			return nil, fmt.Errorf("freelance: %w", err)
		}
	}
}

func (c *Client) malformed() {
	c.mu.Lock()
	c.counters.Malformed++
	c.mu.Unlock()
}
