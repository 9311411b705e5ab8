package majordomo

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// lockedTo is a context whose sockets know a server, with a name there.
func lockedTo(t *testing.T, server string) (ctx *zsock.Context, public string) {
	t.Helper()
	public, secret, err := zsock.NewCurvePair()
	if err != nil {
		t.Fatal(err)
	}
	if ctx, err = zsock.NewContext(zsock.NoCPU); err != nil {
		t.Fatal(err)
	}
	ctx.SetLock(&zsock.Lock{Public: public, Secret: secret, ServerKey: func(string) (string, error) { return server, nil }})
	t.Cleanup(func() {
		if err := ctx.Close(); err != nil {
			t.Error(err)
		}
	})
	return ctx, public
}

// TestMay: requests and workers that have no right to what they want are not taken in; a
// client is told at once, and does not ask again. Peers of the same process may do all.
func TestMay(t *testing.T) {
	if !zsock.Has("curve") {
		t.Skip("this libzmq has no CURVE")
	}
	public, secret, err := zsock.NewCurvePair()
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ctx.Close(); err != nil {
			t.Error(err)
		}
	})
	var next atomic.Value // who connects next
	next.Store("worker")
	ctx.SetLock(&zsock.Lock{Public: public, Secret: secret, Check: func(q zsock.ZAPRequest) zsock.ZAPReply {
		return zsock.ZAPReply{Allow: q.Channel == zsock.ChannelControl, User: next.Load().(string)}
	}})
	b, _ := runBroker(t, BrokerConfig{Context: ctx, Endpoints: []string{"tcp://127.0.0.1:*", "inproc://may"}, May: func(user string, worker bool, service []byte, body [][]byte) bool {
		if worker {
			return user == "worker"
		}
		return user == "boss" || user == "viewer" && string(service) == "echo" && string(body[1]) == "look"
	}})
	at := b.Endpoints()
	outside, _ := lockedTo(t, public)
	runWorker(t, WorkerConfig{Endpoints: at[:1], Context: outside, Handler: echo("w")})
	zsocktest.Until(func() bool { return b.State().Workers == 1 })
	client := func(user string) *Client {
		next.Store(user)
		own, _ := lockedTo(t, public)
		return newClient(t, ClientConfig{Endpoints: at[:1], Context: own})
	}
	ask := func(c *Client, what string) error {
		_, err := c.Request(context.Background(), "echo", []byte(what))
		return err
	}
	viewer := client("viewer")
	if err := ask(viewer, "look"); err != nil {
		t.Error(err)
	}
	var refused *UnansweredError
	if err := ask(viewer, "change"); !errors.As(err, &refused) || !refused.For(ReasonNoRight) || refused.Tries != 1 {
		t.Errorf("a viewer may change: %v", err)
	}
	if err := ask(client("boss"), "change"); err != nil {
		t.Error(err)
	}
	if err := ask(newClient(t, ClientConfig{Endpoints: at[1:], Context: ctx}), "change"); err != nil {
		t.Errorf("this process may not: %v", err)
	}
	before := b.Counters().NoRight
	next.Store("viewer")
	other, _ := lockedTo(t, public)
	runWorker(t, WorkerConfig{Endpoints: at[:1], Context: other, Service: "other", Handler: echo("x")})
	zsocktest.Until(func() bool { return b.Counters().NoRight > before })
	if st := b.State(); st.Workers != 1 {
		t.Errorf("a viewer works: %+v", st)
	}
	if before != 1 {
		t.Errorf("%d were refused before", before)
	}
}
