package resync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/control/freelance"
	"github.com/tapedeck/tapedeck/internal/zsock"
)

// ClientConfig is what a Client is made from. The zero value of a field means its
// default.
type ClientConfig struct {
	// Endpoints of the servers, the best first. At least one. Who is asked is chosen by
	// who is alive, and who answers: a freelance.Chooser knows it for all requests.
	Endpoints []string
	// Context that inproc servers share; it is borrowed until Run returns. Default: one
	// of its own.
	Context *zsock.Context
	// WindowBytes is how much a server may send ahead of what has been taken, per
	// request. Default 8 MiB.
	WindowBytes int64
	// ChunkBytes is the payload wished for in a message. Default 256 KiB.
	ChunkBytes int
	// Deadline is for how long a server that cannot send anything for a request
	// keeps it. Default 10 s.
	Deadline time.Duration
	// Silence is after how long a server that owes an answer, and does not even
	// answer a ping, is taken for gone. Default 2 s.
	Silence time.Duration
	// Switch is after how long a silence a server that owes an answer is left for another
	// one, where that has spoken since, and this one has not failed before. Default a
	// quarter of Silence.
	Switch time.Duration
	// Attempts is how often every server is asked in vain, in Find, Snapshot and
	// Refill, before they fail. Default 5.
	Attempts int
	// Backoff is the pause after the first round of all servers; it doubles up to
	// BackoffMax. Defaults 50 ms and 2 s.
	Backoff, BackoffMax time.Duration
}

func (c *ClientConfig) fill() error {
	if len(c.Endpoints) == 0 {
		return errors.New("resync: no endpoint of a server")
	}
	if c.WindowBytes < 0 || c.ChunkBytes < 0 || c.ChunkBytes > MessageMax || c.Deadline < 0 || c.Silence < 0 ||
		c.Switch < 0 || c.Attempts < 0 || c.Backoff < 0 || c.BackoffMax < 0 {
		return errors.New("resync: a size, time or number is negative or too large")
	}
	c.Endpoints = slices.Clone(c.Endpoints)
	c.WindowBytes = or(c.WindowBytes, 8<<20)
	c.ChunkBytes = or(c.ChunkBytes, 256<<10)
	c.Deadline = or(c.Deadline, 10*time.Second)
	c.Silence = or(c.Silence, 2*time.Second)
	c.Switch = or(c.Switch, c.Silence/4)
	c.Attempts = or(c.Attempts, 5)
	c.Backoff = or(c.Backoff, 50*time.Millisecond)
	c.BackoffMax = max(or(c.BackoffMax, 2*time.Second), c.Backoff)
	return nil
}

// or returns v, or its default where it is 0.
func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Errors of a Client.
var (
	// ErrNoAnswer: a server said nothing for ClientConfig.Silence.
	ErrNoAnswer = errors.New("resync: the server does not answer")
	// ErrStuck: a server answers pings, and not the request.
	ErrStuck = errors.New("resync: the server answers pings, and not the request")
	// ErrForgotten: a server has forgotten a request, by a restart or because the
	// connection broke.
	ErrForgotten = errors.New("resync: the server has lost the request")
	// ErrDigest: what came is not what the server says that it has sent.
	ErrDigest = errors.New("resync: count or digest differs from what the server sent")
	// ErrClosed: the Client does not run any more.
	ErrClosed = errors.New("resync: client is closed")
)

// ClientStats are what a Client has seen.
type ClientStats struct {
	Requests  uint64 // sent, repetitions included
	Bytes     uint64 // received, payload and order or places
	Refused   uint64 // messages that were not of the protocol
	Stray     uint64 // messages of requests that were over
	NoAnswer  uint64 // times that a server was taken for gone
	Forgotten uint64 // requests that a server had lost
	Restarts  uint64 // times that a server turned out to be another run than before
}

// Client asks resync servers. Its methods may be called concurrently, before Run
// as well; nothing is sent while Run does not run. One goroutine, that of Run,
// owns the sockets and never waits for whoever takes what arrived: the window
// bounds what is not taken yet.
type Client struct {
	cfg     ClientConfig
	servers []*server
	zctx    *zsock.Context // while Run runs, whose goroutine owns it and what is watched
	watched []watched
	ready   []watched   // scratch
	world   zsock.World // nil: the world
	now     func() time.Time
	begun   time.Time

	mu      sync.Mutex // guards what follows, and the outboxes and streams' queues
	chooser *freelance.Chooser
	last    RequestID
	streams map[RequestID]*stream
	order   []*stream     // the same, in the order of their ids
	waiter  *zsock.Waiter // while Run runs
	over    error         // why nothing runs any more
	free    []*zsock.Message

	requests, bytes, refused, stray, noAnswer, forgotten, restarts atomic.Uint64
}

