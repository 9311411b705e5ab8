package control

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// forever is a patience that no test outlasts.
const forever = 10 * time.Hour

func newService(t testing.TB, cfg ServiceConfig, commands ...Command) *Service {
	t.Helper()
	if cfg.Patience == 0 {
		cfg.Patience = forever
	}
	if cfg.Deadline == 0 {
		cfg.Deadline = forever
	}
	s, err := NewService("test", cfg, commands...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// ask gives a request to a service as a worker would, and returns the reply.
func ask(t testing.TB, s *Service, r *Request) Reply {
	t.Helper()
	return askUntil(t, context.Background(), s, r)
}

func askUntil(t testing.TB, ctx context.Context, s *Service, r *Request) Reply {
	t.Helper()
	frames, err := AppendRequest(nil, r)
	if err != nil {
		t.Error(err)
		return Reply{}
	}
	reply, err := ParseReply(s.Handle(ctx, frames).Frames)
	if err != nil {
		t.Error(err)
	}
	if reply.Client != r.Client || reply.Number != r.Number {
		t.Errorf("a reply to %v %d for %v %d", reply.Client, reply.Number, r.Client, r.Number)
	}
	return reply
}

func wantCode(t testing.TB, r Reply, want Code) {
	t.Helper()
	if r.Code != want {
		t.Errorf("code %d (%s; %s), want %d", r.Code, r.Reason, r.Try, want)
	}
}

func request(client byte, number uint64, command, args string) *Request {
	return &Request{Client: ClientID{client}, Number: number, Command: command, Args: json.RawMessage(args)}
}

// counter is a command that counts how often it was done.
func counter(n *int, repeat bool) Command {
	return Command{Name: "count", Repeat: repeat, Do: func(context.Context, *Request) (any, error) {
		*n++
		return map[string]int{"n": *n}, nil
	}}
}
