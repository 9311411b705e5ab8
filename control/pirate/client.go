package pirate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// ClientConfig is what a Client is made from. The zero value of a field means its
// default.
type ClientConfig struct {
	// Endpoints of queues or servers. At least one. The one that answered last is
	// asked first.
	Endpoints []string
	// Context that inproc endpoints are in; it is borrowed until Close. Default: one
	// of its own.
	Context *zsock.Context
	// Timeout is how long one try waits for its reply. It must be longer than the
	// slowest service takes. Default 2.5 s.
	Timeout time.Duration
	// Tries is how often a request is sent, over all endpoints. Default 3.
	Tries int
	// Backoff and BackoffMax are the first and the longest wait between tries.
	// Default 100 ms and 5 s.
	Backoff, BackoffMax time.Duration
	// ReplyBytes bounds a frame of a reply, bytes. Default 128 MiB.
	ReplyBytes int64
}

// Client sends requests until one is answered: a Lazy Pirate. Every try has a
// socket of its own, so that nothing of an earlier one can come in between. The
// server must not mind to see a request more than once; it knows a repeat by the
// number. A Client belongs to one goroutine.
type Client struct {
	cfg    ClientConfig
	own    *zsock.Context
	ctx    *zsock.Context
	number uint64
	first  int // endpoint that is asked first
	back   Backoff
	waiter *zsock.Waiter
	in     *zsock.Parts
	count  ClientCounters
}

// ErrUnanswered: every try of a request has ended without a reply. The error is an
// *UnansweredError.
var ErrUnanswered = errors.New("pirate: no reply")

// Attempt is how often an endpoint was asked for one request, and what came of it.
type Attempt struct {
	Endpoint string
	Tries    int
	Reasons  []string // "timeout", or a queue's reason; each once
}

// UnansweredError says which endpoints were asked for a request, and how often.
type UnansweredError struct {
	Attempts []Attempt
	Err      error // what ended it before all tries were made, or nil
}

// Error implements error.
func (e *UnansweredError) Error() string {
	var b strings.Builder
	b.WriteString(ErrUnanswered.Error())
	for i, a := range e.Attempts {
		sep := ", "
		if i == 0 {
			sep = " from "
		}
		fmt.Fprintf(&b, "%s%s (%d tries: %s)", sep, a.Endpoint, a.Tries, strings.Join(a.Reasons, ", "))
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Is makes the error match ErrUnanswered.
func (e *UnansweredError) Is(target error) bool { return target == ErrUnanswered }

// Unwrap returns what ended the request before all tries were made.
func (e *UnansweredError) Unwrap() error { return e.Err }

func (e *UnansweredError) add(endpoint, reason string) {
	i := slices.IndexFunc(e.Attempts, func(a Attempt) bool { return a.Endpoint == endpoint })
	if i < 0 {
		i = len(e.Attempts)
		e.Attempts = append(e.Attempts, Attempt{Endpoint: endpoint})
	}
	a := &e.Attempts[i]
	a.Tries++
	if !slices.Contains(a.Reasons, reason) {
		a.Reasons = append(a.Reasons, reason)
	}
}

// NewClient checks cfg. Nothing is connected before Request.
func NewClient(cfg ClientConfig) (*Client, error) {
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("pirate: a client needs endpoints")
	}
	if cfg.Timeout < 0 || cfg.Tries < 0 || cfg.Backoff < 0 || cfg.BackoffMax < 0 || cfg.ReplyBytes < 0 {
		return nil, errors.New("pirate: a number of the client is negative")
	}
	orDefault(&cfg.Timeout, 2500*time.Millisecond)
	orDefault(&cfg.Tries, 3)
	orDefault(&cfg.Backoff, 100*time.Millisecond)
	orDefault(&cfg.BackoffMax, max(5*time.Second, cfg.Backoff))
	orDefault(&cfg.ReplyBytes, 128<<20)
	cfg.Endpoints = slices.Clone(cfg.Endpoints)
	c := &Client{cfg: cfg, ctx: cfg.Context, back: Backoff{First: cfg.Backoff, Most: cfg.BackoffMax, Random: rand.Float64}}
	if c.ctx == nil {
		ctx, err := zsock.NewContext(zsock.NoCPU)
		if err != nil {
			return nil, fmt.Errorf("pirate: client: %w", err)
		}
		c.own, c.ctx = ctx, ctx
	}
	w, err := zsock.NewWaiter()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("pirate: client: %w", err), c.Close())
	}
	c.waiter, c.in = w, zsock.NewParts()
	return c, nil
}

