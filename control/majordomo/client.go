package majordomo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// ClientConfig is what a Client is made from. The zero value of a field means its
// default.
type ClientConfig struct {
	// Endpoints of brokers. At least one. The client is at one at a time, and goes
	// to the next one when that falls silent.
	Endpoints []string
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
type Client struct{}

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
func NewClient(cfg ClientConfig) (*Client, error) { return nil, errUnfinished }

// Request has a request answered and returns the frames of the reply, without a
// number, which are the caller's. The frames given are copied. It waits where
// Outstanding requests are held. The error is an *UnansweredError, ErrClosed or
// ErrRequest; when ctx ends the request ends with it, and may still be done.
func (c *Client) Request(ctx context.Context, service string, frames ...[]byte) ([][]byte, error) {
	return nil, errUnfinished
}

// Go is Request for bulk work: it returns when the request is taken in, and done is
// called once, with the reply or the error, on the client's goroutine. The frames
// given are copied; those of the reply are borrowed until done returns. done must
// not block. Go waits where Outstanding requests are held, so done must not call it.
// An ErrRequest, ErrClosed and the end of ctx while it waits are given to done
// before Go returns.
func (c *Client) Go(ctx context.Context, service string, frames [][]byte, done func(reply [][]byte, err error)) {
	done(nil, errUnfinished)
}

// Counters returns what was counted so far. Any goroutine may call it.
func (c *Client) Counters() ClientCounters { return ClientCounters{} }

// Close ends the client: what is outstanding ends with ErrClosed. It waits until
// that is told, and may be called more than once.
func (c *Client) Close() error { return nil }
