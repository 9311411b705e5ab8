package zsock

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// TestManyMessages: messages of any number and size of frames arrive as they
// were put in, in order.
func TestManyMessages(t *testing.T) {
	pub, sub := pair(t, SocketConfig{SendQueue: -1}, SocketConfig{ReceiveQueue: -1})
	var want [][][]byte
	var out Outbox
	for i := range 1000 {
		frames := make([][]byte, 1+i%9)
		for j := range frames {
			frames[j] = bytes.Repeat([]byte{byte(i + j)}, (i*j*j)%700)
			out.Frame(frames[j], j == len(frames)-1)
		}
		want = append(want, frames)
	}
	size := out.Size()
	if out.Messages() != len(want) || size == 0 {
		t.Fatalf("%d messages of %d bytes wait", out.Messages(), size)
	}
	if sent, err := pub.SendMany(&out); err != nil || sent != len(want) || out.Messages() != 0 || out.Size() != 0 {
		t.Fatalf("sent %d, %v; %d messages of %d bytes are left", sent, err, out.Messages(), out.Size())
	}
	in := NewInbox()
	defer in.Close()
	for got := 0; got < len(want); {
		if err := sub.RecvMany(in, 100, 1<<20); err != nil {
			t.Fatal(err)
		}
		taken := 0
		in.Next()
		in.Rewind() // as if nothing had been looked at
		for frames := in.Next(); frames != nil; frames = in.Next() {
			if len(frames) != len(want[got]) {
				t.Fatalf("message %d has %d frames, want %d", got, len(frames), len(want[got]))
			}
			for j := range frames {
				if !bytes.Equal(frames[j], want[got][j]) {
					t.Fatalf("message %d, frame %d: %d bytes, want %d", got, j, len(frames[j]), len(want[got][j]))
				}
			}
			got++
			taken++
		}
		if taken == 0 || taken > 100 {
			t.Fatalf("took %d messages at once", taken)
		}
	}
}

// TestManyBounds: bytes bound what is taken at once, but for one message.
func TestManyBounds(t *testing.T) {
	pub, sub := pair(t, SocketConfig{}, SocketConfig{})
	var out Outbox
	for range 10 {
		out.Frame(make([]byte, 1000), true)
	}
	if _, err := pub.SendMany(&out); err != nil {
		t.Fatal(err)
	}
	in := NewInbox()
	defer in.Close()
	for got := 0; got < 10; {
		if err := sub.RecvMany(in, 100, 1); err != nil {
			t.Fatal(err)
		}
		for n := 1; in.Next() != nil; n++ {
			if n > 1 {
				t.Fatal("took a second message beyond the bytes")
			}
			got++
		}
	}
	if err := pub.RecvMany(in, 1, 1); !errors.Is(err, ErrAgain) || in.Next() != nil {
		t.Errorf("nothing waits: got %v", err)
	}
}

// TestManyToFullQueue: what does not fit stays, in order, and goes out later;
// who is gone is said.
func TestManyToFullQueue(t *testing.T) {
	ctx, err := NewContext(NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	router, err := ctx.NewSocket(ROUTER, SocketConfig{SendQueue: 10, RecvTimeout: Forever})
	if err != nil {
		t.Fatal(err)
	}
	dealer, err := ctx.NewSocket(DEALER, SocketConfig{ReceiveQueue: 10, RecvTimeout: Forever})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(router.Close(), dealer.Close(), ctx.Close()); err != nil {
			t.Error(err)
		}
	}()
	endpoint, err := router.Bind("inproc://many")
	if err := errors.Join(err, router.MustReach(), dealer.Connect(endpoint), dealer.SendFrames([]byte("hi"))); err != nil {
		t.Fatal(err)
	}
	hi, err := router.RecvFrames()
	if err != nil {
		t.Fatal(err)
	}
	const messages = 100
	var out Outbox
	for i := range messages {
		out.Frame(hi[0], false)
		out.Frame(fmt.Appendf(nil, "%d", i), false)
		out.Frame(nil, true)
	}
	in := NewInbox()
	defer in.Close()
	sent, got, full := 0, 0, 0
	for got < messages {
		n, err := router.SendMany(&out)
		if errors.Is(err, ErrAgain) {
			full++
		} else if err != nil {
			t.Fatal(err)
		}
		if sent += n; sent+out.Messages() != messages {
			t.Fatalf("sent %d, %d wait", sent, out.Messages())
		}
		if err := dealer.RecvMany(in, 5, 1<<20); err != nil {
			t.Fatal(err)
		}
		for frames := in.Next(); frames != nil; frames = in.Next() {
			if len(frames) != 2 || string(frames[0]) != fmt.Sprint(got) || len(frames[1]) != 0 {
				t.Fatalf("message %d is %q", got, frames)
			}
			got++
		}
	}
	if full == 0 {
		t.Error("the queue was never full")
	}
	out.Frame([]byte("nobody"), false)
	out.Frame([]byte("x"), true)
	if n, err := router.SendMany(&out); n != 0 || !errors.Is(err, ErrUnreachable) || out.Messages() != 1 {
		t.Errorf("to nobody: sent %d, %v, %d wait", n, err, out.Messages())
	}
}

