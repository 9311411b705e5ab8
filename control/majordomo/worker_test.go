package majordomo

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// TestWorkerEveryPair: every state that a registration can be in meets every event.
func TestWorkerEveryPair(t *testing.T) {
	states := []struct {
		name string
		make func(*workerMachine)
	}{
		{"away", func(*workerMachine) {}},
		{"idle", func(m *workerMachine) { m.tick(0) }},
		{"busy", func(m *workerMachine) { m.tick(0); m.message(0, workerRequest) }},
		{"busy, told", func(m *workerMachine) { m.tick(0); m.message(0, workerRequest); m.told = true }},
		{"busy, renewing", func(m *workerMachine) { m.tick(0); m.message(0, workerRequest); m.reconnected(0) }},
		{"busy, stopping", func(m *workerMachine) { m.tick(0); m.message(0, workerRequest); m.stop() }},
		{"done", func(m *workerMachine) { m.stop() }},
	}
	events := []struct {
		name string
		do   func(*workerMachine) workerAct
	}{
		{"request", func(m *workerMachine) workerAct { return m.message(sec/2, workerRequest) }},
		{"heartbeat", func(m *workerMachine) workerAct { return m.message(sec/2, heartbeat) }},
		{"disconnect", func(m *workerMachine) workerAct { return m.message(sec/2, disconnect) }},
		{"nonsense", func(m *workerMachine) workerAct { return m.message(sec/2, invalid) }},
		{"finished", func(m *workerMachine) workerAct { return m.finished(sec/2, true) }},
		{"unsent", func(m *workerMachine) workerAct { return m.finished(sec/2, false) }},
		{"reconnected", func(m *workerMachine) workerAct { return m.reconnected(sec / 2) }},
		{"stop", func(m *workerMachine) workerAct { return m.stop() }},
		{"time to beat", func(m *workerMachine) workerAct { return m.tick(sec) }},
		{"silence", func(m *workerMachine) workerAct { m.beat = never; return m.tick(3 * sec) }},
		{"too long", func(m *workerMachine) workerAct { m.beat = never; return m.tick(10 * sec) }},
	}
	acts := []string{"", "open", "close", "beat", "start", "overdue", "goodbye"}
	words := []string{"away", "idle", "busy", "done"}
	want := map[string]string{
		"away + request": "away", "away + heartbeat": "away", "away + disconnect": "away", "away + nonsense": "away",
		"away + finished": "away", "away + unsent": "away", "away + reconnected": "away", "away + stop": "done",
		"away + time to beat": "idle open", "away + silence": "idle open", "away + too long": "idle open",

		"idle + request": "busy start", "idle + heartbeat": "idle", "idle + disconnect": "away close", "idle + nonsense": "idle",
		"idle + finished": "idle", "idle + unsent": "idle", "idle + reconnected": "away goodbye", "idle + stop": "done goodbye",
		"idle + time to beat": "idle beat", "idle + silence": "away close", "idle + too long": "away close",

		"busy + request": "busy", "busy + heartbeat": "busy", "busy + disconnect": "busy renew", "busy + nonsense": "busy",
		"busy + finished": "idle", "busy + unsent": "away close", "busy + reconnected": "busy renew", "busy + stop": "busy stopping",
		"busy + time to beat": "busy beat", "busy + silence": "busy", "busy + too long": "busy overdue",

		"busy, told + request": "busy", "busy, told + heartbeat": "busy", "busy, told + disconnect": "busy renew", "busy, told + nonsense": "busy",
		"busy, told + finished": "idle", "busy, told + unsent": "away close", "busy, told + reconnected": "busy renew", "busy, told + stop": "busy stopping",
		"busy, told + time to beat": "busy beat", "busy, told + silence": "busy", "busy, told + too long": "busy", // it does not look alive

		"busy, renewing + request": "busy renew", "busy, renewing + heartbeat": "busy renew", "busy, renewing + disconnect": "busy renew",
		"busy, renewing + nonsense": "busy renew", "busy, renewing + finished": "away close", "busy, renewing + unsent": "away close",
		"busy, renewing + reconnected": "busy renew", "busy, renewing + stop": "busy renew stopping", "busy, renewing + time to beat": "busy beat renew",
		"busy, renewing + silence": "busy renew", "busy, renewing + too long": "busy overdue renew",

		"busy, stopping + request": "busy stopping", "busy, stopping + heartbeat": "busy stopping", "busy, stopping + disconnect": "busy renew stopping",
		"busy, stopping + nonsense": "busy stopping", "busy, stopping + finished": "done goodbye stopping", "busy, stopping + unsent": "done goodbye stopping",
		"busy, stopping + reconnected": "busy renew stopping", "busy, stopping + stop": "busy stopping", "busy, stopping + time to beat": "busy beat stopping",
		"busy, stopping + silence": "busy stopping", "busy, stopping + too long": "busy overdue stopping",
	}
	for _, s := range states {
		for _, e := range events {
			m := &workerMachine{
				cfg: workerTimes{heartbeat: sec, silence: 3 * sec, work: 10 * sec}, count: &WorkerCounters{},
				back: pirate.Backoff{First: sec, Most: 8 * sec, Random: rand.Float64},
			}
			s.make(m)
			before := m.state
			act := e.do(m)
			got := strings.TrimSpace(words[m.state] + " " + acts[act])
			if m.renew {
				got += " renew"
			}
			if m.stopping && before != workerAway && before != workerIdle && before != workerDone {
				got += " stopping"
			}
			name := s.name + " + " + e.name
			w, ok := want[name]
			if s.name == "done" {
				w, ok = "done", true // whatever happens
			}
			if !ok || got != w {
				t.Errorf("%s: got %q, want %q", name, got, w)
			}
			if d := m.due(); m.state != workerDone && d <= 0 && m.state != workerAway {
				t.Errorf("%s: due at %v", name, d)
			}
		}
	}
}

