package majordomo

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// The heartbeat interval of the tests is short, and nobody is silent for too long
// unless a test makes it so, however busy the machine is.
const (
	beat     = 20 * time.Millisecond
	liveness = 1_000_000
	patient  = time.Hour // a client's
)

// runBroker runs a broker until the test ends or stop is called.
func runBroker(t testing.TB, cfg BrokerConfig) (b *Broker, stop func()) {
	t.Helper()
	b = openBroker(t, cfg)
	return b, zsocktest.Background(t, b.Run, b.Close)
}

// runBrokerBy is runBroker with a clock.
func runBrokerBy(t testing.TB, k *zsocktest.Clock, cfg BrokerConfig) *Broker {
	t.Helper()
	b := openBroker(t, cfg)
	b.now = k.Now
	zsocktest.Background(t, b.Run, b.Close)
	t.Cleanup(func() { // the broker gives those at work a while to end
		k.Free()
	})
	return b
}

func openBroker(t testing.TB, cfg BrokerConfig) (b *Broker) {
	t.Helper()
	if len(cfg.Endpoints) == 0 {
		cfg.Endpoints = []string{"tcp://127.0.0.1:*"}
	}
	orDefault(&cfg.Heartbeat, beat)
	orDefault(&cfg.Liveness, liveness)
	var err error
	// The port of a broker that starts again may have become somebody's wildcard
	// meanwhile, for as long as his test takes.
	zsocktest.Until(func() bool {
		b, err = NewBroker(cfg)
		return !errors.Is(err, syscall.EADDRINUSE)
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func runWorker(t testing.TB, cfg WorkerConfig) (w *Worker, stop func()) {
	t.Helper()
	orDefault(&cfg.Heartbeat, beat)
	orDefault(&cfg.Backoff, beat)
	orDefault(&cfg.Liveness, liveness)
	orDefault(&cfg.Service, "echo")
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
	orDefault(&cfg.Timeout, patient)
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

// ask has a request answered and wants this reply.
func ask(t testing.TB, c *Client, service string, body []string, want ...string) {
	t.Helper()
	reply, err := c.Request(context.Background(), service, byteFrames(body)...)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%q", reply); got != fmt.Sprintf("%q", want) {
		t.Fatalf("got %s, want %q", got, want)
	}
}

func byteFrames(frames []string) [][]byte {
	b := make([][]byte, len(frames))
	for i, f := range frames {
		b[i] = []byte(f)
	}
	return b
}

// recvWork returns the next message that is no heartbeat, from frame at on.
func recvWork(r *zsocktest.Peer, at int) []string {
	for {
		if m := r.Recv(); len(m) != at+3 || m[at+2] != "\x04" {
			return m
		}
	}
}