// Counters returns what was counted so far.
func (c *Client) Counters() ClientCounters { return c.count }

// Close ends the client. It may be called more than once.
func (c *Client) Close() error {
	var errs []error
	if c.in != nil {
		c.in.Close()
	}
	if c.waiter != nil {
		errs = append(errs, c.waiter.Close())
	}
	if c.own != nil {
		errs = append(errs, c.own.Close())
	}
	c.in, c.waiter, c.own = nil, nil, nil
	return errors.Join(errs...)
}

// Request sends the frames and returns the frames of the reply, which are the
// caller's. The error is an *UnansweredError, or says why no socket could be
// opened. When ctx ends the request ends with it.
func (c *Client) Request(ctx context.Context, frames ...[]byte) ([][]byte, error) {
	if len(frames)+2 > zsock.PartsMax-2 {
		return nil, fmt.Errorf("pirate: a request of %d frames, at most %d", len(frames), zsock.PartsMax-4)
	}
	c.count.Requests++
	c.number++
	c.back.Reset()
	defer context.AfterFunc(ctx, c.waiter.Wake)()
	message := append([][]byte{frameEmpty, AppendNumber(nil, c.number, false)}, frames...)
	var failed UnansweredError
	for try := range c.cfg.Tries {
		if try > 0 {
			c.pause(ctx, c.back.Next())
		}
		if failed.Err = context.Cause(ctx); failed.Err != nil {
			return nil, &failed
		}
		i := (c.first + try) % len(c.cfg.Endpoints)
		reply, reason, err := c.try(ctx, c.cfg.Endpoints[i], message)
		if err != nil {
			return nil, fmt.Errorf("pirate: client: %w", err)
		}
		if reason == "" {
			c.first = i
			return reply, nil
		}
		failed.add(c.cfg.Endpoints[i], reason)
	}
	c.first = (c.first + 1) % len(c.cfg.Endpoints) // the next request begins elsewhere
	failed.Err = context.Cause(ctx)
	return nil, &failed
}

func (c *Client) pause(ctx context.Context, d time.Duration) {
	for until := time.Now().Add(d); ctx.Err() == nil; {
		left := time.Until(until)
		if left <= 0 || c.waiter.WaitWoken(left) != nil {
			return
		}
	}
}

// try sends the message once, on a socket of its own, and waits for the reply to
// it. A reason says why there is none.
func (c *Client) try(ctx context.Context, endpoint string, message [][]byte) (reply [][]byte, reason string, err error) {
	// A DEALER, because a REQ could not go on reading after a reply that is not the
	// one. Closing it drops what was not sent.
	s, err := c.ctx.NewSocket(zsock.DEALER, zsock.SocketConfig{MessageMax: c.cfg.ReplyBytes})
	if err != nil {
		return nil, "", err
	}
	defer func() {
		c.waiter.Watch()
		err = errors.Join(err, s.Close())
	}()
	if err := s.Connect(endpoint); err != nil {
		return nil, "", err
	}
	if err := s.SendParts(nil, 0, message...); err != nil {
		return nil, "", err
	}
	c.count.Tries++
	c.waiter.Watch(s)
	until := time.Now().Add(c.cfg.Timeout)
	for ctx.Err() == nil {
		left := time.Until(until)
		if left <= 0 {
			c.count.Unanswered++
			return nil, "timeout", nil
		}
		switch err := s.RecvParts(c.in); {
		case err == nil:
			if reply, reason, ok := c.parse(); ok {
				return reply, reason, nil
			}
			c.count.Mismatched++
		case errors.Is(err, zsock.ErrFrames):
			c.count.Mismatched++
		case errors.Is(err, zsock.ErrAgain):
			if _, err := c.waiter.Wait(nil, left); err != nil {
				return nil, "", err
			}
		default:
			return nil, "", err
		}
	}
	return nil, "stopped", nil
}

// parse takes a reply apart: [][number][frames ...].
func (c *Client) parse() (reply [][]byte, reason string, ok bool) {
	if c.in.Len() < 2 || len(c.in.Frame(0)) != 0 {
		return nil, "", false
	}
	n, failed, ok := ParseNumber(c.in.Frame(1))
	if !ok || n != c.number {
		return nil, "", false
	}
	if failed {
		c.count.Failed++
		if reason = string(c.in.Frame(2)); reason == "" {
			reason = "failed"
		}
		return nil, reason, true
	}
	for i := 2; i < c.in.Len(); i++ {
		reply = append(reply, bytes.Clone(c.in.Frame(i)))
	}
	return reply, "", true
}