// TestWorkerBacksOff: a broker that sends a worker away again and again is asked
// less and less often.
func TestWorkerBacksOff(t *testing.T) {
	m := &workerMachine{
		cfg: workerTimes{heartbeat: sec, silence: 3 * sec, work: 10 * sec}, count: &WorkerCounters{},
		back: pirate.Backoff{First: sec, Most: 8 * sec, Random: func() float64 { return 0 }},
	}
	now := time.Duration(0)
	for i, want := range []time.Duration{1, 2, 4, 8, 8} {
		if a := m.tick(now); a != workerOpen {
			t.Fatalf("%d: got %v", i, a)
		}
		if a := m.message(now, disconnect); a != workerClose {
			t.Errorf("%d: got %v", i, a)
		}
		if got := m.due() - now; got != want*sec {
			t.Errorf("%d: comes again after %v, want %v", i, got, want*sec)
		}
		now = m.due()
	}
	m.tick(now)
	m.message(now, heartbeat) // it may stay
	if a := m.message(now, disconnect); a != workerClose || m.due()-now != sec {
		t.Errorf("got %v, and comes again after %v", a, m.due()-now)
	}
}

// TestWorkerBeatsAtWork: so the broker does not take it for dead, however long the
// handler takes.
func TestWorkerBeatsAtWork(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	r := zsocktest.NewPeer(t, ctx, zsock.ROUTER)
	gate := make(chan struct{})
	runWorker(t, WorkerConfig{Endpoints: []string{r.Bind("tcp://127.0.0.1:*")}, Handler: func(context.Context, [][]byte) Reply {
		<-gate
		return Reply{}
	}})
	id := r.Recv()[0]
	r.Send(id, "", "MDPW01", "\x02", "c", "", "x")
	for range 5 {
		r.Want(r.Recv(), id, "", "MDPW01", "\x04")
	}
	close(gate)
	r.Want(recvWork(r, 1), id, "", "MDPW01", "\x03", "c", "", "")
}

// TestWorkerThatTakesTooLong: its context ends, it does not look alive any more, and
// the request goes to another.
func TestWorkerThatTakesTooLong(t *testing.T) {
	b, _ := runBroker(t, BrokerConfig{BusySilence: 10 * beat})
	gate := make(chan struct{})
	stuck, _ := runWorker(t, WorkerConfig{Endpoints: b.Endpoints(), Work: beat, Handler: func(ctx context.Context, _ [][]byte) Reply {
		<-ctx.Done()
		<-gate
		return Reply{}
	}})
	zsocktest.Until(func() bool { return b.State().Workers == 1 })
	c := newClient(t, ClientConfig{Endpoints: b.Endpoints()})
	reply := make(chan string, 1)
	c.Go(t.Context(), "echo", byteFrames([]string{"x"}), func(f [][]byte, err error) { reply <- fmt.Sprintf("%q %v", f, err) })
	zsocktest.Until(func() bool { return stuck.Counters().Requests == 1 })
	runWorker(t, WorkerConfig{Endpoints: b.Endpoints(), Handler: echo("w")})
	if got := <-reply; got != `["w" "x"] <nil>` {
		t.Errorf("got %s", got)
	}
	close(gate)
	zsocktest.Until(func() bool { return stuck.Counters().Overdue == 1 && b.Counters().Late == 1 })
	zsocktest.Until(func() bool { return b.State().Workers == 2 })
	if n := b.Counters(); n.Requeued != 1 || n.Expired != 1 {
		t.Errorf("%+v", n)
	}
}