// server is one of a Client's servers. The goroutine of Run owns it, but for what
// the Client's lock guards.
type server struct {
	endpoint string
	socket   *zsock.Socket // nil: not before again
	monitor  *zsock.Monitor
	stands   bool       // its connection does
	again    time.Time  // when another socket may be opened, at the soonest
	outbox   [][][]byte // messages to be sent; guarded by Client.mu
	pending  int        // requests without an end; guarded by Client.mu
	heard    time.Time  // something came, or the server began to owe an answer
	spoke    time.Time  // something came
	pinged   time.Time  // while it was not asked for anything
	run      uint64     // what its pongs say, to tell restarts

	surveyed int // finds that want every server's answer; guarded by Client.mu

	requests, bytes, lacked uint64 // see ServerStats; guarded by Client.mu
}

// NewClient checks cfg. Nothing is opened before Run.
func NewClient(cfg ClientConfig) (*Client, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, streams: map[RequestID]*stream{}, now: time.Now}
	if cfg.Context != nil && cfg.Context.World() != nil {
		c.world = cfg.Context.World()
		c.now = func() time.Time { return time.Unix(0, 0).Add(c.world.Now()) }
	}
	c.begun = c.now()
	if c.world != nil {
		c.begun = time.Unix(0, 0) // so that since is the world's time
	}
	for _, e := range cfg.Endpoints {
		c.servers = append(c.servers, &server{endpoint: e})
	}
	c.chooser = freelance.NewChooser(len(c.servers), restFirst, restMost)
	return c, nil
}

// Servers is how many servers can be asked.
func (c *Client) Servers() int { return len(c.servers) }

// Stats returns what was seen so far.
func (c *Client) Stats() ClientStats {
	return ClientStats{
		Requests: c.requests.Load(), Bytes: c.bytes.Load(), Refused: c.refused.Load(), Stray: c.stray.Load(),
		NoAnswer: c.noAnswer.Load(), Forgotten: c.forgotten.Load(), Restarts: c.restarts.Load(),
	}
}

// Run serves the Client until the context ends, and returns its error. Requests
// that are not through then fail with ErrClosed. It may be called once.
func (c *Client) Run(ctx context.Context) (err error) {
	defer func() { c.shut(err) }()
	zctx := c.cfg.Context
	if zctx == nil {
		own, err := zsock.NewContext(zsock.NoCPU)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, own.Close()) }()
		zctx = own
	}
	c.zctx = zctx
	defer func() {
		for _, s := range c.servers {
			err = errors.Join(err, s.hangUp())
		}
	}()
	waiter, err := zctx.NewWaiter()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, waiter.Close()) }()
	defer context.AfterFunc(ctx, waiter.Wake)()
	c.mu.Lock()
	c.waiter = waiter
	c.mu.Unlock()
	return c.serve(ctx, waiter)
}

// shut fails whatever waits, and whatever comes.
func (c *Client) shut(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over, c.waiter = ErrClosed, nil
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		c.over = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	for _, s := range slices.Clone(c.order) {
		c.finish(s, nil, c.over)
	}
	for _, s := range c.servers {
		s.outbox = nil
	}
	for _, m := range c.free {
		m.Close()
	}
	c.free = nil
}

// send puts a message into a server's outbox. c.mu is held.
func (c *Client) sendLocked(server int, frames ...[]byte) {
	c.servers[server].outbox = append(c.servers[server].outbox, frames)
	if c.waiter != nil {
		c.waiter.Wake()
	}
}

// begin sends a request, whose frames encode makes of its id.
func (c *Client) begin(server int, want Command, encode func(id RequestID) ([][]byte, error)) *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	s := &stream{client: c, id: c.last, server: server, want: want, ready: make(chan struct{}, 1)}
	frames, err := encode(s.id)
	if err == nil {
		err = c.over
	}
	if err != nil {
		s.over, s.err = true, err
		s.wake()
		return s
	}
	c.requests.Add(1)
	c.streams[s.id] = s
	c.order = append(c.order, s)
	srv := c.servers[server]
	srv.requests++
	now := c.now()
	if srv.pending == 0 {
		srv.heard = now
	}
	srv.pending++
	s.heard, s.brought = now, now
	c.sendLocked(server, frames...)
	return s
}

// finish ends a stream: with its end, or with an error. c.mu is held.
func (c *Client) finish(s *stream, end *End, err error) {
	if s.over {
		return
	}
	s.over, s.end, s.err = true, end, err
	delete(c.streams, s.id)
	c.order = slices.DeleteFunc(c.order, func(o *stream) bool { return o == s })
	c.servers[s.server].pending--
	s.wake()
}

// message returns an empty message. c.mu is held.
func (c *Client) message() *zsock.Message {
	n := len(c.free)
	if n == 0 {
		return zsock.NewMessage()
	}
	m := c.free[n-1]
	c.free = c.free[:n-1]
	return m
}

// messagesFree is how many empty messages are kept.
const messagesFree = 256

// recycle takes a message back. c.mu is held.
func (c *Client) recycle(m *zsock.Message) {
	if m == nil {
		return
	}
	if c.over != nil || len(c.free) >= messagesFree {
		m.Close()
		return
	}
	m.Clear()
	c.free = append(c.free, m)
}