func TestAllocManyMessages(t *testing.T) {
	pub, sub := pair(t, SocketConfig{}, SocketConfig{})
	in := NewInbox()
	defer in.Close()
	var out Outbox
	frame := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		for range 20 {
			out.Frame(frame, false)
			out.Frame(frame, true)
		}
		if _, err := pub.SendMany(&out); err != nil {
			t.Fatal(err)
		}
		for got := 0; got < 20; {
			if err := sub.RecvMany(in, 20, 1<<20); err != nil {
				t.Fatal(err)
			}
			for in.Next() != nil {
				got++
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations for 20 messages", n)
	}
}

// TestManyDrop: a ROUTER passes over the messages that it cannot send, one by one.
func TestManyDrop(t *testing.T) {
	ctx, err := NewContext(NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ctx.NewSocket(ROUTER, SocketConfig{RecvTimeout: Forever})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.MustReach(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Bind("inproc://drop"); err != nil {
		t.Fatal(err)
	}
	d, err := ctx.NewSocket(DEALER, SocketConfig{RecvTimeout: Forever})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Connect("inproc://drop"); err != nil {
		t.Fatal(err)
	}
	if err := d.SendFrames([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	hello, err := r.RecvFrames()
	if err != nil {
		t.Fatal(err)
	}
	var out Outbox
	out.Drop()
	for _, m := range []struct{ to, body string }{
		{"nobody", "0"}, {string(hello[0]), "1"}, {"nobody", "2"}, {"nobody", ""}, {string(hello[0]), "4"}, {"nobody", "5"},
	} {
		out.Frame([]byte(m.to), false)
		out.Frame([]byte(m.body), true)
	}
	var dropped []int
	for done := 0; out.Messages() > 0; {
		sent, err := r.SendMany(&out)
		if done += sent; err == nil {
			break
		}
		if !errors.Is(err, ErrUnreachable) {
			t.Fatal(err)
		}
		dropped = append(dropped, done)
		out.Drop()
		done++
	}
	if fmt.Sprint(dropped) != "[0 2 3 5]" || out.Messages() != 0 || out.Size() != 0 {
		t.Errorf("dropped %v; %d messages of %d bytes are left", dropped, out.Messages(), out.Size())
	}
	for _, want := range []string{"1", "4"} {
		if f, err := d.RecvFrames(); err != nil || string(f[0]) != want {
			t.Errorf("got %q, %v, want %q", f, err, want)
		}
	}
	for _, err := range []error{r.Close(), d.Close(), ctx.Close()} {
		if err != nil {
			t.Error(err)
		}
	}
}

// TestMute: a socket that is muted does not end a wait, and does when it is heeded
// again.
func TestMute(t *testing.T) {
	pub, sub := pair(t, SocketConfig{}, SocketConfig{})
	w, err := NewWaiter(sub)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := pub.SendFrames([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for ready := []int(nil); len(ready) == 0; {
		if ready, err = w.Wait(nil, Forever); err != nil {
			t.Fatal(err)
		}
	}
	w.Mute(0, true)
	w.Wake()
	if ready, err := w.Wait(nil, Forever); err != nil || len(ready) != 0 {
		t.Errorf("got %v, %v", ready, err)
	}
	w.Mute(0, false)
	for ready := []int(nil); len(ready) == 0; {
		if ready, err = w.Wait(nil, Forever); err != nil {
			t.Fatal(err)
		}
	}
}