// TestConcurrency: so many workers to the broker, so many handlers at once.
func TestConcurrency(t *testing.T) {
	b, _ := runBroker(t, BrokerConfig{})
	inside, gate := make(chan struct{}, 10), make(chan struct{})
	w, stop := runWorker(t, WorkerConfig{Endpoints: b.Endpoints(), Concurrency: 3, Handler: func(context.Context, [][]byte) Reply {
		inside <- struct{}{}
		<-gate
		return Reply{}
	}})
	zsocktest.Until(func() bool { return b.State().Workers == 3 })
	c := newClient(t, ClientConfig{Endpoints: b.Endpoints()})
	ended := make(chan error, 4)
	for range 4 {
		c.Go(t.Context(), "echo", nil, func(_ [][]byte, err error) { ended <- err })
	}
	for range 3 {
		<-inside
	}
	if s := b.State(); s.Waiting != 1 || s.Services[0].Busy != 3 {
		t.Errorf("%+v", s)
	}
	close(gate)
	for range 4 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	stop()
	zsocktest.Until(func() bool { return b.State().Workers == 0 })
	if n := b.Counters(); n.Left != 3 {
		t.Errorf("%+v", n)
	}
	if n := w.Counters(); n.Requests != 4 || n.Connected != 3 {
		t.Errorf("%+v", n)
	}
}

