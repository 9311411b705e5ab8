package pirate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// TestTransports: clients and workers over inproc, ipc and tcp at one queue.
func TestTransports(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	ipc := "ipc://" + filepath.Join(t.TempDir(), "q")
	q, stop := runQueue(t, QueueConfig{
		Context: ctx,
		Clients: []string{"inproc://c", ipc + "c", "tcp://127.0.0.1:*"},
		Workers: []string{"inproc://w", ipc + "w", "tcp://127.0.0.1:*"},
	})
	clients, workers := q.Endpoints()
	var leave []func()
	for i, e := range workers {
		cfg := WorkerConfig{Endpoint: e, Handler: echo(fmt.Sprint(i))}
		if i == 0 {
			cfg.Context = ctx
		}
		_, stop := runWorker(t, cfg)
		leave = append(leave, stop)
	}
	zsocktest.Until(func() bool { return q.State().Ready == len(workers) })
	answered := map[string]int{}
	for _, e := range clients {
		cfg := ClientConfig{Endpoints: []string{e}, Timeout: time.Minute}
		if strings.HasPrefix(e, "inproc") {
			cfg.Context = ctx
		}
		c := newClient(t, cfg)
		for i := range 30 {
			large := bytes.Repeat([]byte{byte(i)}, 100_000)
			reply, err := c.Request(context.Background(), []byte("x"), large)
			if err != nil {
				t.Fatal(err)
			}
			if len(reply) != 3 || string(reply[1]) != "x" || !bytes.Equal(reply[2], large) {
				t.Fatalf("a reply of %d frames", len(reply))
			}
			answered[string(reply[0])]++
		}
	}
	for i := range workers {
		if answered[fmt.Sprint(i)] == 0 {
			t.Errorf("worker %d answered nothing: %v", i, answered)
		}
	}
	for _, stop := range leave {
		stop()
	}
	zsocktest.Until(func() bool { return q.Counters().Left == 3 })
	if n := q.Counters(); n.Left != 3 || n.Expired != 0 || n.Answered != 90 || n.Requests != 90 {
		t.Errorf("%+v", n)
	}
	if s := q.State(); s != (QueueState{}) {
		t.Errorf("left in the queue: %+v", s)
	}
	stop()
}

// TestFailureIsTold: to a client that numbers its requests, and to no other.
func TestFailureIsTold(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	var k zsocktest.Clock
	q := runQueueBy(t, &k, QueueConfig{Clients: []string{"inproc://c"}, Workers: []string{"inproc://w"}, Context: ctx,
		Life: 3 * beat, Requests: 1, RequestBytes: 1000})
	other := zsocktest.NewPeer(t, ctx, zsock.DEALER)
	other.Connect("inproc://c")
	c := zsocktest.NewPeer(t, ctx, zsock.DEALER)
	c.Connect("inproc://c")
	n := func(n uint64, failed bool) string { return string(AppendNumber(nil, n, failed)) }

	c.Send("", n(1, false), strings.Repeat("x", 1001))
	c.Want(c.Recv(), "", n(1, true), string(ReasonTooLarge))
	other.Send("", "x")
	zsocktest.Until(func() bool { return q.State().Open == 1 })
	c.Send("", n(2, false))
	c.Want(c.Recv(), "", n(2, true), string(ReasonFull))
	k.Pass(beat/4, func() bool { return q.State().Open == 0 })
	c.Send("through", "another", "", n(3, false))
	k.Pass(beat/4, func() bool { return q.Counters().FailedNoWorker == 2 })
	c.Want(c.Recv(), "through", "another", "", n(3, true), string(ReasonNoWorker))
	if count := q.Counters(); count.FailedNoWorker != 2 || count.FailedFull != 1 || count.FailedTooLarge != 1 || count.Failed() != 4 {
		t.Errorf("%+v", count)
	}
	if f, err := other.Socket.TryRecvFrame(); !errors.Is(err, zsock.ErrAgain) {
		t.Errorf("a client without a number was sent %q, %v", f, err)
	}
}

