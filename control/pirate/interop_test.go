package pirate

import (
	"testing"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// Peers as the guide has them, by their frames alone.

// TestForeignWorkerAndClient: a DEALER worker and a REQ client of others, at our
// queue. Every frame is as 6/PPP says.
func TestForeignWorkerAndClient(t *testing.T) {
	ctx := newContext(t)
	q, _ := runQueue(t, QueueConfig{Clients: []string{"tcp://127.0.0.1:*"}, Workers: []string{"tcp://127.0.0.1:*"}})
	clients, workers := q.Endpoints()

	w := newRaw(t, ctx, zsock.DEALER)
	w.connect(workers[0])
	w.send("\x01")
	w.want(w.recv(), "\x02") // an idle worker is sent heartbeats
	w.send("\x02")

	c := newRaw(t, ctx, zsock.REQ)
	c.connect(clients[0])
	for _, body := range []string{"1", "2", ""} {
		c.send(body)
		m := w.recvWork(0)
		if len(m) != 3 || len(m[0]) == 0 {
			t.Fatalf("got %q, want [client][][body]", m)
		}
		w.want(m[1:], "", body)
		w.send(m...)
		c.want(c.recv(), body)
	}

	// A DEALER client that sends the empty frame itself; a body of several frames.
	d := newRaw(t, ctx, zsock.DEALER)
	d.connect(clients[0])
	d.send("", "a", "", "b")
	m := w.recvWork(0)
	w.want(m[1:], "", "a", "", "b")
	w.send(m[0], "", "reply", "of two frames")
	d.want(d.recv(), "", "reply", "of two frames")

	// What is none of the protocol is counted, and harms nobody.
	w.send("\x04")
	w.send("READY")
	w.send("no address")
	w.send("", "no address")
	d.send("no empty frame")
	d.send("no body", "")
	d.send("", "x")
	w.want(w.recvWork(0)[1:], "", "x")
	until(func() bool { return q.Counters().Malformed == 6 })
}

// TestForeignQueue: our worker at a ROUTER of others.
func TestForeignQueue(t *testing.T) {
	ctx := newContext(t)
	r := newRaw(t, ctx, zsock.ROUTER)
	if err := r.s.MustReach(); err != nil {
		t.Fatal(err)
	}
	endpoint, err := r.s.Bind("tcp://127.0.0.1:*")
	if err != nil {
		t.Fatal(err)
	}
	w, stop := runWorker(t, WorkerConfig{Endpoint: endpoint, Handler: echo("w")})

	m := r.recv()
	id := m[0]
	r.want(m[1:], "\x01") // first of all READY
	r.send(id, "\x02")
	m = r.recv()
	r.want(m, id, "\x02")
	r.send(id, "nonsense")
	r.send(id, "c1", "", "body", "more")
	r.want(r.recvWork(1), id, "c1", "", "w", "body", "more")
	// A client behind two ROUTERs, and one with a number.
	r.send(id, "c1", "c2", "", "x")
	r.want(r.recvWork(1), id, "c1", "c2", "", "w", "x")
	number := string(AppendNumber(nil, 7, false))
	r.send(id, "c1", "", number, "x")
	r.want(r.recvWork(1), id, "c1", "", number, "w", "x")
	// Two requests at once, as a queue with the guide's flaw sends them.
	r.send(id, "c1", "", "1")
	r.send(id, "c2", "", "2")
	r.want(r.recvWork(1), id, "c1", "", "w", "1")
	r.want(r.recvWork(1), id, "c2", "", "w", "2")
	if c := w.Counters(); c.Malformed != 1 {
		t.Errorf("%+v", c)
	}

	// It leaves with DOWN, and does what crosses with it.
	stopping := make(chan struct{})
	go func() { stop(); close(stopping) }()
	r.want(r.recvWork(1), id, "\x03")
	r.send(id, "c1", "", "crossed")
	r.want(r.recvWork(1), id, "c1", "", "w", "crossed")
	r.want(r.recvWork(1), id, "\x03")
	r.send(id, "\x03")
	<-stopping
}

// TestForeignQueueFallsSilent: the worker comes again, as another, with READY, and
// again, until the queue has work for it.
func TestForeignQueueFallsSilent(t *testing.T) {
	ctx := newContext(t)
	r := newRaw(t, ctx, zsock.ROUTER)
	endpoint, err := r.s.Bind("tcp://127.0.0.1:*")
	if err != nil {
		t.Fatal(err)
	}
	w, _ := runWorker(t, WorkerConfig{Endpoint: endpoint, Handler: echo("w"), Liveness: 5})
	seen := map[string]bool{}
	for m := r.recvWork(1); ; m = r.recvWork(1) {
		if len(m) > 2 {
			r.want(m[1:], "c1", "", "w", "still there")
			break
		}
		if m[1] == "\x01" && seen[m[0]] {
			t.Errorf("%q came again as the same", m[0])
		}
		if seen[m[0]] = true; len(seen) > 2 {
			r.send(m[0], "c1", "", "still there") // it may be gone again by now
		}
	}
	if c := w.Counters(); c.Lost < 2 || c.Dismissed != 0 {
		t.Errorf("%+v", c)
	}
}

// TestHeartbeatInFlight: the guide's flaw. A heartbeat that a worker sent before
// its request arrived must not make it ready again.
func TestHeartbeatInFlight(t *testing.T) {
	ctx := newContext(t)
	q, _ := runQueue(t, QueueConfig{Clients: []string{"inproc://c"}, Workers: []string{"inproc://w"}, Context: ctx})
	w := newRaw(t, ctx, zsock.DEALER)
	w.connect("inproc://w")
	w.send("\x01")
	c := newRaw(t, ctx, zsock.DEALER)
	c.connect("inproc://c")
	c.send("", "1")
	first := w.recvWork(0)
	w.send("\x02") // as if it had crossed
	w.send("\x05") // counted, so that the one before it has been taken in
	until(func() bool { return q.Counters().Malformed == 1 })
	c.send("", "2")
	until(func() bool { return q.State().Waiting == 1 })
	for {
		m, err := w.s.TryRecvFrame()
		if err != nil {
			break
		}
		t.Errorf("a worker at work was sent %q", m)
	}
	w.send(first...)
	c.want(c.recv(), "", "1")
	second := w.recvWork(0)
	w.want(second[1:], "", "2")
}

// TestForeignWorkerDies: a worker of others takes a request and says nothing more.
// Another one gets it; what the first one says later is dropped.
func TestForeignWorkerDies(t *testing.T) {
	ctx := newContext(t)
	var k clock
	q := runQueueBy(t, &k, QueueConfig{Clients: []string{"inproc://c"}, Workers: []string{"inproc://w"}, Context: ctx, BusySilence: 10 * beat})
	dying := newRaw(t, ctx, zsock.DEALER)
	dying.connect("inproc://w")
	dying.send("\x01")
	c := newRaw(t, ctx, zsock.REQ)
	c.connect("inproc://c")
	c.send("x")
	request := dying.recvWork(0)
	k.pass(func() bool { return q.Counters().Requeued == 1 })
	runWorker(t, WorkerConfig{Endpoint: "inproc://w", Context: ctx, Handler: echo("w")})
	c.want(c.recv(), "w", "x")
	until(func() bool { return q.Counters().Answered == 1 })
	if n := q.Counters(); n.Requeued != 1 || n.Expired != 1 {
		t.Errorf("%+v", n)
	}
	dying.send(request...)
	until(func() bool { return q.Counters().Late == 1 })
	if n := q.Counters(); n.Answered != 1 {
		t.Errorf("%+v", n)
	}
}

// TestLateAnswerIsWelcome: the worker that was thought dead answers before
// another is there.
func TestLateAnswerIsWelcome(t *testing.T) {
	ctx := newContext(t)
	var k clock
	q := runQueueBy(t, &k, QueueConfig{Clients: []string{"inproc://c"}, Workers: []string{"inproc://w"}, Context: ctx, BusySilence: 10 * beat})
	w := newRaw(t, ctx, zsock.DEALER)
	w.connect("inproc://w")
	w.send("\x01")
	c := newRaw(t, ctx, zsock.REQ)
	c.connect("inproc://c")
	c.send("x")
	request := w.recvWork(0)
	k.pass(func() bool { return q.Counters().Requeued == 1 })
	w.send("\x02")
	w.send(request...)
	c.want(c.recv(), "x")
}
