package majordomo

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// The heartbeat interval of the tests is short, and nobody is silent for too long
// unless a test makes it so, however busy the machine is.
const (
	beat     = 20 * time.Millisecond
	liveness = 1_000_000
	patient  = time.Hour // a client's
)

// clock is a broker's time: it stands still but where the test lets it go on, so
// that a broker finds nobody silent, and no request too old, by accident.
type clock struct {
	at    atomic.Int64
	freed atomic.Pointer[time.Time]
}

func (k *clock) now() time.Duration {
	at := time.Duration(k.at.Load())
	if freed := k.freed.Load(); freed != nil {
		at += time.Since(*freed)
	}
	return at
}

// pass lets time go on, in steps that the broker does not take for a standstill of
// its own, until something has happened.
func (k *clock) pass(cond func() bool) {
	until(func() bool {
		if cond() {
			return true
		}
		k.at.Add(int64(beat / 4))
		return false
	})
}

func newContext(t testing.TB) *zsock.Context {
	t.Helper()
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ctx.Close(); err != nil {
			t.Error(err)
		}
	})
	return ctx
}

// runBroker runs a broker until the test ends or stop is called.
func runBroker(t testing.TB, cfg BrokerConfig) (b *Broker, stop func()) {
	t.Helper()
	b = openBroker(t, cfg)
	return b, background(t, b.Run, b.Close)
}

// runBrokerBy is runBroker with a clock.
func runBrokerBy(t testing.TB, k *clock, cfg BrokerConfig) *Broker {
	t.Helper()
	b := openBroker(t, cfg)
	b.now = k.now
	background(t, b.Run, b.Close)
	t.Cleanup(func() { // the broker gives those at work a while to end
		now := time.Now()
		k.freed.Store(&now)
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
	until(func() bool {
		b, err = NewBroker(cfg)
		return !errors.Is(err, syscall.EADDRINUSE)
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// background runs a thing until the test ends or stop is called.
func background(t testing.TB, run func(context.Context) error, shut func() error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := errors.Join(<-ended, shut()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
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
	return w, background(t, w.Run, func() error { return nil })
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

// raw is a socket of a peer written by somebody else: what it sends and receives
// is spelled out frame by frame.
type raw struct {
	t *testing.T
	s *zsock.Socket
}

func newRaw(t *testing.T, ctx *zsock.Context, kind zsock.Type) *raw {
	t.Helper()
	s, err := ctx.NewSocket(kind, zsock.SocketConfig{RecvTimeout: zsock.Forever, SendTimeout: zsock.Forever})
	if err != nil {
		t.Fatal(err)
	}
	r := &raw{t, s}
	t.Cleanup(r.close)
	return r
}

func (r *raw) close() {
	if r.s != nil {
		_ = r.s.Close()
		r.s = nil
	}
}

func (r *raw) connect(endpoint string) {
	r.t.Helper()
	if err := r.s.Connect(endpoint); err != nil {
		r.t.Fatal(err)
	}
}

func (r *raw) bind(endpoint string) string {
	r.t.Helper()
	at, err := r.s.Bind(endpoint)
	if err != nil {
		r.t.Fatal(err)
	}
	return at
}

func (r *raw) send(frames ...string) {
	r.t.Helper()
	if err := r.s.SendParts(nil, 0, byteFrames(frames)...); err != nil {
		r.t.Fatal(err)
	}
}

func (r *raw) recv() []string {
	r.t.Helper()
	message, err := r.s.RecvFrames()
	if err != nil {
		r.t.Fatal(err)
	}
	frames := make([]string, len(message))
	for i, f := range message {
		frames[i] = string(f)
	}
	return frames
}

// recvWork returns the next message that is no heartbeat, from frame at on.
func (r *raw) recvWork(at int) []string {
	r.t.Helper()
	for {
		if m := r.recv(); len(m) != at+3 || m[at+2] != "\x04" {
			return m
		}
	}
}

func (r *raw) want(got []string, want ...string) {
	r.t.Helper()
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		r.t.Fatalf("got %q, want %q", got, want)
	}
}

// until waits for a condition that other goroutines bring about.
func until(cond func() bool) {
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !cond() {
		<-again.C
	}
}
