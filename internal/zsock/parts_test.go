package zsock

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"
)

// routers is a ROUTER that must reach its peers, bound, and a DEALER connected
// to it, in one context over inproc or in two over tcp.
func routers(t testing.TB, endpoint string) (router, dealer *Socket) {
	t.Helper()
	ctx, err := NewContext(NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	cfg := SocketConfig{RecvTimeout: Forever}
	router, err = ctx.NewSocket(ROUTER, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := router.MustReach(); err != nil {
		t.Fatal(err)
	}
	at, err := router.Bind(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	if dealer, err = ctx.NewSocket(DEALER, cfg); err != nil {
		t.Fatal(err)
	}
	if err := dealer.Connect(at); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(dealer.Close(), router.Close(), ctx.Close()); err != nil {
			t.Error(err)
		}
	})
	return router, dealer
}

// TestPartsPassOn: what a ROUTER received goes back to the peer, with other
// frames in front, whole and more than once, and large frames are not copied.
func TestPartsPassOn(t *testing.T) {
	for _, endpoint := range []string{"inproc://parts", "tcp://127.0.0.1:*"} {
		router, dealer := routers(t, endpoint)
		large := bytes.Repeat([]byte("large"), 1000)
		if err := dealer.SendParts(nil, 0, nil, []byte("small"), large); err != nil {
			t.Fatal(err)
		}
		p, back := NewParts(), NewParts()
		defer p.Close()
		defer back.Close()
		if err := router.RecvParts(p); err != nil {
			t.Fatal(err)
		}
		if p.Len() != 4 || len(p.Frame(1)) != 0 || string(p.Frame(2)) != "small" || p.Frame(4) != nil || p.Frame(-1) != nil {
			t.Fatalf("%s: received %d frames", endpoint, p.Len())
		}
		if want := len(p.Frame(0)) + 5 + len(large); p.Size() != want {
			t.Errorf("size is %d, want %d", p.Size(), want)
		}
		for range 2 {
			if err := router.SendParts(p, 2, p.Frame(0), []byte("lead")); err != nil {
				t.Fatal(err)
			}
			if err := dealer.RecvParts(back); err != nil {
				t.Fatal(err)
			}
			if back.Len() != 3 || string(back.Frame(0)) != "lead" || string(back.Frame(1)) != "small" || !bytes.Equal(back.Frame(2), large) {
				t.Errorf("%s: %d frames came back", endpoint, back.Len())
			}
			if inproc := endpoint[:6] == "inproc"; inproc && &back.Frame(2)[0] != &p.Frame(3)[0] {
				t.Error("the large frame was copied")
			}
		}
	}
}

func TestPartsNeverHalfSent(t *testing.T) {
	router, dealer := routers(t, "inproc://half")
	p := NewParts()
	defer p.Close()
	if err := router.SendParts(nil, 0, []byte("nobody"), []byte("x")); !errors.Is(err, ErrUnreachable) {
		t.Errorf("sending to nobody: %v", err)
	}
	if err := router.SendParts(p, 0); err == nil {
		t.Error("a message without frames was sent")
	}
	if err := dealer.SendParts(nil, 0, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := router.RecvParts(p); err != nil {
		t.Fatal(err)
	}
	id := bytes.Clone(p.Frame(0))
	// A full queue refuses whole messages: what arrives is whole.
	sent := 0
	for ; ; sent++ {
		err := router.SendParts(p, 1, id, fmt.Append(nil, sent))
		if errors.Is(err, ErrAgain) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range sent {
		if err := dealer.RecvParts(p); err != nil {
			t.Fatal(err)
		}
		if p.Len() != 2 || string(p.Frame(0)) != fmt.Sprint(i) || string(p.Frame(1)) != "x" {
			t.Fatalf("message %d is %q with %d frames", i, p.Frame(0), p.Len())
		}
	}
}

// TestPartsAppend: what was put together goes out as often as is wanted.
func TestPartsAppend(t *testing.T) {
	router, dealer := routers(t, "inproc://append")
	p, in := NewParts(), NewParts()
	defer p.Close()
	defer in.Close()
	large := bytes.Repeat([]byte("x"), 1000)
	if err := errors.Join(p.Append(nil), p.Append([]byte("small")), p.Append(large)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := errors.Join(dealer.SendParts(p, 0), router.RecvParts(in)); err != nil {
			t.Fatal(err)
		}
		if in.Len() != 4 || len(in.Frame(1)) != 0 || string(in.Frame(2)) != "small" || !bytes.Equal(in.Frame(3), large) {
			t.Errorf("received %d frames", in.Len())
		}
		if &in.Frame(3)[0] != &p.Frame(2)[0] {
			t.Error("the large frame was copied when it was sent")
		}
	}
	for range PartsMax - 3 {
		if err := p.Append(nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Append(nil); !errors.Is(err, ErrFrames) || p.Len() != PartsMax {
		t.Errorf("%d frames, %v", p.Len(), err)
	}
}

func TestPartsTooMany(t *testing.T) {
	router, dealer := routers(t, "inproc://many")
	p := NewParts()
	defer p.Close()
	frames := make([][]byte, PartsMax)
	if err := errors.Join(dealer.SendParts(nil, 0, frames...), dealer.SendParts(nil, 0, frames[1:]...)); err != nil {
		t.Fatal(err)
	}
	// The identity is a frame, too.
	if err := router.RecvParts(p); !errors.Is(err, ErrFrames) || p.Len() != 0 {
		t.Errorf("%d frames, %v", p.Len(), err)
	}
	if err := router.RecvParts(p); err != nil || p.Len() != PartsMax {
		t.Errorf("%d frames, %v", p.Len(), err)
	}
}

func TestPartsAlloc(t *testing.T) {
	router, dealer := routers(t, "inproc://alloc")
	p := NewParts()
	defer p.Close()
	// Bytes that lie beside a pointer are as good as others.
	part := struct {
		next *Parts
		body [1000]byte
	}{next: p}
	n := testing.AllocsPerRun(100, func() {
		if dealer.SendParts(nil, 0, part.body[:]) != nil || router.RecvParts(p) != nil ||
			router.SendParts(p, 1, p.Frame(0)) != nil || dealer.RecvParts(p) != nil {
			t.Error("did not travel")
		}
	})
	if n != 0 {
		t.Errorf("a message there and back allocates %v times", n)
	}
}

// TestWaiter: it wakes for a message, for Wake from another goroutine, once for
// many, and for neither it waits.
func TestWaiter(t *testing.T) {
	router, dealer := routers(t, "inproc://wait")
	w, err := NewWaiter(dealer, router)
	if err != nil {
		t.Fatal(err)
	}
	wait := func(timeout time.Duration) []int {
		t.Helper()
		ready, err := w.Wait(nil, timeout)
		if err != nil {
			t.Fatal(err)
		}
		return ready
	}
	if ready := wait(0); len(ready) != 0 {
		t.Errorf("ready before anything was sent: %v", ready)
	}
	// untilWoken waits for Wake; signals may end a single wait early.
	untilWoken := func(wait func()) {
		t.Helper()
		before := w.taken
		for w.taken == before {
			wait()
		}
	}
	go func() {
		for range 10 {
			w.Wake()
		}
	}()
	untilWoken(func() {
		if ready := wait(Forever); len(ready) != 0 {
			t.Errorf("a wake-up made %v readable", ready)
		}
	})
	if err := dealer.SendFrames([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for {
		if ready := wait(Forever); len(ready) == 1 && ready[0] == 1 {
			break
		}
	}
	// The message still waits, and does not end a wait for Wake alone.
	go w.Wake()
	untilWoken(func() {
		if err := w.WaitWoken(Forever); err != nil {
			t.Fatal(err)
		}
	})
	w.Watch(router)
	if ready := wait(Forever); len(ready) != 1 || ready[0] != 0 {
		t.Errorf("watching another list of sockets: %v", ready)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w.Wake() // harmless
	if w.Close() == nil {
		t.Error("closing twice gives no error")
	}
}
