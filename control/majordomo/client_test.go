package majordomo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// answers counts how often each of many requests was answered, and with what.
type answers struct {
	t    *testing.T
	all  sync.WaitGroup
	mu   sync.Mutex
	seen map[string]int
}

// ask has n requests answered that are told from each other by their bodies.
func (a *answers) ask(c *Client, service string, n int) {
	if a.seen == nil {
		a.seen = map[string]int{}
	}
	for i := range n {
		body := fmt.Sprint(i)
		a.all.Add(1)
		c.Go(context.Background(), service, byteFrames([]string{body}), func(reply [][]byte, err error) {
			if err != nil || len(reply) == 0 || string(reply[len(reply)-1]) != body {
				a.t.Errorf("%s: got %q, %v", body, reply, err)
			}
			a.mu.Lock()
			a.seen[body]++
			a.mu.Unlock()
			a.all.Done()
		})
	}
}

func (a *answers) wait() {
	a.all.Wait()
	for body, n := range a.seen {
		if n != 1 {
			a.t.Errorf("%s was answered %d times", body, n)
		}
	}
}

// TestClientPipelines: many requests over one connection, to several workers; each
// is answered with its own reply.
func TestClientPipelines(t *testing.T) {
	b, _ := runBroker(t, BrokerConfig{})
	runWorker(t, WorkerConfig{Endpoints: b.Endpoints(), Handler: echo("w"), Concurrency: 4})
	runWorker(t, WorkerConfig{Endpoints: b.Endpoints(), Handler: echo("v"), Prefetch: 16, Concurrency: 2})
	zsocktest.Until(func() bool { return b.State().Workers == 6 })
	c := newClient(t, ClientConfig{Endpoints: b.Endpoints()})
	a := answers{t: t}
	a.ask(c, "echo", 5000)
	a.wait()
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			for j := range 50 {
				body := fmt.Sprint(i, j)
				if reply, err := c.Request(context.Background(), "echo", []byte(body)); err != nil || string(reply[1]) != body {
					t.Errorf("%s: got %q, %v", body, reply, err)
				}
			}
		})
	}
	all.Wait()
	zsocktest.Until(func() bool { return c.Counters().Answered == 6000 })
	if n := c.Counters(); n.Answered != 6000 || n.Sent != 6000 || n.GivenUp+n.Late+n.Mismatched+n.Malformed != 0 {
		t.Errorf("%+v", n)
	}
	if n := b.Counters(); n.Requests != 6000 || n.Failed() != 0 {
		t.Errorf("%+v", n)
	}
}

// TestBrokerRestart: the broker goes away with 1000 requests in its hands, waiting
// and at work, and comes back. Nobody's time runs out, and yet every request is
// answered, once: the client knows that the connection is a new one.
func TestBrokerRestart(t *testing.T) {
	endpoint := "ipc://" + t.TempDir() + "/bus"
	k := startBroker(t, endpoint)
	const n = 1000
	gate := make(chan struct{})
	var handled atomic.Int64
	runWorker(t, WorkerConfig{Endpoints: []string{endpoint}, Concurrency: 4, Handler: func(_ context.Context, r [][]byte) Reply {
		handled.Add(1)
		<-gate
		return Reply{Frames: [][]byte{slices.Clone(r[0])}}
	}})
	c := newClient(t, ClientConfig{Endpoints: []string{endpoint}, Outstanding: n})
	a := answers{t: t}
	a.ask(c, "echo", n)
	zsocktest.Until(func() bool { return handled.Load() == 4 && c.Counters().Sent == n })
	k.kill()
	startBroker(t, endpoint)
	close(gate)
	a.wait()
	zsocktest.Until(func() bool { return c.Counters().Answered == n })
	if got := c.Counters(); got.Answered != n || got.GivenUp != 0 || got.Resent == 0 || got.Unanswered != 0 {
		t.Errorf("%+v", got)
	}
	// Those four were done twice, as nobody can know that they were done.
	if got := handled.Load(); got > n+8 {
		t.Errorf("%d requests were handled %d times", n, got)
	}
}