// TestClientAsksAgain: over several endpoints, one of which does not answer and
// one of which has no workers, and says so when nobody does.
func TestClientAsksAgain(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	silent := zsocktest.NewPeer(t, ctx, zsock.ROUTER)
	if _, err := silent.Socket.Bind("inproc://silent"); err != nil {
		t.Fatal(err)
	}
	q, _ := runQueue(t, QueueConfig{Clients: []string{"inproc://c"}, Workers: []string{"inproc://w"}, Context: ctx, Life: 10 * beat})
	var c *Client
	for timeout := 30 * beat; ; timeout *= 2 {
		c = newClient(t, ClientConfig{Endpoints: []string{"inproc://silent", "inproc://c"}, Context: ctx, Timeout: timeout, Tries: 3})
		_, err := c.Request(context.Background(), []byte("x"))
		// Each try came with the same number, from another socket.
		first, second := silent.Recv(), silent.Recv()
		if first[0] == second[0] || first[2] != second[2] || first[3] != "x" {
			t.Errorf("tries were %q and %q", first, second)
		}
		var failed *UnansweredError
		if errors.As(err, &failed) && len(failed.Attempts) == 2 && failed.Attempts[1].Reasons[0] == "timeout" {
			continue // the queue had no time to say anything
		}
		want := "pirate: no reply from inproc://silent (2 tries: timeout), inproc://c (1 tries: no worker took it in time)"
		if !errors.Is(err, ErrUnanswered) || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		break
	}

	c.cfg.Timeout = time.Minute
	runWorker(t, WorkerConfig{Endpoint: "inproc://w", Context: ctx, Handler: echo("w")})
	zsocktest.Until(func() bool { return q.State().Ready == 1 })
	for range 3 {
		if reply, err := c.Request(context.Background(), []byte("y")); err != nil || string(reply[1]) != "y" {
			t.Fatalf("%q, %v", reply, err)
		}
	}
	// The endpoint that answered is asked first from then on.
	if n := c.Counters(); n.Requests != 4 || n.Failed != 1 || n.Unanswered != 2 {
		t.Errorf("%+v", n)
	}

	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Request(ended, []byte("z")); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrUnanswered) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// TestClientDropsMismatches: replies to other requests, and messages of no use,
// are counted and do not end the wait.
func TestClientDropsMismatches(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	server := zsocktest.NewPeer(t, ctx, zsock.ROUTER)
	if _, err := server.Socket.Bind("inproc://s"); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, ClientConfig{Endpoints: []string{"inproc://s"}, Context: ctx, Timeout: time.Minute})
	done := make(chan struct{})
	go func() {
		defer close(done)
		reply, err := c.Request(context.Background(), []byte("x"))
		if err != nil || len(reply) != 1 || string(reply[0]) != "right" {
			t.Errorf("%q, %v", reply, err)
		}
	}()
	m := server.Recv()
	id, number := m[0], m[2]
	n := func(n uint64) string { return string(AppendNumber(nil, n, false)) }
	server.Send(id, "", n(0), "wrong")
	server.Send(id, "", n(2), "wrong")
	server.Send(id, "", "1", "wrong")
	server.Send(id, "")
	server.Send(id, number, "wrong")
	server.Send(append([]string{id, "", number}, make([]string, zsock.PartsMax)...)...)
	server.Send(id, "", number, "right")
	<-done
	if got := c.Counters(); got.Mismatched != 6 || got.Tries != 1 {
		t.Errorf("%+v", got)
	}
}

// TestQueueRestart: workers find a new queue at once, because it tells them that
// it does not know them.
func TestQueueRestart(t *testing.T) {
	cfg := QueueConfig{Clients: []string{"tcp://127.0.0.1:*"}, Workers: []string{"tcp://127.0.0.1:*"}}
	q, stop := runQueue(t, cfg)
	cfg.Clients, cfg.Workers = q.Endpoints()
	w, _ := runWorker(t, WorkerConfig{Endpoint: cfg.Workers[0], Handler: echo("w")})
	zsocktest.Until(func() bool { return q.State().Ready == 1 })
	stop()
	q, _ = runQueue(t, cfg)
	c := newClient(t, ClientConfig{Endpoints: cfg.Clients, Timeout: time.Minute})
	if reply, err := c.Request(context.Background(), []byte("x")); err != nil || len(reply) != 2 {
		t.Fatalf("%q, %v", reply, err)
	}
	if n := w.Counters(); n.Lost != 0 || n.Dismissed == 0 {
		t.Errorf("%+v", n)
	}
}

// TestQueueStops: requests that a worker has are answered, others are failed.
func TestQueueStops(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	q, stop := runQueue(t, QueueConfig{Clients: []string{"inproc://c"}, Workers: []string{"inproc://w"}, Context: ctx,
		StopWait: time.Minute})
	w := zsocktest.NewPeer(t, ctx, zsock.DEALER)
	w.Connect("inproc://w")
	w.Send("\x01")
	c := zsocktest.NewPeer(t, ctx, zsock.DEALER)
	c.Connect("inproc://c")
	n := func(n uint64, failed bool) string { return string(AppendNumber(nil, n, failed)) }
	c.Send("", n(1, false))
	request := recvWork(w, 0)
	c.Send("", n(2, false))
	zsocktest.Until(func() bool { return q.State().Waiting == 1 })
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	c.Want(c.Recv(), "", n(2, true), string(ReasonStopping))
	c.Send("", n(3, false))
	c.Want(c.Recv(), "", n(3, true), string(ReasonStopping))
	w.Send(request...)
	c.Want(c.Recv(), "", n(1, false))
	w.Want(recvWork(w, 0), "\x03")
	<-stopped
}

