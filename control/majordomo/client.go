package majordomo

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// ClientConfig is what a Client is made from. The zero value of a field means its
// default.
type ClientConfig struct {
	// Endpoints of brokers. At least one. The client is at one at a time. Of several it
	// looks for one that takes requests, and looks again when its connection ends, when
	// it is refused because that one is the passive one of a pair, or stops, and when it
	// has been silent for two Heartbeats.
	Endpoints []string
	// Heartbeat is how long one of several brokers, from which a reply is waited for,
	// may say nothing; then it is asked whether it is there. Default 500 ms.
	Heartbeat time.Duration
	// Local: the client lives in the process of a broker. Of a pair that has lost sight
	// of one another its requests say nothing that the broker does not know.
	Local bool
	// Context that an inproc broker is in; it is borrowed until Close. Default: one
	// of its own.
	Context *zsock.Context
	// Timeout is how long one try waits for its reply. It must be longer than the
	// slowest service takes. Default 2.5 s.
	Timeout time.Duration
	// Tries is how many tries a request has. To send it again because the
	// connection broke is none. Default 3.
	Tries int
	// Backoff and BackoffMax are the first and the longest wait between tries.
	// Default 100 ms and 5 s.
	Backoff, BackoffMax time.Duration
	// Outstanding bounds how many requests are held at once. Default 1000.
	Outstanding int
	// ReplyBytes bounds a frame of a reply, bytes. Default 128 MiB.
	ReplyBytes int64
	// Plain are services whose workers know nothing of number frames: their
	// requests carry none, and go one at a time. See Client.
	Plain []string
}

// Client has requests answered by services. Any goroutine may use it; many
// requests are on their way at once.
//
// Each request carries a number as the first frame of its body, by which its reply
// is known. The client holds a request until it is answered and sends it again
// when a try has timed out, when the broker failed it for a reason that may pass,
// and, all that are outstanding, when the connection has broken and come back. A
// broker of ours does not do again what it has in hand; but a request may be done
// twice, so services must not mind, or know the repeat.
//
// Replies of workers that do not give the number back are matched, too. Where one
// such reply comes while the service has one request outstanding, it is the answer
// to that one, unless that was sent more than once; else nobody can say, and those
// that are outstanding are sent again. Either way the service is known from then
// on: its requests go one at a time, each after a timeout on a new connection, so
// that a late reply meets nobody. They still carry the number, as a body's first
// frame. A service that must not see it is one to name in ClientConfig.Plain.
type Client struct {
	cfg    ClientConfig
	own    *zsock.Context // nil where it was given
	zctx   *zsock.Context
	waiter *zsock.Waiter
	calls  sync.Pool
	loop   clientLoop

	mu       sync.Mutex
	ended    chan struct{} // closed when the loop has ended; nil: it has not begun
	held     int           // requests that are in hand
	room     chan struct{} // closed when there is room again; nil: nobody waits
	incoming []*call
	given    []given // up by their callers
	closed   bool
	broken   error // why the loop has ended by itself
	last     uint64
	counters ClientCounters
}

// Errors of a Client.
var (
	// ErrUnanswered: a request has been given up. The error is an *UnansweredError.
	ErrUnanswered = errors.New("majordomo: no reply")
	// ErrClosed: the client is closed.
	ErrClosed = errors.New("majordomo: client is closed")
	// ErrRequest: a request cannot be sent as it is: the name of the service is
	// empty or longer than 255 bytes, or it has too many frames.
	ErrRequest = errors.New("majordomo: bad request")
)

// UnansweredError says what was tried for a request that was given up.
type UnansweredError struct {
	Service   string
	Endpoints []string // that it was sent to, each once; none: no broker was there
	Tries     int      // that ended
	Reasons   []string // "timeout", or a broker's Reason; each once
	Err       error    // what ended it before all tries were made, or nil
}

// Error implements error.
func (e *UnansweredError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v from service %s", ErrUnanswered, e.Service)
	if len(e.Endpoints) > 0 {
		fmt.Fprintf(&b, " at %s", strings.Join(e.Endpoints, ", "))
	}
	if e.Tries > 0 {
		fmt.Fprintf(&b, " (%d tries: %s)", e.Tries, strings.Join(e.Reasons, ", "))
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

// For reports whether a broker gave this reason.
func (e *UnansweredError) For(r Reason) bool { return slices.Contains(e.Reasons, string(r)) }

// NewClient checks cfg. Nothing is connected before the first request.
func NewClient(cfg ClientConfig) (*Client, error) {
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("majordomo: a client needs endpoints")
	}
	if cfg.Timeout < 0 || cfg.Tries < 0 || cfg.Heartbeat < 0 || cfg.Backoff < 0 || cfg.BackoffMax < 0 || cfg.Outstanding < 0 || cfg.ReplyBytes < 0 {
		return nil, errors.New("majordomo: a number of the client is negative")
	}
	orDefault(&cfg.Timeout, 2500*time.Millisecond)
	orDefault(&cfg.Tries, 3)
	orDefault(&cfg.Heartbeat, 500*time.Millisecond)
	orDefault(&cfg.Backoff, 100*time.Millisecond)
	orDefault(&cfg.BackoffMax, max(5*time.Second, cfg.Backoff))
	orDefault(&cfg.Outstanding, 1000)
	orDefault(&cfg.ReplyBytes, 128<<20)
	cfg.Endpoints, cfg.Plain = slices.Clone(cfg.Endpoints), slices.Clone(cfg.Plain)
	c := &Client{cfg: cfg, zctx: cfg.Context}
	c.calls.New = func() any { return newCall() }
	if c.zctx == nil {
		ctx, err := zsock.NewContext(zsock.NoCPU)
		if err != nil {
			return nil, fmt.Errorf("majordomo: client: %w", err)
		}
		c.own, c.zctx = ctx, ctx
	}
	c.last = c.firstNumber()
	w, err := c.zctx.NewWaiter()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("majordomo: client: %w", err), c.Close())
	}
	c.waiter = w
	c.loop.init(c)
	return c, nil
}