// TestBrokerFlaps: the broker is killed again and again while requests go on.
func TestBrokerFlaps(t *testing.T) {
	endpoint := "ipc://" + t.TempDir() + "/bus"
	k := startBroker(t, endpoint)
	runWorker(t, WorkerConfig{Endpoints: []string{endpoint}, Handler: echo("w"), Prefetch: 16})
	runWorker(t, WorkerConfig{Endpoints: []string{endpoint}, Handler: echo("v"), Concurrency: 2})
	c := newClient(t, ClientConfig{Endpoints: []string{endpoint}, Outstanding: 100, Timeout: 50 * beat, Tries: 1_000_000, BackoffMax: 2 * beat})
	a := answers{t: t}
	for range 5 {
		a.seen = nil
		a.ask(c, "echo", 1000)
		k.kill()
		k = startBroker(t, endpoint)
		a.wait()
	}
	zsocktest.Until(func() bool { return c.Counters().Answered == 5000 })
	if got := c.Counters(); got.GivenUp != 0 {
		t.Errorf("%+v", got)
	}
}

// TestSilentBroker: a broker that says nothing is left for another one.
func TestSilentBroker(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	silent := zsocktest.NewPeer(t, ctx, zsock.ROUTER)
	b, _ := runBroker(t, BrokerConfig{})
	runWorker(t, WorkerConfig{Endpoints: b.Endpoints(), Handler: echo("w")})
	endpoints := append([]string{silent.Bind("tcp://127.0.0.1:*")}, b.Endpoints()...)
	c := newClient(t, ClientConfig{Endpoints: endpoints, Timeout: beat, Tries: 1_000_000, BackoffMax: 2 * beat})
	ask(t, c, "echo", []string{"x"}, "w", "x")
	zsocktest.Until(func() bool { n := c.Counters(); return n.Unanswered > 0 && n.Answered == 1 })
}

// TestClientIsToldWhy: what a broker says is in the error.
func TestClientIsToldWhy(t *testing.T) {
	b, _ := runBroker(t, BrokerConfig{UnknownLife: beat, RequestBytes: 1000})
	c := newClient(t, ClientConfig{Endpoints: b.Endpoints(), Tries: 2})
	_, err := c.Request(t.Context(), "nobody's", []byte("x"))
	var u *UnansweredError
	if !errors.As(err, &u) || !errors.Is(err, ErrUnanswered) || u.Tries != 2 || !u.For(ReasonNoWorker) || len(u.Endpoints) != 1 || u.Service != "nobody's" {
		t.Errorf("got %+v", err)
	}
	_, err = c.Request(t.Context(), "nobody's", make([]byte, 2000))
	if !errors.As(err, &u) || u.Tries != 1 || !u.For(ReasonTooLarge) {
		t.Errorf("got %+v", err)
	}
	zsocktest.Until(func() bool { n := c.Counters(); return n.GivenUp == 2 && n.Failed == 3 && n.Sent == 3 })
}

// TestNobodyThere: no broker is there at all.
func TestNobodyThere(t *testing.T) {
	c := newClient(t, ClientConfig{Endpoints: []string{"ipc://" + t.TempDir() + "/none"}, Timeout: beat, Tries: 2})
	_, err := c.Request(t.Context(), "echo", []byte("x"))
	var u *UnansweredError
	if !errors.As(err, &u) || u.Tries != 2 || len(u.Endpoints) != 0 || !u.For("timeout") {
		t.Errorf("got %+v", err)
	}
	zsocktest.Until(func() bool { n := c.Counters(); return n.Sent == 0 && n.Unanswered == 2 })
}

