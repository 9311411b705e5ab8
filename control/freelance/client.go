package freelance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// Strategy is how a client asks its servers.
type Strategy uint8

// The strategies: models 1, 2 and 3 of the guide.
const (
	Routed     Strategy = iota // the best one, by who is alive
	Sequential                 // one after the other
	Shotgun                    // all at once
)

// String returns the strategy's name.
func (s Strategy) String() string {
	switch s {
	case Routed:
		return "routed"
	case Sequential:
		return "sequential"
	case Shotgun:
		return "shotgun"
	}
	return fmt.Sprintf("strategy %d", uint8(s))
}

// ClientConfig is what a Client is made from. The zero value of a field means its
// default.
type ClientConfig struct {
	// Endpoints of the servers, the best first; for Routed each as the server names
	// itself. At least one.
	Endpoints []string
	Strategy  Strategy
	// Context that inproc servers are in; borrowed until Close. Default: one of its own.
	Context *zsock.Context
	// Timeout is how long one try waits for an answer. Default 1 s.
	Timeout time.Duration
	// Tries is how often a request is sent, over all servers. Default: three times to
	// each.
	Tries int
	// Ping is how often servers are pinged, with Routed, and Dead after what silence
	// one does not count as alive. Defaults 2 s and 6 s.
	Ping, Dead time.Duration
	// Rest is how long a server that fails is left alone; it doubles with each failure,
	// up to RestMax. Defaults 200 ms and 10 s.
	Rest, RestMax time.Duration
	// ReplyBytes bounds a frame of a reply, bytes. Default 16 MiB.
	ReplyBytes int64
	// Outstanding bounds the requests that wait for answers. Default 1000.
	Outstanding int
}

func (cfg *ClientConfig) fill() error {
	if len(cfg.Endpoints) == 0 {
		return errors.New("freelance: no endpoint of a server")
	}
	if cfg.Strategy > Shotgun {
		return fmt.Errorf("freelance: %v is none", cfg.Strategy)
	}
	if cfg.Timeout < 0 || cfg.Tries < 0 || cfg.Ping < 0 || cfg.Dead < 0 || cfg.Rest < 0 || cfg.RestMax < 0 || cfg.ReplyBytes < 0 || cfg.Outstanding < 0 {
		return errors.New("freelance: a number of the client is negative")
	}
	orDefault(&cfg.Timeout, time.Second)
	orDefault(&cfg.Tries, 3*len(cfg.Endpoints))
	orDefault(&cfg.Ping, 2*time.Second)
	orDefault(&cfg.Dead, 6*time.Second)
	orDefault(&cfg.Rest, 200*time.Millisecond)
	orDefault(&cfg.RestMax, 10*time.Second)
	orDefault(&cfg.ReplyBytes, 16<<20)
	orDefault(&cfg.Outstanding, 1000)
	return nil
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Errors of requests.
var (
	// ErrUnanswered: every try of a request has ended without an answer.
	ErrUnanswered = errors.New("freelance: no server has answered")
	// ErrBusy: as many requests as the configuration allows wait already.
	ErrBusy = errors.New("freelance: too many requests wait")
	// ErrClosed: the client has ended.
	ErrClosed = errors.New("freelance: closed")
)

// Client asks servers. Its methods may be called from any goroutine.
type Client struct {
	cfg  ClientConfig
	own  *zsock.Context // nil where it was given
	ctx  *zsock.Context
	now  func() time.Duration
	loop *loop // nil with Sequential

	mu       sync.Mutex // over what follows; with a loop, over its machine, too
	chooser  *Chooser
	counters Counters
	closed   bool
}

// Counters are what a Client has counted.
type Counters struct {
	Requests   uint64
	Answered   uint64
	Unanswered uint64
	Repeated   uint64 // tries after the first
	Late       uint64 // answers that nobody waited for any more, a shotgun's others among them
	Malformed  uint64 // messages that are none of the protocol
}

// ServerStatus is how a server fares, as a client sees it.
type ServerStatus struct {
	Endpoint string
	Alive    bool // heard of late; unknown with Sequential
	Resting  bool // it has failed, and is left alone for a while
	Answered uint64
	Failed   uint64
}

// NewClient opens the sockets and connects; servers need not be there yet.
func NewClient(cfg ClientConfig) (*Client, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	begun := time.Now()
	c := &Client{cfg: cfg, ctx: cfg.Context, now: func() time.Duration { return time.Since(begun) }}
	if c.ctx == nil {
		ctx, err := zsock.NewContext(zsock.NoCPU)
		if err != nil {
			return nil, fmt.Errorf("freelance: %w", err)
		}
		c.own, c.ctx = ctx, ctx
	}
	if cfg.Strategy == Sequential {
		c.chooser = NewChooser(len(cfg.Endpoints), cfg.Rest, cfg.RestMax)
		return c, nil
	}
	if err := c.startLoop(); err != nil {
		return nil, errors.Join(fmt.Errorf("freelance: %w", err), c.Close())
	}
	return c, nil
}

// Request asks, and returns the frames of the answer, which are the caller's, and the
// endpoint of who gave it. The frames that are sent are copied. It ends with ctx.
func (c *Client) Request(ctx context.Context, frames ...[]byte) (reply [][]byte, endpoint string, err error) {
	if err := c.count(); err != nil {
		return nil, "", err
	}
	if c.loop == nil {
		reply, endpoint, err = c.sequential(ctx, frames)
	} else {
		reply, endpoint, err = c.loop.request(ctx, frames)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.counters.Answered++
	} else {
		c.counters.Unanswered++
	}
	return reply, endpoint, err
}

func (c *Client) count() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.counters.Requests++
	return nil
}

// Counters returns what was counted so far.
func (c *Client) Counters() Counters {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.counters
	if c.loop != nil {
		n.Repeated, n.Late = c.loop.m.repeated, c.loop.m.late
	}
	return n
}

// Servers returns how the servers fare, in the order of the configuration.
func (c *Client) Servers() []ServerStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	list := make([]ServerStatus, len(c.cfg.Endpoints))
	for i, e := range c.cfg.Endpoints {
		answered, failed := c.chooser.Counts(i)
		list[i] = ServerStatus{Endpoint: e, Alive: c.chooser.Alive(i, now), Resting: c.chooser.Resting(i, now), Answered: answered, Failed: failed}
	}
	return list
}

// Close ends the client; requests that wait end with ErrClosed. It may be called more
// than once.
func (c *Client) Close() error {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	c.mu.Unlock()
	if closed {
		return nil
	}
	var err error
	if c.loop != nil {
		err = c.loop.close()
	}
	if c.own != nil {
		err = errors.Join(err, c.own.Close())
	}
	return err
}

// unanswered is the error of a request that nobody has answered.
func (c *Client) unanswered() error {
	return fmt.Errorf("%w: asked %s, %d times in all", ErrUnanswered, strings.Join(c.cfg.Endpoints, ", "), c.cfg.Tries)
}
