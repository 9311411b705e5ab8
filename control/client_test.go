package control

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// direct is a bus that hands requests to a service, each as often as times says,
// and answers with the last reply.
type direct struct {
	s     *Service
	times int
	err   error
}

func (d *direct) Request(ctx context.Context, _ string, frames ...[]byte) ([][]byte, error) {
	var reply [][]byte
	for range max(d.times, 1) {
		reply = d.s.Handle(ctx, frames).Frames
	}
	return reply, d.err
}

func TestClient(t *testing.T) {
	n := 0
	s := newService(t, ServiceConfig{}, counter(&n, false))
	c := NewClient(&direct{s: s, times: 3})
	var result struct{ N int }
	for want := 1; want <= 3; want++ {
		if err := c.Do(t.Context(), "test", "count", map[string]int{"a": want}, &result); err != nil || result.N != want {
			t.Fatalf("%d, %v", result.N, err)
		}
	}
	if err := c.Do(t.Context(), "test", "count", nil, nil); err != nil {
		t.Error(err)
	}
	// The same number is the same command.
	if err := c.Again(t.Context(), 3, "test", "count", map[string]int{"a": 3}, &result); err != nil || result.N != 3 || n != 4 {
		t.Errorf("%d, done %d times, %v", result.N, n, err)
	}
	var refused *Error
	if err := c.Do(t.Context(), "test", "nothing", nil, nil); !errors.As(err, &refused) || refused.Code != NoCommand || refused.Try == "" {
		t.Errorf("%v", err)
	}
	if err := c.Do(t.Context(), "test", "count", []int{1}, nil); err == nil || !strings.Contains(err.Error(), "args is no object") {
		t.Errorf("%v", err)
	}
}

// TestClientAsksAgain: the service waits a millisecond only, and the command ends
// when it has been asked for three times.
func TestClientAsksAgain(t *testing.T) {
	end := make(chan struct{})
	var deadline bool
	s := newService(t, ServiceConfig{Patience: time.Millisecond}, Command{Name: "slow", Do: func(ctx context.Context, _ *Request) (any, error) {
		_, deadline = ctx.Deadline()
		<-end
		return map[string]bool{"ok": true}, nil
	}})
	c := NewClient(&asked{direct{s: s}, 3, end})
	var result struct{ OK bool }
	if err := c.Do(t.Context(), "test", "slow", nil, &result); err != nil || !result.OK || !deadline {
		t.Errorf("%+v, %v", result, err)
	}
	if n := s.Counters(); n.Begun != 1 || n.Pending < 3 {
		t.Errorf("%+v", n)
	}
}

// asked closes end when it has been asked so many times.
type asked struct {
	direct
	times int
	end   chan struct{}
}

func (a *asked) Request(ctx context.Context, service string, frames ...[]byte) ([][]byte, error) {
	reply, err := a.direct.Request(ctx, service, frames...)
	if a.times--; a.times == 0 {
		close(a.end)
	}
	return reply, err
}

func TestClientGivesUp(t *testing.T) {
	s := newService(t, ServiceConfig{Patience: time.Millisecond}, Command{Name: "slow", Do: func(ctx context.Context, _ *Request) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	end := make(chan struct{})
	go func() {
		<-end
		cancel()
	}()
	err := NewClient(&asked{direct{s: s}, 2, end}).Do(ctx, "test", "slow", nil, nil)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	lost := errors.New("no bus")
	if err := NewClient(&direct{s: s, err: lost}).Do(t.Context(), "test", "commands", nil, nil); !errors.Is(err, lost) {
		t.Error(err)
	}
}

// answers is a bus that answers with what it was given.
type answers [][]byte

func (a answers) Request(context.Context, string, ...[]byte) ([][]byte, error) { return a, nil }

func TestClientIsAnsweredByOthers(t *testing.T) {
	other, err := AppendReply(nil, &Reply{Client: ClientID{1}, Number: 1, Code: Done})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []answers{nil, {[]byte("hello")}, {[]byte(Signature), []byte("{}")}, other} {
		if err := NewClient(a).Do(t.Context(), "test", "x", nil, nil); !errors.Is(err, ErrReply) {
			t.Errorf("%q: %v", a, err)
		}
	}
	nobody, err := AppendReply(nil, &Reply{Code: BadRequest, Reason: "unreadable"})
	if err != nil {
		t.Fatal(err)
	}
	if err := NewClient(answers(nobody)).Do(t.Context(), "test", "x", nil, nil); !errors.Is(err, &Error{Code: BadRequest}) {
		t.Error(err)
	}
}