// TestPrefetchedRequests: they are handled one after the other, the first replies go
// out before the last request is done, and those of a worker that dies go to others.
func TestPrefetchedRequests(t *testing.T) {
	b, _ := runBroker(t, BrokerConfig{})
	step := make(chan struct{})
	var at atomic.Int64
	_, stop := runWorker(t, WorkerConfig{Endpoints: b.Endpoints(), Prefetch: 4, Handler: func(context.Context, [][]byte) Reply {
		at.Add(1)
		<-step
		return Reply{}
	}})
	zsocktest.Until(func() bool { return b.State().Workers == 1 })
	c := newClient(t, ClientConfig{Endpoints: b.Endpoints()})
	ended := make(chan error, 6)
	for range 6 {
		c.Go(t.Context(), "echo", nil, func(_ [][]byte, err error) { ended <- err })
	}
	zsocktest.Until(func() bool { s := b.State(); return s.Open == 6 && s.Waiting == 2 && at.Load() == 1 })
	step <- struct{}{}
	step <- struct{}{}
	for range 2 { // though the third one is at work
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	zsocktest.Until(func() bool { return at.Load() == 3 })
	close(step)
	for range 4 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if at.Load() != 6 {
		t.Errorf("%d requests were handled", at.Load())
	}
	stop()
}

// TestWorkerStops: it finishes what it has, and what it had no time for goes to
// another.
func TestWorkerStops(t *testing.T) {
	b, _ := runBroker(t, BrokerConfig{})
	gate := make(chan struct{})
	w, stop := runWorker(t, WorkerConfig{Endpoints: b.Endpoints(), StopWait: time.Hour, Handler: func(ctx context.Context, _ [][]byte) Reply {
		<-gate
		return Reply{Frames: [][]byte{[]byte("done")}}
	}})
	zsocktest.Until(func() bool { return b.State().Workers == 1 })
	c := newClient(t, ClientConfig{Endpoints: b.Endpoints()})
	reply := make(chan string, 1)
	c.Go(t.Context(), "echo", nil, func(f [][]byte, err error) { reply <- fmt.Sprintf("%q %v", f, err) })
	zsocktest.Until(func() bool { return w.Counters().Requests == 1 })
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	close(gate)
	if got := <-reply; got != `["done"] <nil>` {
		t.Errorf("got %s", got)
	}
	<-stopped
	zsocktest.Until(func() bool { return b.State().Workers == 0 })
	if n := b.Counters(); n.Left != 1 || n.Expired != 0 {
		t.Errorf("%+v", n)
	}
}

// TestStopDoesNotWaitForEver: a handler's context ends when Run has waited long
// enough.
func TestStopDoesNotWaitForEver(t *testing.T) {
	b, _ := runBroker(t, BrokerConfig{})
	w, stop := runWorker(t, WorkerConfig{Endpoints: b.Endpoints(), StopWait: beat, Handler: func(ctx context.Context, _ [][]byte) Reply {
		<-ctx.Done()
		return Reply{}
	}})
	zsocktest.Until(func() bool { return b.State().Workers == 1 })
	c := newClient(t, ClientConfig{Endpoints: b.Endpoints()})
	ended := make(chan error, 1)
	c.Go(t.Context(), "echo", nil, func(_ [][]byte, err error) { ended <- err })
	zsocktest.Until(func() bool { return w.Counters().Requests == 1 })
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestWorkerAtAllBrokers: it is at all that there are, whoever falls silent or stops, and
// does no more at once than it is to.
func TestWorkerAtAllBrokers(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	silent := zsocktest.NewPeer(t, ctx, zsock.ROUTER)
	one, stop := runBroker(t, BrokerConfig{})
	two, _ := runBroker(t, BrokerConfig{})
	endpoints := append([]string{silent.Bind("tcp://127.0.0.1:*")}, append(one.Endpoints(), two.Endpoints()...)...)
	var mu sync.Mutex
	now, most := 0, 0
	atOnce := func(more int) {
		mu.Lock()
		defer mu.Unlock()
		now += more
		most = max(most, now)
	}
	gate := make(chan struct{})
	w, _ := runWorker(t, WorkerConfig{Endpoints: endpoints, Concurrency: 2, Liveness: 5, BackoffMax: 2 * beat, Handler: func(_ context.Context, r [][]byte) Reply {
		atOnce(1)
		defer atOnce(-1)
		<-gate
		return Reply{Frames: [][]byte{slices.Clone(r[0])}}
	}})
	zsocktest.Until(func() bool { return one.State().Workers == 2 && two.State().Workers == 2 && w.Counters().Lost >= 2 })
	a := answers{t: t}
	a.ask(newClient(t, ClientConfig{Endpoints: one.Endpoints()}), "echo", 10)
	b := answers{t: t}
	b.ask(newClient(t, ClientConfig{Endpoints: two.Endpoints()}), "echo", 10)
	zsocktest.Until(func() bool { return one.State().Services[0].Busy == 2 && two.State().Services[0].Busy == 2 })
	zsocktest.Until(func() bool {
		mu.Lock()
		defer mu.Unlock()
		return now == 2
	})
	close(gate)
	a.wait()
	b.wait()
	if most != 2 {
		t.Errorf("%d requests were handled at once, want 2", most)
	}
	stop()
	c := answers{t: t}
	c.ask(newClient(t, ClientConfig{Endpoints: two.Endpoints()}), "echo", 10)
	c.wait()
}

// TestReplies: of all sizes, with what they are released by.
func TestReplies(t *testing.T) {
	b, _ := runBroker(t, BrokerConfig{RequestBytes: 32 << 20})
	var released atomic.Int64
	runWorker(t, WorkerConfig{Endpoints: b.Endpoints(), Handler: func(_ context.Context, r [][]byte) Reply {
		return Reply{Frames: r, Release: func() { released.Add(1) }}
	}})
	zsocktest.Until(func() bool { return b.State().Workers == 1 })
	c := newClient(t, ClientConfig{Endpoints: b.Endpoints()})
	sizes := []int{0, 1, 1000, 1 << 20, 10 << 20}
	for _, size := range sizes {
		body := bytes.Repeat([]byte{byte(size)}, size)
		reply, err := c.Request(t.Context(), "echo", body, nil, body)
		if err != nil || len(reply) != 3 || !bytes.Equal(reply[0], body) || len(reply[1]) != 0 || !bytes.Equal(reply[2], body) {
			t.Errorf("%d bytes: %d frames, %v", size, len(reply), err)
		}
	}
	if int(released.Load()) != len(sizes) {
		t.Errorf("%d replies were released", released.Load())
	}
}

// TestBadWorkers are refused before they run.
func TestBadWorkers(t *testing.T) {
	ok := WorkerConfig{Endpoints: []string{"inproc://x"}, Service: "s", Handler: echo("w")}
	for _, spoil := range []func(*WorkerConfig){
		func(c *WorkerConfig) { c.Endpoints = nil }, func(c *WorkerConfig) { c.Handler = nil }, func(c *WorkerConfig) { c.Service = "" },
		func(c *WorkerConfig) { c.Service = "mmi.service" }, func(c *WorkerConfig) { c.Service = ServiceCounters },
		func(c *WorkerConfig) { c.Service = string(make([]byte, 256)) }, func(c *WorkerConfig) { c.Concurrency = -1 },
		func(c *WorkerConfig) { c.Prefetch = depthMax + 1 }, func(c *WorkerConfig) { c.Backoff, c.BackoffMax = 2, 1 },
	} {
		cfg := ok
		spoil(&cfg)
		if _, err := NewWorker(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
	if _, err := NewWorker(ok); err != nil {
		t.Error(err)
	}
	for _, cfg := range []BrokerConfig{{}, {Endpoints: []string{"x"}, Requests: -1}, {Endpoints: []string{"nonsense"}}, {Endpoints: []string{"inproc://x"}, Lives: map[string]time.Duration{"s": 0}}} {
		if b, err := NewBroker(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
			_ = b.Close()
		}
	}
}