// TestStuckWorker: a handler that takes too long is told, its worker stops
// beating, and another answers.
func TestStuckWorker(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	var k zsocktest.Clock
	q := runQueueBy(t, &k, QueueConfig{Clients: []string{"inproc://c"}, Workers: []string{"inproc://w"}, Context: ctx, BusySilence: 10 * beat})
	told, let := make(chan struct{}), make(chan struct{})
	stuck, _ := runWorker(t, WorkerConfig{Endpoint: "inproc://w", Context: ctx, Work: 5 * beat,
		Handler: func(ctx context.Context, _ [][]byte) Reply {
			<-ctx.Done()
			close(told)
			<-let
			return Reply{}
		}})
	zsocktest.Until(func() bool { return q.State().Ready == 1 })
	c := zsocktest.NewPeer(t, ctx, zsock.REQ)
	c.Connect("inproc://c")
	c.Send("x")
	<-told
	k.Pass(beat/4, func() bool { return q.Counters().Requeued == 1 })
	runWorker(t, WorkerConfig{Endpoint: "inproc://w", Context: ctx, Handler: echo("w")})
	c.Want(c.Recv(), "w", "x")
	close(let)
	zsocktest.Until(func() bool { return stuck.Counters().Overdue == 1 })
	zsocktest.Until(func() bool { return q.Counters().Late == 1 })
}

// killEndpoint is the environment variable that makes the test binary a worker
// that takes requests and never answers.
const killEndpoint = "TAPEDECK_TEST_PIRATE_KILL"

func workUntilKilled(endpoint string) {
	w, err := NewWorker(WorkerConfig{Endpoint: endpoint, Heartbeat: beat, Liveness: liveness, Handler: func(context.Context, [][]byte) Reply {
		fmt.Println("has it")
		select {}
	}})
	if err == nil {
		err = w.Run(context.Background())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// TestKill: a worker process is killed while it works. It beat until then, and
// its silence gives the request to another.
func TestKill(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	var k zsocktest.Clock
	q := runQueueBy(t, &k, QueueConfig{Clients: []string{"inproc://c"}, Workers: []string{"inproc://w", "tcp://127.0.0.1:*"}, Context: ctx, BusySilence: 10 * beat})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	_, workers := q.Endpoints()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), killEndpoint+"="+workers[1])
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	zsocktest.Until(func() bool { return q.State().Ready == 1 })
	c := zsocktest.NewPeer(t, ctx, zsock.REQ)
	c.Connect("inproc://c")
	c.Send("x")
	if _, err := out.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	k.Pass(beat/4, func() bool { return q.Counters().Requeued == 1 })
	runWorker(t, WorkerConfig{Endpoint: "inproc://w", Context: ctx, Handler: echo("w")})
	c.Want(c.Recv(), "w", "x")
	zsocktest.Until(func() bool { return q.Counters().Answered == 1 })
	if n := q.Counters(); n.Requeued != 1 || n.Expired != 1 {
		t.Errorf("%+v", n)
	}
}

func TestConfigs(t *testing.T) {
	for name, cfg := range map[string]QueueConfig{
		"no clients": {Workers: []string{"inproc://w"}},
		"no workers": {Clients: []string{"inproc://c"}},
		"negative":   {Clients: []string{"inproc://c"}, Workers: []string{"inproc://w"}, Life: -1},
		"endpoint":   {Clients: []string{"inproc://c"}, Workers: []string{"nonsense"}},
	} {
		if q, err := NewQueue(cfg); err == nil {
			t.Errorf("queue, %s: no error", name)
			_ = q.Close()
		}
	}
	handler := echo("")
	for name, cfg := range map[string]WorkerConfig{
		"no endpoint": {Handler: handler},
		"no handler":  {Endpoint: "inproc://w"},
		"negative":    {Endpoint: "inproc://w", Handler: handler, Work: -1},
		"back-off":    {Endpoint: "inproc://w", Handler: handler, Backoff: 2, BackoffMax: 1},
	} {
		if _, err := NewWorker(cfg); err == nil {
			t.Errorf("worker, %s: no error", name)
		}
	}
	for name, cfg := range map[string]ClientConfig{"no endpoints": {}, "negative": {Endpoints: []string{"x"}, Tries: -1}} {
		if _, err := NewClient(cfg); err == nil {
			t.Errorf("client, %s: no error", name)
		}
	}
}

// BenchmarkRoundTrip is a request to a worker through a queue and its reply, one
// at a time, by the size of the reply.
func BenchmarkRoundTrip(b *testing.B) {
	for _, size := range []int{0, 256 << 10} {
		b.Run(fmt.Sprintf("reply=%d", size), func(b *testing.B) {
			ctx := zsocktest.NewContext(b)
			runQueue(b, QueueConfig{Clients: []string{"inproc://c"}, Workers: []string{"inproc://w"}, Context: ctx, Heartbeat: time.Second})
			body := make([]byte, size)
			runWorker(b, WorkerConfig{Endpoint: "inproc://w", Context: ctx, Heartbeat: time.Second,
				Handler: func(context.Context, [][]byte) Reply { return Reply{Frames: [][]byte{body}} }})
			s, err := ctx.NewSocket(zsock.DEALER, zsock.SocketConfig{RecvTimeout: zsock.Forever})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			if err := s.Connect("inproc://c"); err != nil {
				b.Fatal(err)
			}
			in := zsock.NewParts()
			defer in.Close()
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := errors.Join(s.SendParts(nil, 0, nil, []byte("x")), s.RecvParts(in)); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
		})
	}
}
