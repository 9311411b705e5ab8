package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Requester is what a Client needs of the bus: a majordomo.Client.
type Requester interface {
	// Request has a request answered by a service. It may send it more than once.
	Request(ctx context.Context, service string, frames ...[]byte) (reply [][]byte, err error)
}

// Client gives commands to services. Any goroutine may use it; commands that are
// given at the same time are done in no particular order.
type Client struct {
	bus    Requester
	id     ClientID
	number atomic.Uint64
}

// ErrReply: a service answered with what is no reply to the request. What answers
// under that name speaks another schema.
var ErrReply = errors.New("control: what came is no reply to the request")

// NewClient returns a client with an id of its own. The bus is borrowed.
func NewClient(bus Requester) *Client { return &Client{bus: bus, id: NewClientID()} }

// ID returns the client's id.
func (c *Client) ID() ClientID { return c.id }

// pendingPause is how long at least it takes from one Pending to the next.
const pendingPause = 50 * time.Millisecond

// Do gives a command and waits until it is done. args becomes the object of the
// arguments, nil an empty one; the result is read into result, a pointer, or passed
// over where that is nil. The deadline of ctx is the command's.
//
// The error is an *Error where the service refused or failed the command, and
// otherwise wraps the bus's or ErrReply: then the command may have been done, or be
// done yet. To repeat it without doing it twice there is Again.
func (c *Client) Do(ctx context.Context, service, command string, args, result any) error {
	return c.Again(ctx, c.number.Add(1), service, command, args, result)
}

// Again is Do with a number that the caller chooses, from 1: the same number with
// the same command is the same command. It must not be mixed with Do on one Client.
func (c *Client) Again(ctx context.Context, number uint64, service, command string, args, result any) error {
	r := Request{Client: c.id, Number: number, Command: command}
	if args != nil {
		b, err := encode(args)
		if err != nil {
			return fmt.Errorf("control: %s %s: %w", service, command, err)
		}
		r.Args = json.RawMessage(b)
	}
	if at, ok := ctx.Deadline(); ok {
		r.Deadline = min(max(time.Until(at), time.Millisecond), DeadlineMax)
	}
	frames, err := AppendRequest(nil, &r)
	if err != nil {
		return fmt.Errorf("control: %s %s: %w", service, command, err)
	}
	reply, err := c.ask(ctx, service, &r, frames)
	if err != nil {
		return fmt.Errorf("control: %s %s: %w", service, command, err)
	}
	if err := reply.Err(); err != nil {
		return err
	}
	if result == nil {
		return nil
	}
	if reply.Result == nil {
		return fmt.Errorf("control: %s %s: %w: it has no result", service, command, ErrReply)
	}
	if err := json.Unmarshal(reply.Result, result); err != nil {
		return fmt.Errorf("control: %s %s: %w: %w", service, command, ErrReply, err)
	}
	return nil
}

// ask says a request until the reply is not Pending.
func (c *Client) ask(ctx context.Context, service string, r *Request, frames [][]byte) (*Reply, error) {
	for {
		asked := time.Now()
		answer, err := c.bus.Request(ctx, service, frames...)
		if err != nil {
			return nil, err
		}
		reply, err := ParseReply(answer)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%w: %w", ErrReply, err)
		case reply.Client == (ClientID{}) && reply.Code == BadRequest:
			return &reply, nil // it could not read who asks
		case reply.Client != r.Client || reply.Number != r.Number:
			return nil, fmt.Errorf("%w: it is to another one", ErrReply)
		case reply.Code != Pending:
			return &reply, nil
		}
		if err := pause(ctx, pendingPause-time.Since(asked)); err != nil {
			return nil, fmt.Errorf("still at work when last asked: %w", err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return context.Cause(ctx)
}
