package pirate

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// TestMain runs the tests, and fails if a goroutine outlives them. The test
// binary is also the worker process that TestKill kills.
func TestMain(m *testing.M) {
	if endpoint := os.Getenv(killEndpoint); endpoint != "" {
		workUntilKilled(endpoint)
	}
	goleak.VerifyTestMain(m)
}

// The heartbeat interval of the tests is short, and nobody is silent for too long
// unless a test makes it so, however busy the machine is.
const (
	beat     = 20 * time.Millisecond
	liveness = 1_000_000
)

// runQueue runs a queue until the test ends or stop is called.
func runQueue(t testing.TB, cfg QueueConfig) (q *Queue, stop func()) {
	t.Helper()
	q = openQueue(t, cfg)
	return q, zsocktest.Background(t, q.Run, q.Close)
}

// runQueueBy is runQueue with a clock.
func runQueueBy(t testing.TB, k *zsocktest.Clock, cfg QueueConfig) *Queue {
	t.Helper()
	q := openQueue(t, cfg)
	q.now = k.Now
	zsocktest.Background(t, q.Run, q.Close)
	t.Cleanup(func() { // the queue gives those at work a while to end
		k.Free()
	})
	return q
}

func openQueue(t testing.TB, cfg QueueConfig) (q *Queue) {
	t.Helper()
	orDefault(&cfg.Heartbeat, beat)
	orDefault(&cfg.Liveness, liveness)
	var err error
	// The ports of a queue that starts again may have become somebody's wildcard
	// meanwhile, for as long as his test takes.
	zsocktest.Until(func() bool {
		q, err = NewQueue(cfg)
		return !errors.Is(err, syscall.EADDRINUSE)
	})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func runWorker(t testing.TB, cfg WorkerConfig) (w *Worker, stop func()) {
	t.Helper()
	orDefault(&cfg.Heartbeat, beat)
	orDefault(&cfg.Backoff, beat)
	orDefault(&cfg.Liveness, liveness)
	w, err := NewWorker(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return w, zsocktest.Background(t, w.Run, func() error { return nil })
}

// echo answers with the name of the worker and the request.
func echo(name string) Handler {
	return func(_ context.Context, request [][]byte) Reply {
		reply := [][]byte{[]byte(name)}
		for _, f := range request {
			reply = append(reply, append([]byte(nil), f...))
		}
		return Reply{Frames: reply}
	}
}

func newClient(t testing.TB, cfg ClientConfig) *Client {
	t.Helper()
	orDefault(&cfg.Backoff, time.Millisecond)
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// recvWork returns the next message that is no heartbeat, from frame at on.
func recvWork(r *zsocktest.Peer, at int) []string {
	for {
		if m := r.Recv(); len(m) != at+1 || m[at] != "\x02" {
			return m
		}
	}
}