// firstNumber is where the numbers of a client begin: nobody else's are near.
func (c *Client) firstNumber() uint64 {
	if w := c.zctx.World(); w != nil {
		return uint64(w.Random()*(1<<53))<<10 | numbersOfTheirOwn
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // it does not fail
	return binary.LittleEndian.Uint64(b[:])>>1 | numbersOfTheirOwn
}

// Request has a request answered and returns the frames of the reply, without a
// number, which are the caller's. The frames given are copied. It waits where
// Outstanding requests are held. The error is an *UnansweredError, ErrClosed or
// ErrRequest; when ctx ends the request ends with it, and may still be done.
func (c *Client) Request(ctx context.Context, service string, frames ...[]byte) ([][]byte, error) {
	if err := check(service, frames); err != nil {
		return nil, err
	}
	k := c.calls.Get().(*call)
	k.set(service, frames)
	if err := c.submit(ctx, k); err != nil {
		c.recycle(k)
		return nil, err
	}
	var answer answer
	if w := c.zctx.World(); w != nil {
		w.Sleep(-1, func() bool { return len(k.answered) > 0 })
		answer = <-k.answered
		c.recycle(k)
		return answer.reply, answer.err
	}
	select {
	case answer = <-k.answered:
	case <-ctx.Done():
		c.giveUp(k, k.number, context.Cause(ctx))
		answer = <-k.answered
	}
	c.recycle(k)
	return answer.reply, answer.err
}

// Go is Request for bulk work: it returns when the request is taken in, and done is
// called once, with the reply or the error, on the client's goroutine. The frames
// given are copied; those of the reply are borrowed until done returns. done must
// not block. Go waits where Outstanding requests are held, so done must not call it.
// An ErrRequest, ErrClosed and the end of ctx while it waits are given to done
// before Go returns.
func (c *Client) Go(ctx context.Context, service string, frames [][]byte, done func(reply [][]byte, err error)) {
	if err := check(service, frames); err != nil {
		done(nil, err)
		return
	}
	k := c.calls.Get().(*call)
	k.set(service, frames)
	k.done = done
	if err := c.submit(ctx, k); err != nil {
		c.recycle(k)
		done(nil, err)
	}
}

func check(service string, frames [][]byte) error {
	if len(service) == 0 || len(service) > serviceNameMax {
		return fmt.Errorf("%w: the name of a service has 1 to %d bytes", ErrRequest, serviceNameMax)
	}
	if len(frames) > framesMax/2 {
		return fmt.Errorf("%w: %d frames, at most %d", ErrRequest, len(frames), framesMax/2)
	}
	return nil
}

// submit hands a request over to the loop, when there is room.
func (c *Client) submit(ctx context.Context, k *call) error {
	if err := c.enter(ctx, k); err != nil {
		return err
	}
	c.waiter.Wake()
	return nil
}

func (c *Client) enter(ctx context.Context, k *call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return ErrClosed
		case c.broken != nil:
			return c.broken
		case ctx.Err() != nil:
			return &UnansweredError{Service: k.service(), Err: context.Cause(ctx)}
		}
		if c.held < c.cfg.Outstanding {
			break
		}
		c.await(ctx)
	}
	c.held++
	c.last++
	k.number = c.last
	if k.done != nil && ctx.Done() != nil {
		number := k.number
		k.unwatch = context.AfterFunc(ctx, func() { c.giveUp(k, number, context.Cause(ctx)) })
	}
	c.incoming = append(c.incoming, k)
	c.counters.Requests++
	if c.ended == nil {
		c.ended = make(chan struct{})
		c.zctx.Go(c.run)
	}
	return nil
}

// await waits until there may be room, or ctx ends. The lock is held before and
// after, not while it waits.
func (c *Client) await(ctx context.Context) {
	if c.room == nil {
		c.room = make(chan struct{})
	}
	room := c.room
	c.mu.Unlock()
	defer c.mu.Lock()
	select {
	case <-room:
	case <-ctx.Done():
	}
}

// given is a request that nobody waits for any more. The number says whether the
// call still is that request.
type given struct {
	call   *call
	number uint64
	cause  error
}

func (c *Client) giveUp(k *call, number uint64, cause error) {
	c.mu.Lock()
	c.given = append(c.given, given{k, number, cause})
	c.mu.Unlock()
	c.waiter.Wake()
}

func (c *Client) recycle(k *call) {
	k.reset()
	c.calls.Put(k)
}

// Counters returns what was counted so far. Any goroutine may call it.
func (c *Client) Counters() ClientCounters {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counters
}

// Close ends the client: what is outstanding ends with ErrClosed. It waits until
// that is told, so done must not call it. It may be called more than once.
func (c *Client) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	ended := c.ended
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
	c.mu.Unlock()
	if ended != nil {
		c.waiter.Wake()
		<-ended
	}
	if !first {
		return nil
	}
	var errs []error
	if c.waiter != nil {
		errs = append(errs, c.waiter.Close())
	}
	if c.own != nil {
		errs = append(errs, c.own.Close())
	}
	return errors.Join(errs...)
}
