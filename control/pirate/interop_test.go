package pirate

import (
	"testing"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// Peers as the guide has them, by their frames alone.

// TestForeignWorkerAndClient: a DEALER worker and a REQ client of others, at our
// queue. Every frame is as 6/PPP says.
func TestForeignWorkerAndClient(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	q, _ := runQueue(t, QueueConfig{Clients: []string{"tcp://127.0.0.1:*"}, Workers: []string{"tcp://127.0.0.1:*"}})
	clients, workers := q.Endpoints()

	w := zsocktest.NewPeer(t, ctx, zsock.DEALER)
	w.Connect(workers[0])
	w.Send("\x01")
	w.Want(w.Recv(), "\x02") // an idle worker is sent heartbeats
	w.Send("\x02")

	c := zsocktest.NewPeer(t, ctx, zsock.REQ)
	c.Connect(clients[0])
	for _, body := range []string{"1", "2", ""} {
		c.Send(body)
		m := recvWork(w, 0)
		if len(m) != 3 || len(m[0]) == 0 {
			t.Fatalf("got %q, want [client][][body]", m)
		}
		w.Want(m[1:], "", body)
		w.Send(m...)
		c.Want(c.Recv(), body)
	}

	// A DEALER client that sends the empty frame itself; a body of several frames.
	d := zsocktest.NewPeer(t, ctx, zsock.DEALER)
	d.Connect(clients[0])
	d.Send("", "a", "", "b")
	m := recvWork(w, 0)
	w.Want(m[1:], "", "a", "", "b")
	w.Send(m[0], "", "reply", "of two frames")
	d.Want(d.Recv(), "", "reply", "of two frames")

	// What is none of the protocol is counted, and harms nobody.
	w.Send("\x04")
	w.Send("READY")
	w.Send("no address")
	w.Send("", "no address")
	d.Send("no empty frame")
	d.Send("no body", "")
	d.Send("", "x")
	w.Want(recvWork(w, 0)[1:], "", "x")
	zsocktest.Until(func() bool { return q.Counters().Malformed == 6 })
}

// TestForeignQueue: our worker at a ROUTER of others.
func TestForeignQueue(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	r := zsocktest.NewPeer(t, ctx, zsock.ROUTER)
	if err := r.Socket.MustReach(); err != nil {
		t.Fatal(err)
	}
	endpoint, err := r.Socket.Bind("tcp://127.0.0.1:*")
	if err != nil {
		t.Fatal(err)
	}
	w, stop := runWorker(t, WorkerConfig{Endpoint: endpoint, Handler: echo("w")})

	m := r.Recv()
	id := m[0]
	r.Want(m[1:], "\x01") // first of all READY
	r.Send(id, "\x02")
	m = r.Recv()
	r.Want(m, id, "\x02")
	r.Send(id, "nonsense")
	r.Send(id, "c1", "", "body", "more")
	r.Want(recvWork(r, 1), id, "c1", "", "w", "body", "more")
	// A client behind two ROUTERs, and one with a number.
	r.Send(id, "c1", "c2", "", "x")
	r.Want(recvWork(r, 1), id, "c1", "c2", "", "w", "x")
	number := string(AppendNumber(nil, 7, false))
	r.Send(id, "c1", "", number, "x")
	r.Want(recvWork(r, 1), id, "c1", "", number, "w", "x")
	// Two requests at once, as a queue with the guide's flaw sends them.
	r.Send(id, "c1", "", "1")
	r.Send(id, "c2", "", "2")
	r.Want(recvWork(r, 1), id, "c1", "", "w", "1")
	r.Want(recvWork(r, 1), id, "c2", "", "w", "2")
	if c := w.Counters(); c.Malformed != 1 {
		t.Errorf("%+v", c)
	}

	// It leaves with DOWN, and does what crosses with it.
	stopping := make(chan struct{})
	go func() { stop(); close(stopping) }()
	r.Want(recvWork(r, 1), id, "\x03")
	r.Send(id, "c1", "", "crossed")
	r.Want(recvWork(r, 1), id, "c1", "", "w", "crossed")
	r.Want(recvWork(r, 1), id, "\x03")
	r.Send(id, "\x03")
	<-stopping
}

// TestForeignQueueFallsSilent: the worker comes again, as another, with READY, and
// again, until the queue has work for it.
func TestForeignQueueFallsSilent(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	r := zsocktest.NewPeer(t, ctx, zsock.ROUTER)
	endpoint, err := r.Socket.Bind("tcp://127.0.0.1:*")
	if err != nil {
		t.Fatal(err)
	}
	w, _ := runWorker(t, WorkerConfig{Endpoint: endpoint, Handler: echo("w"), Liveness: 5})
	seen := map[string]bool{}
	for m := recvWork(r, 1); ; m = recvWork(r, 1) {
		if len(m) > 2 {
			r.Want(m[1:], "c1", "", "w", "still there")
			break
		}
		if m[1] == "\x01" && seen[m[0]] {
			t.Errorf("%q came again as the same", m[0])
		}
		if seen[m[0]] = true; len(seen) > 2 {
			r.Send(m[0], "c1", "", "still there") // it may be gone again by now
		}
	}
	if c := w.Counters(); c.Lost < 2 || c.Dismissed != 0 {
		t.Errorf("%+v", c)
	}
}

// TestHeartbeatInFlight: the guide's flaw. A heartbeat that a worker sent before
// its request arrived must not make it ready again.
func TestHeartbeatInFlight(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	q, _ := runQueue(t, QueueConfig{Clients: []string{"inproc://c"}, Workers: []string{"inproc://w"}, Context: ctx})
	w := zsocktest.NewPeer(t, ctx, zsock.DEALER)
	w.Connect("inproc://w")
	w.Send("\x01")
	c := zsocktest.NewPeer(t, ctx, zsock.DEALER)
	c.Connect("inproc://c")
	c.Send("", "1")
	first := recvWork(w, 0)
	w.Send("\x02") // as if it had crossed
	w.Send("\x05") // counted, so that the one before it has been taken in
	zsocktest.Until(func() bool { return q.Counters().Malformed == 1 })
	c.Send("", "2")
	zsocktest.Until(func() bool { return q.State().Waiting == 1 })
	for {
		m, err := w.Socket.TryRecvFrame()
		if err != nil {
			break
		}
		t.Errorf("a worker at work was sent %q", m)
	}
	w.Send(first...)
	c.Want(c.Recv(), "", "1")
	second := recvWork(w, 0)
	w.Want(second[1:], "", "2")
}

// TestForeignWorkerDies: a worker of others takes a request and says nothing more.
// Another one gets it; what the first one says later is dropped.
func TestForeignWorkerDies(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	var k zsocktest.Clock
	q := runQueueBy(t, &k, QueueConfig{Clients: []string{"inproc://c"}, Workers: []string{"inproc://w"}, Context: ctx, BusySilence: 10 * beat})
	dying := zsocktest.NewPeer(t, ctx, zsock.DEALER)
	dying.Connect("inproc://w")
	dying.Send("\x01")
	c := zsocktest.NewPeer(t, ctx, zsock.REQ)
	c.Connect("inproc://c")
	c.Send("x")
	request := recvWork(dying, 0)
	k.Pass(beat/4, func() bool { return q.Counters().Requeued == 1 })
	runWorker(t, WorkerConfig{Endpoint: "inproc://w", Context: ctx, Handler: echo("w")})
	c.Want(c.Recv(), "w", "x")
	zsocktest.Until(func() bool { return q.Counters().Answered == 1 })
	if n := q.Counters(); n.Requeued != 1 || n.Expired != 1 {
		t.Errorf("%+v", n)
	}
	dying.Send(request...)
	zsocktest.Until(func() bool { return q.Counters().Late == 1 })
	if n := q.Counters(); n.Answered != 1 {
		t.Errorf("%+v", n)
	}
}

// TestLateAnswerIsWelcome: the worker that was thought dead answers before
// another is there.
func TestLateAnswerIsWelcome(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	var k zsocktest.Clock
	q := runQueueBy(t, &k, QueueConfig{Clients: []string{"inproc://c"}, Workers: []string{"inproc://w"}, Context: ctx, BusySilence: 10 * beat})
	w := zsocktest.NewPeer(t, ctx, zsock.DEALER)
	w.Connect("inproc://w")
	w.Send("\x01")
	c := zsocktest.NewPeer(t, ctx, zsock.REQ)
	c.Connect("inproc://c")
	c.Send("x")
	request := recvWork(w, 0)
	k.Pass(beat/4, func() bool { return q.Counters().Requeued == 1 })
	w.Send("\x02")
	w.Send(request...)
	c.Want(c.Recv(), "x")
}
