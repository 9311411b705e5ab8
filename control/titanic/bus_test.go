package titanic

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/control/majordomo"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// Nobody is silent for too long in a test, however busy the machine is.
const (
	beat     = 20 * time.Millisecond
	liveness = 1_000_000
)

func runBroker(t testing.TB) (endpoints []string) {
	t.Helper()
	var b *majordomo.Broker
	var err error
	zsocktest.Until(func() bool {
		b, err = majordomo.NewBroker(majordomo.BrokerConfig{Endpoints: []string{"tcp://127.0.0.1:*"}, Heartbeat: beat,
			Liveness: liveness, Life: time.Hour, UnknownLife: time.Hour})
		return !errors.Is(err, syscall.EADDRINUSE)
	})
	if err != nil {
		t.Fatal(err)
	}
	zsocktest.Background(t, b.Run, b.Close)
	return b.Endpoints()
}

func runWorker(t testing.TB, at []string, service string, concurrency int, h majordomo.Handler) (stop func()) {
	t.Helper()
	w, err := majordomo.NewWorker(majordomo.WorkerConfig{Endpoints: at, Service: service, Handler: h, Concurrency: concurrency,
		Heartbeat: beat, Liveness: liveness, Work: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return zsocktest.Background(t, w.Run, func() error { return nil })
}

// upper answers every frame with "did " in front of it.
func upper(_ context.Context, request [][]byte) majordomo.Reply {
	reply := make([][]byte, len(request))
	for i, f := range request {
		reply[i] = append([]byte("did "), f...)
	}
	return majordomo.Reply{Frames: reply}
}

// quick are the times of a Titanic in tests.
func quick(cfg Config) Config {
	orDefault(&cfg.Retry, time.Millisecond)
	orDefault(&cfg.RetryMax, 20*time.Millisecond)
	orDefault(&cfg.Timeout, time.Hour)
	orDefault(&cfg.Heartbeat, beat)
	orDefault(&cfg.Liveness, liveness)
	orDefault(&cfg.SegmentBytes, segmentLeast)
	return cfg
}

func openTitanic(t testing.TB, cfg Config) *Titanic {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	o, err := Open(quick(cfg))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

func runTitanic(t testing.TB, cfg Config) (o *Titanic, stop func()) {
	t.Helper()
	o = openTitanic(t, cfg)
	return o, zsocktest.Background(t, o.Run, o.Close)
}

func newBus(t testing.TB, at []string) *majordomo.Client {
	t.Helper()
	c, err := majordomo.NewClient(majordomo.ClientConfig{Endpoints: at, Timeout: time.Hour, Backoff: time.Millisecond})
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

func newClient(t testing.TB, at []string) *Client {
	t.Helper()
	c, err := NewClient(ClientConfig{Bus: newBus(t, at), First: time.Millisecond, Most: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// raw is a client of the bus written by somebody else, a REQ, frame by frame.
type raw struct {
	t testing.TB
	s *zsock.Socket
}

func newRaw(t testing.TB, at []string) *raw {
	t.Helper()
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ctx.NewSocket(zsock.REQ, zsock.SocketConfig{RecvTimeout: zsock.Forever, SendTimeout: zsock.Forever})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Connect(at[0]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), ctx.Close()); err != nil {
			t.Error(err)
		}
	})
	return &raw{t, s}
}

// ask sends a request and returns the body of the reply.
func (r *raw) ask(service string, frames ...string) []string {
	r.t.Helper()
	message := [][]byte{[]byte("MDPC01"), []byte(service)}
	for _, f := range frames {
		message = append(message, []byte(f))
	}
	if err := r.s.SendParts(nil, 0, message...); err != nil {
		r.t.Fatal(err)
	}
	reply, err := r.s.RecvFrames()
	if err != nil {
		r.t.Fatal(err)
	}
	if len(reply) < 3 || string(reply[0]) != "MDPC01" || string(reply[1]) != service {
		r.t.Fatalf("%s: %q is no reply", service, reply)
	}
	var body []string
	for _, f := range reply[2:] {
		body = append(body, string(f))
	}
	return body
}

func (r *raw) want(got []string, want ...string) {
	r.t.Helper()
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		r.t.Fatalf("got %q, want %q", got, want)
	}
}
