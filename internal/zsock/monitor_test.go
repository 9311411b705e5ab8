package zsock

import (
	"errors"
	"testing"
	"time"
)

// TestMonitor: a DEALER hears of its connection's beginning, end and return, and
// what it sends once it has heard arrives.
func TestMonitor(t *testing.T) {
	ctx, err := NewContext(NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			return // the sockets are open
		}
		if err := ctx.Close(); err != nil {
			t.Error(err)
		}
	}()
	router := func(endpoint string) (*Socket, string) {
		s, err := ctx.NewSocket(ROUTER, SocketConfig{RecvTimeout: Forever})
		if err != nil {
			t.Fatal(err)
		}
		for {
			if at, err := s.Bind(endpoint); err == nil {
				return s, at
			}
		}
	}
	r, endpoint := router("ipc://" + t.TempDir() + "/s")
	d, err := ctx.NewSocket(DEALER, SocketConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.OnlyConnected(); err != nil {
		t.Fatal(err)
	}
	m, err := ctx.Monitor(d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Next(); !errors.Is(err, ErrAgain) {
		t.Fatal(err)
	}
	if err := d.SendFrames([]byte("early")); !errors.Is(err, ErrAgain) {
		t.Fatal(err)
	}
	w, err := NewWaiter(m.Socket())
	if err != nil {
		t.Fatal(err)
	}
	next := func() Change {
		for {
			c, err := m.Next()
			if err == nil {
				return c
			}
			if !errors.Is(err, ErrAgain) {
				t.Fatal(err)
			}
			if _, err := w.Wait(nil, time.Second); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := d.Connect(endpoint); err != nil {
		t.Fatal(err)
	}
	var out Outbox
	for round := range 2 {
		if c := next(); c != Connected {
			t.Fatalf("round %d: got %v, want Connected", round, c)
		}
		out.Frame([]byte("x"), true)
		if _, err := d.SendMany(&out); err != nil {
			t.Fatal(err)
		}
		if f, err := r.RecvFrames(); err != nil || string(f[1]) != "x" {
			t.Fatal(f, err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if c := next(); c != Disconnected {
			t.Fatalf("round %d: got %v, want Disconnected", round, c)
		}
		r, _ = router(endpoint)
	}
	for _, err := range []error{r.Close(), m.Close(), d.Close(), w.Close()} {
		if err != nil {
			t.Error(err)
		}
	}
}

// TestMonitorThatIsClosed: what becomes of a socket's connections after its monitor
// was closed holds up nobody: other sockets of the context go on.
func TestMonitorThatIsClosed(t *testing.T) {
	ctx, err := NewContext(NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ctx.NewSocket(ROUTER, SocketConfig{RecvTimeout: Forever})
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := r.Bind("tcp://127.0.0.1:*")
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		d, err := ctx.NewSocket(DEALER, SocketConfig{Linger: Forever})
		if err != nil {
			t.Fatal(err)
		}
		m, err := ctx.Monitor(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(d.Connect(endpoint), d.SendFrames([]byte("x")), m.Close(), d.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := r.RecvFrames(); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(r.Close(), ctx.Close()); err != nil {
		t.Error(err)
	}
}
