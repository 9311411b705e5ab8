package majordomo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// twoBrokers are a pair, of which a test says which one is active.
type twoBrokers struct {
	active    atomic.Int32    // 0, 1, or neither
	asked     [2]atomic.Int64 // votes or not
	votes     [2]atomic.Int64
	brokers   [2]*Broker
	stop      [2]func()
	endpoints []string
}

func newTwoBrokers(t *testing.T, cfg BrokerConfig) *twoBrokers {
	p := &twoBrokers{}
	for i := range p.brokers {
		own := cfg
		own.Accept = func(vote bool) bool {
			p.asked[i].Add(1)
			if vote {
				p.votes[i].Add(1)
			}
			return p.active.Load() == int32(i)
		}
		p.brokers[i], p.stop[i] = runBroker(t, own)
		p.endpoints = append(p.endpoints, p.brokers[i].Endpoints()[0])
	}
	return p
}

// move makes the other one active.
func (p *twoBrokers) move() {
	was := p.active.Load()
	p.active.Store(1 - was)
	p.brokers[was].Resign()
}

// once is a handler that counts what it does, and does nothing twice.
type once struct {
	mu     sync.Mutex
	done   map[string]bool
	passed chan struct{} // nil: at once
}

func (o *once) handle(_ context.Context, r [][]byte) Reply {
	if o.passed != nil {
		<-o.passed
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done == nil {
		o.done = map[string]bool{}
	}
	o.done[string(r[0])] = true
	return Reply{Frames: [][]byte{slices.Clone(r[0])}}
}

// TestPairMoves: the active one of two brokers changes again and again while requests are
// outstanding; each is answered, and nobody's time runs out.
func TestPairMoves(t *testing.T) {
	p := newTwoBrokers(t, BrokerConfig{})
	o := &once{}
	runWorker(t, WorkerConfig{Endpoints: p.endpoints, Handler: o.handle, Concurrency: 2})
	runWorker(t, WorkerConfig{Endpoints: p.endpoints, Handler: o.handle, Prefetch: 8})
	c := newClient(t, ClientConfig{Endpoints: p.endpoints})
	for range 5 {
		a := answers{t: t}
		a.ask(c, "echo", 1000)
		p.move()
		a.wait()
	}
	zsocktest.Until(func() bool { return c.Counters().Answered == 5000 })
	if n := c.Counters(); n.GivenUp+n.Unanswered+n.Silent != 0 || n.Moved == 0 {
		t.Errorf("%+v", n)
	}
	if n := p.brokers[0].Counters(); n.FailedPassive == 0 {
		t.Errorf("the first one: %+v", n)
	}
}

// TestPairTakesOver: the active one goes, and the other one refuses for a while, as it
// does until it knows that its peer is gone. Requests wait at their client, and go on in
// their order.
func TestPairTakesOver(t *testing.T) {
	p := newTwoBrokers(t, BrokerConfig{})
	var mu sync.Mutex
	var order []string
	gate := make(chan struct{})
	runWorker(t, WorkerConfig{Endpoints: p.endpoints, Handler: func(_ context.Context, r [][]byte) Reply {
		<-gate
		mu.Lock()
		defer mu.Unlock()
		order = append(order, string(r[0]))
		return Reply{Frames: [][]byte{slices.Clone(r[0])}}
	}})
	zsocktest.Until(func() bool { return p.brokers[0].State().Workers == 1 && p.brokers[1].State().Workers == 1 })
	c := newClient(t, ClientConfig{Endpoints: p.endpoints})
	a := answers{t: t}
	a.ask(c, "echo", 100)
	zsocktest.Until(func() bool { return p.brokers[0].State().Open == 100 })
	p.active.Store(-1)
	p.stop[0]()
	votes := p.votes[1].Load()
	zsocktest.Until(func() bool { return p.votes[1].Load() > votes+3 })
	p.active.Store(1)
	zsocktest.Until(func() bool { return p.brokers[1].State().Open == 100 })
	close(gate)
	a.wait()
	mu.Lock()
	defer mu.Unlock()
	// The first one was at work at the one that went.
	if len(order) != 101 {
		t.Fatalf("%d were done", len(order))
	}
	for i, body := range order[1:] {
		if body != fmt.Sprint(i) {
			t.Fatalf("%d comes as number %d", i, i)
		}
	}
}

// TestPairRefuses: where neither serves a client is told why; one broker alone that is
// passive says so, too.
func TestPairRefuses(t *testing.T) {
	p := newTwoBrokers(t, BrokerConfig{})
	p.active.Store(-1)
	for _, endpoints := range [][]string{p.endpoints, p.endpoints[:1]} {
		c := newClient(t, ClientConfig{Endpoints: endpoints, Timeout: 2 * lookFor, Tries: 2})
		_, err := c.Request(t.Context(), "echo", []byte("x"))
		var u *UnansweredError
		if !errors.As(err, &u) || !u.For(ReasonPassive) {
			t.Errorf("%d endpoints: got %v", len(endpoints), err)
		}
	}
	zsocktest.Until(func() bool {
		c := newClient(t, ClientConfig{Endpoints: p.endpoints, Timeout: 2 * lookFor, Tries: 2})
		_, _ = c.Request(t.Context(), "echo", []byte("x"))
		return p.votes[0].Load() > 0 && p.votes[1].Load() > 0
	})
}

// TestLocalIsNoWitness: a client that lives in a broker's process gives no vote.
func TestLocalIsNoWitness(t *testing.T) {
	p := newTwoBrokers(t, BrokerConfig{})
	p.active.Store(-1)
	c := newClient(t, ClientConfig{Endpoints: p.endpoints[:1], Local: true, Tries: 2})
	if _, err := c.Request(t.Context(), "echo", []byte("x")); !errors.Is(err, ErrUnanswered) {
		t.Errorf("got %v", err)
	}
	if p.votes[0].Load() != 0 || p.asked[0].Load() != 2 {
		t.Errorf("it was asked %d times, and given %d votes", p.asked[0].Load(), p.votes[0].Load())
	}
}

// TestLookIsNoVote: whoever looks which of two brokers is the active one says so, and has a
// vote only when it has been refused, and there was time for the other one.
func TestLookIsNoVote(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	r := zsocktest.NewPeer(t, ctx, zsock.ROUTER)
	at := r.Bind("tcp://127.0.0.1:*")
	c := newClient(t, ClientConfig{Endpoints: []string{at, "ipc://" + t.TempDir() + "/nobody"}})
	began := time.Now()
	c.Go(t.Context(), "echo", nil, func([][]byte, error) {})
	looks := 0
	for m := r.Recv(); len(m) == 6; m = r.Recv() {
		if m[3] != ServicePing || m[5] != "look" {
			t.Fatalf("got %q", m)
		}
		looks++
		r.Send(m[0], "", "MDPC01", ServicePing, string(pirate.AppendNumber(nil, 0, true)), string(ReasonPassive))
	}
	if took := time.Since(began); looks == 0 || took < lookFor {
		t.Errorf("it gives its vote after %v, having looked %d times", took, looks)
	}
}

// frozen is a broker that says that it is there, takes requests, and says nothing more.
func frozen(t *testing.T, r *zsocktest.Peer, frozen chan<- struct{}) {
	ping := r.Recv()
	for ; ping[3] != ServicePing; ping = r.Recv() {
		t.Errorf("the first word is %q", ping)
	}
	r.Send(ping[0], "", "MDPC01", ServicePing, "200")
	for r.Recv()[3] == ServicePing {
	}
	close(frozen)
}

// TestPairFreezes: a broker that stops with its connections standing is left when it has
// been silent for two heartbeats, however long requests may take.
func TestPairFreezes(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	r := zsocktest.NewPeer(t, ctx, zsock.ROUTER)
	at := r.Bind("tcp://127.0.0.1:*")
	var active atomic.Bool
	b, _ := runBroker(t, BrokerConfig{Accept: func(bool) bool { return active.Load() }})
	runWorker(t, WorkerConfig{Endpoints: b.Endpoints(), Handler: echo("w")})
	zsocktest.Until(func() bool { return b.State().Workers == 1 })
	c := newClient(t, ClientConfig{Endpoints: []string{at, b.Endpoints()[0]}, Heartbeat: beat, Timeout: patient})
	stopped := make(chan struct{})
	go frozen(t, r, stopped)
	answered := make(chan struct{})
	c.Go(t.Context(), "echo", byteFrames([]string{"x"}), func(reply [][]byte, err error) {
		if err != nil || string(reply[1]) != "x" {
			t.Errorf("got %q, %v", reply, err)
		}
		close(answered)
	})
	<-stopped
	active.Store(true)
	<-answered
	if n := c.Counters(); n.Silent == 0 || n.Unanswered != 0 {
		t.Errorf("%+v", n)
	}
}

// TestSlowServiceIsNoSilence: a service that takes long is waited for.
func TestSlowServiceIsNoSilence(t *testing.T) {
	p := newTwoBrokers(t, BrokerConfig{})
	o := &once{passed: make(chan struct{})}
	runWorker(t, WorkerConfig{Endpoints: p.endpoints, Handler: o.handle})
	c := newClient(t, ClientConfig{Endpoints: p.endpoints, Heartbeat: beat})
	a := answers{t: t}
	a.ask(c, "echo", 1)
	own := p.brokers[0].Counters().Own
	zsocktest.Until(func() bool { return p.brokers[0].Counters().Own > own+3 }) // it was asked whether it is there
	close(o.passed)
	a.wait()
	zsocktest.Until(func() bool { return c.Counters().Answered == 1 })
	// On a machine that stands still the request may have gone again, to the same broker.
	if n, at := c.Counters(), p.brokers[0].Counters(); n.Unanswered != 0 || n.Moved != 0 || at.Requests != 1 || at.Answered != 1 {
		t.Errorf("%+v; the broker: %+v", n, at)
	}
}

// TestBrokersOfOthers: those that know nothing of pings, or say that they do not, are used
// as ever; the first one that is there comes first.
func TestBrokersOfOthers(t *testing.T) {
	for name, answer := range map[string]bool{"says that it is not there": true, "says nothing": false} {
		ctx := zsocktest.NewContext(t)
		r := zsocktest.NewPeer(t, ctx, zsock.ROUTER)
		at := r.Bind("tcp://127.0.0.1:*")
		c := newClient(t, ClientConfig{Endpoints: []string{at, "ipc://" + t.TempDir() + "/nobody"}, Heartbeat: beat})
		done := make(chan error, 1)
		c.Go(t.Context(), "echo", byteFrames([]string{"x"}), func(reply [][]byte, err error) {
			if err == nil && string(reply[0]) != "y" {
				err = fmt.Errorf("got %q", reply)
			}
			done <- err
		})
		for {
			m := r.Recv()
			if m[3] == ServicePing {
				if _, _, ok := pirate.ParseNumber([]byte(m[4])); !ok || len(m) > 6 {
					t.Errorf("a ping is %q", m)
				}
				if answer {
					r.Send(m[0], "", "MDPC01", ServicePing, "501")
				}
				continue
			}
			r.Send(m[0], "", "MDPC01", m[3], m[4], "y")
			break
		}
		if err := <-done; err != nil {
			t.Errorf("a broker that %s: %v", name, err)
		}
	}
}

// TestIdleClientIsQuiet: nobody is asked anything where nobody waits for anything.
func TestIdleClientIsQuiet(t *testing.T) {
	p := newTwoBrokers(t, BrokerConfig{})
	runWorker(t, WorkerConfig{Endpoints: p.endpoints, Handler: echo("w")})
	c := newClient(t, ClientConfig{Endpoints: p.endpoints, Heartbeat: time.Millisecond})
	ask(t, c, "echo", []string{"x"}, "w", "x")
	p.active.Store(-1)
	p.stop[0]() // and nobody is sought
	before := p.asked[1].Load()
	b, _ := runBroker(t, BrokerConfig{Heartbeat: beat}) // a while passes
	runWorker(t, WorkerConfig{Endpoints: b.Endpoints(), Service: "other", Handler: echo("v")})
	ask(t, newClient(t, ClientConfig{Endpoints: b.Endpoints()}), "other", []string{"x"}, "v", "x")
	if n := p.asked[1].Load(); n != before {
		t.Errorf("an idle client has asked %d times", n-before)
	}
	p.active.Store(1)
	ask(t, c, "echo", []string{"y"}, "w", "y")
}
