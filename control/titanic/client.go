package titanic

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/control/majordomo"
)

// ErrStatus: the server said 500, or something that is none of the protocol. It may
// be asked again later.
var ErrStatus = errors.New("titanic: the server could not do it")

// ClientConfig is what a Client is made from.
type ClientConfig struct {
	// Bus is the client of the bus. It is borrowed.
	Bus *majordomo.Client
	// First and Most are the first and the longest pause of Wait between two
	// questions. Default 100 ms and 5 s.
	First, Most time.Duration
}

// Client is the client of a 9/TSP server, ours or another's. Any goroutine may use it.
//
// Its requests carry the numbers of the majordomo.Client. So a server of ours
// stores a request once, however often it had to be sent; one of others stores it
// as often as it arrives.
//
// IDs are text here, for what somebody else's server means by one is its business:
// it gets back what it gave. Of a server of ours, ParseID and ID.String convert.
type Client struct{ cfg ClientConfig }

// NewClient checks cfg.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Bus == nil || cfg.First < 0 || cfg.Most < 0 {
		return nil, errors.New("titanic: a client needs a client of the bus, and pauses that are not negative")
	}
	orDefault(&cfg.First, 100*time.Millisecond)
	orDefault(&cfg.Most, max(5*time.Second, cfg.First))
	return &Client{cfg}, nil
}

// Request has a job stored: when it returns the job is safe and will be done. The
// frames are copied. Keep the ID where it is safe, too. The error is ErrJob, ErrStatus
// or that of the bus; then the job may be there or not.
func (c *Client) Request(ctx context.Context, service string, body ...[]byte) (id string, err error) {
	j := Job{Service: service, Body: body}
	if err := j.check(BytesMax); err != nil {
		return "", err
	}
	code, rest, err := c.ask(ctx, ServiceRequest, append([][]byte{[]byte(service)}, body...)...)
	switch {
	case err != nil:
		return "", err
	case code == "400":
		return "", fmt.Errorf("%w: the server does not take it", ErrJob)
	case code != "200" || len(rest) == 0 || len(rest[0]) == 0:
		return "", fmt.Errorf("%w: it answered %s to %s", ErrStatus, code, ServiceRequest)
	}
	return string(rest[0]), nil
}

// Reply asks for the reply. ready is false while there is none yet; the frames are
// the caller's. The error is ErrUnknown where there will be none, ErrStatus, or that
// of the bus.
func (c *Client) Reply(ctx context.Context, id string) (reply [][]byte, ready bool, err error) {
	code, rest, err := c.ask(ctx, ServiceReply, []byte(id))
	switch {
	case err != nil:
		return nil, false, err
	case code == "200":
		return rest, true, nil
	case code == "300":
		return nil, false, nil
	case code == "400":
		return nil, false, fmt.Errorf("%w: %s", ErrUnknown, id)
	}
	return nil, false, fmt.Errorf("%w: it answered %s to %s", ErrStatus, code, ServiceReply)
}

// Close has the job forgotten, with its reply. A job that is not known is no error.
func (c *Client) Close(ctx context.Context, id string) error {
	code, _, err := c.ask(ctx, ServiceClose, []byte(id))
	if err == nil && code != "200" {
		err = fmt.Errorf("%w: it answered %s to %s", ErrStatus, code, ServiceClose)
	}
	return err
}

// Wait asks for the reply until it is there, after a short pause, then after longer
// ones. A server that is away or says 500 is asked again, too; a job that it does
// not know is ErrUnknown. When ctx ends it returns with its cause, and what the
// server said last.
func (c *Client) Wait(ctx context.Context, id string) ([][]byte, error) {
	pause := c.cfg.First
	for {
		reply, ready, err := c.Reply(ctx, id)
		if ready || errors.Is(err, ErrUnknown) || errors.Is(err, majordomo.ErrClosed) {
			return reply, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), err)
		case <-time.After(pause):
		}
		pause = min(2*pause, c.cfg.Most)
	}
}

// ask asks one of the services, and returns the three digits of the status and what
// is behind it.
func (c *Client) ask(ctx context.Context, service string, frames ...[]byte) (code string, rest [][]byte, err error) {
	reply, err := c.cfg.Bus.Request(ctx, service, frames...)
	if err != nil {
		return "", nil, err
	}
	if len(reply) == 0 || len(reply[0]) < 3 || len(reply[0]) > 3 && reply[0][3] != ' ' {
		return "", nil, fmt.Errorf("%w: its answer has no status", ErrStatus)
	}
	return string(reply[0][:3]), reply[1:], nil
}