// TestRequestEndsWithItsContext, waiting for room or for its reply.
func TestRequestEndsWithItsContext(t *testing.T) {
	b, _ := runBroker(t, BrokerConfig{})
	entered, gate := make(chan struct{}, 10), make(chan struct{})
	runWorker(t, WorkerConfig{Endpoints: b.Endpoints(), Handler: func(context.Context, [][]byte) Reply {
		entered <- struct{}{}
		<-gate
		return Reply{}
	}})
	c := newClient(t, ClientConfig{Endpoints: b.Endpoints(), Outstanding: 1})
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 2)
	c.Go(ctx, "echo", nil, func(_ [][]byte, err error) { ended <- err })
	<-entered
	go func() { // there is no room
		_, err := c.Request(ctx, "echo")
		ended <- err
	}()
	cancel(why)
	for range 2 {
		if err := <-ended; !errors.Is(err, ErrUnanswered) || !errors.Is(err, why) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := c.Request(ctx, "echo"); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	close(gate)
	ask(t, c, "echo", nil, "") // and there is room again; no frame is one empty frame
	zsocktest.Until(func() bool { return c.Counters().Late == 1 })
}

// TestClose: what is outstanding ends, and what comes after it.
func TestClose(t *testing.T) {
	c := newClient(t, ClientConfig{Endpoints: []string{"ipc://" + t.TempDir() + "/none"}, Outstanding: 2})
	ended := make(chan error, 3)
	for range 2 {
		c.Go(t.Context(), "echo", nil, func(_ [][]byte, err error) { ended <- err })
	}
	go func() {
		_, err := c.Request(t.Context(), "echo")
		ended <- err
	}()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for range 3 {
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := c.Request(t.Context(), "echo"); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	never, err := NewClient(ClientConfig{Endpoints: []string{"inproc://x"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(never.Close(), never.Close()); err != nil { // that never asked
		t.Error(err)
	}
}

// TestBadRequests are refused before they are sent.
func TestBadRequests(t *testing.T) {
	c := newClient(t, ClientConfig{Endpoints: []string{"inproc://x"}})
	for _, r := range []struct {
		service string
		frames  int
	}{{"", 1}, {string(make([]byte, 256)), 1}, {"echo", framesMax}} {
		if _, err := c.Request(t.Context(), r.service, make([][]byte, r.frames)...); !errors.Is(err, ErrRequest) {
			t.Errorf("got %v", err)
		}
		c.Go(t.Context(), r.service, make([][]byte, r.frames), func(_ [][]byte, err error) {
			if !errors.Is(err, ErrRequest) {
				t.Errorf("got %v", err)
			}
		})
	}
	for _, cfg := range []ClientConfig{{}, {Endpoints: []string{"x"}, Tries: -1}, {Endpoints: []string{"x"}, Timeout: -1}} {
		if _, err := NewClient(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
	bad, err := NewClient(ClientConfig{Endpoints: []string{"nonsense"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bad.Request(t.Context(), "echo"); err == nil || errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := bad.Request(t.Context(), "echo"); err == nil || errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	if err := bad.Close(); err != nil {
		t.Error(err)
	}
}

// forgetful is a worker of others that gives no number back: [re:<body>].
func forgetful(t *testing.T, ctx *zsock.Context, endpoint string) {
	w := zsocktest.NewPeer(t, ctx, zsock.DEALER)
	w.Connect(endpoint)
	w.Send("", "MDPW01", "\x01", "forgetful")
	waiter, err := zsock.NewWaiter(w.Socket)
	if err != nil {
		t.Fatal(err)
	}
	run := func(ctx context.Context) error {
		defer context.AfterFunc(ctx, waiter.Wake)()
		in := zsock.NewInbox()
		defer in.Close()
		for ctx.Err() == nil {
			ready, err := waiter.Wait(nil, zsock.Forever)
			if err != nil {
				return err
			}
			if len(ready) == 0 {
				continue
			}
			m := w.Recv()
			if m[2] == "\x02" {
				w.Send("", "MDPW01", "\x03", m[3], "", m[len(m)-1])
			}
		}
		return nil
	}
	zsocktest.Background(t, run, waiter.Close)
}

// TestWorkersWithoutNumbers: replies that carry none are to the right requests all
// the same, with one in hand and with many, at several workers.
func TestWorkersWithoutNumbers(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	b, _ := runBroker(t, BrokerConfig{})
	for range 3 {
		forgetful(t, ctx, b.Endpoints()[0])
	}
	runWorker(t, WorkerConfig{Endpoints: b.Endpoints(), Handler: echo("w")})
	zsocktest.Until(func() bool { return b.State().Workers == 4 })

	one := newClient(t, ClientConfig{Endpoints: b.Endpoints()})
	for range 3 {
		ask(t, one, "forgetful", []string{"x"}, "x")
	}
	zsocktest.Until(func() bool { n := one.Counters(); return n.Mismatched == 0 && n.Sent == 3 && n.Answered == 3 })
	many := newClient(t, ClientConfig{Endpoints: b.Endpoints()})
	forgotten, numbered := answers{t: t}, answers{t: t}
	numbered.ask(many, "echo", 100)
	forgotten.ask(many, "forgetful", 100)
	numbered.ask(many, "echo", 0)
	forgotten.wait()
	numbered.wait()
	named := newClient(t, ClientConfig{Endpoints: b.Endpoints(), Plain: []string{"forgetful"}})
	plain := answers{t: t}
	plain.ask(named, "forgetful", 100)
	plain.wait()
	zsocktest.Until(func() bool { n := named.Counters(); return n.Sent == 100 && n.Answered == 100 && n.Late == 0 })
}

// TestLateReplyMeetsNobody: the reply to a request that was given up, of a worker
// that gives no number back, is not taken for the one to the next request.
func TestLateReplyMeetsNobody(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	r := zsocktest.NewPeer(t, ctx, zsock.ROUTER)
	c := newClient(t, ClientConfig{Endpoints: []string{r.Bind("tcp://127.0.0.1:*")}, Plain: []string{"plain"}})
	for _, service := range []string{"plain", "not known to be"} {
		giveUp, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		c.Go(giveUp, service, byteFrames([]string{"1"}), func(_ [][]byte, err error) { first <- err })
		one := r.Recv()
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		second := make(chan string, 1)
		c.Go(t.Context(), service, byteFrames([]string{"2"}), func(reply [][]byte, err error) { second <- fmt.Sprintf("%q %v", reply, err) })
		two := r.Recv()
		r.Send(one[0], "", "MDPC01", service, "to 1")
		if service != "plain" {
			two = r.Recv() // again, for nobody could say what the reply was to
		}
		r.Send(two[0], "", "MDPC01", service, "to 2")
		if got := <-second; got != `["to 2"] <nil>` {
			t.Errorf("%s: got %s", service, got)
		}
	}
	zsocktest.Until(func() bool { n := c.Counters(); return n.Mismatched == 1 && n.Answered == 2 })
}

// TestOutstandingIsBounded: requests wait for room, and none is lost.
func TestOutstandingIsBounded(t *testing.T) {
	b, _ := runBroker(t, BrokerConfig{})
	gate := make(chan struct{})
	runWorker(t, WorkerConfig{Endpoints: b.Endpoints(), Handler: func(_ context.Context, r [][]byte) Reply {
		<-gate
		return Reply{Frames: [][]byte{slices.Clone(r[0])}}
	}})
	c := newClient(t, ClientConfig{Endpoints: b.Endpoints(), Outstanding: 10})
	a := answers{t: t}
	asked := make(chan struct{})
	go func() {
		a.ask(c, "echo", 100)
		close(asked)
	}()
	zsocktest.Until(func() bool { return b.State().Open == 10 })
	select {
	case <-asked:
		t.Error("all were taken in")
	default:
	}
	close(gate)
	<-asked
	a.wait()
	if n := b.Counters(); n.Requests != 100 {
		t.Errorf("%+v", n)
	}
}

// TestInprocBrokerRestart: without connections that tell, by a timeout.
func TestInprocBrokerRestart(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	cfg := BrokerConfig{Endpoints: []string{"inproc://bus"}, Context: ctx}
	_, stop := runBroker(t, cfg)
	runWorker(t, WorkerConfig{Endpoints: cfg.Endpoints, Context: ctx, Handler: echo("w"), Liveness: 5})
	c := newClient(t, ClientConfig{Endpoints: cfg.Endpoints, Context: ctx, Timeout: 5 * beat, Tries: 1_000_000, BackoffMax: 2 * beat})
	ask(t, c, "echo", []string{"x"}, "w", "x")
	stop()
	runBroker(t, cfg)
	ask(t, c, "echo", []string{"y"}, "w", "y")
}
