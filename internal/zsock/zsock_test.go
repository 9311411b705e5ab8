package zsock

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair is an XPUB and a SUB socket joined over loopback TCP, subscribed to
// everything.
func pair(t testing.TB, pub, sub SocketConfig) (*Socket, *Socket) {
	t.Helper()
	ctx, err := NewContext(NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ctx.NewSocket(XPUB, pub)
	if err != nil {
		t.Fatal(err)
	}
	sub.RecvTimeout = Forever
	s, err := ctx.NewSocket(SUB, sub)
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := p.Bind("tcp://127.0.0.1:*")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Connect(endpoint), s.Subscribe("")); err != nil {
		t.Fatal(err)
	}
	awaitSubscription(t, p)
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), p.Close(), ctx.Close()); err != nil {
			t.Error(err)
		}
	})
	return p, s
}

func awaitSubscription(t testing.TB, p *Socket) {
	t.Helper()
	poller := NewPoller(p)
	for {
		if _, err := poller.Wait(nil, time.Second); err != nil {
			t.Fatal(err)
		}
		frame, err := p.TryRecvFrame()
		if errors.Is(err, ErrAgain) {
			continue
		}
		if err != nil || len(frame) == 0 || frame[0] != 1 {
			t.Fatalf("got subscription %q, %v", frame, err)
		}
		return
	}
}

// TestReadable: it says whether a message waits, without waiting or taking it.
func TestReadable(t *testing.T) {
	p, s := pair(t, SocketConfig{}, SocketConfig{})
	if s.Readable() || p.Readable() {
		t.Error("readable before anything was sent")
	}
	if err := p.SendFrames([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := NewPoller(s).Wait(nil, Forever); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if !s.Readable() {
			t.Error("not readable though a message waits")
		}
	}
	if _, err := s.RecvFrames(); err != nil {
		t.Fatal(err)
	}
	if s.Readable() {
		t.Error("readable though nothing waits")
	}
	if n := testing.AllocsPerRun(100, func() { p.Readable() }); n != 0 {
		t.Errorf("looking allocates %v times", n)
	}
}

func offHeap(t testing.TB, size int) []byte {
	t.Helper()
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(b) })
	return b
}

func TestLayoutOfBinding(t *testing.T) {
	if err := checkLayout(); err != nil {
		t.Fatal(err)
	}
}

func TestBatchTravelsInPlace(t *testing.T) {
	for _, tc := range []struct {
		name         string
		size         int
		order        []byte
		zeroCopy     bool
		framesWanted int
	}{
		{"copied", 100, nil, false, 2},
		{"by reference", 1 << 20, nil, true, 2},
		{"by reference, with order", 1 << 16, []byte{0, 1, 2}, true, 3},
		{"empty payload", 0, nil, false, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pub, sub := pair(t, SocketConfig{SendTimeout: Forever}, SocketConfig{})
			payload := offHeap(t, 2<<20)[:tc.size]
			for i := range payload {
				payload[i] = byte(i * 7)
			}
			order := tc.order
			if tc.zeroCopy && order != nil {
				order = append(offHeap(t, 4096)[:0], order...)
			}
			var token *Token
			if tc.zeroCopy {
				token = NewToken()
			}
			if err := pub.SendBatch([]byte("header"), payload, order, token); err != nil {
				t.Fatal(err)
			}
			m := NewMessage()
			defer m.Close()
			if err := sub.Recv(m); err != nil {
				t.Fatal(err)
			}
			if m.Frames() != tc.framesWanted || string(m.Frame(0)) != "header" ||
				!bytes.Equal(m.Frame(1), payload) || !bytes.Equal(m.Frame(2), tc.order) {
				t.Fatalf("got %d frames of %d, %d, %d bytes", m.Frames(), len(m.Frame(0)), len(m.Frame(1)), len(m.Frame(2)))
			}
			if token != nil {
				for token.Busy() {
					runtime.Gosched() // libzmq's I/O thread lets go after the write
				}
				token.Free()
			}
		})
	}
}

func TestFullQueueHoldsNothing(t *testing.T) {
	ctx, err := NewContext(NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	push, err := ctx.NewSocket(PUSH, SocketConfig{SendQueue: 1})
	if err != nil {
		t.Fatal(err)
	}
	// A bound PUSH socket without a peer has no queue to put a message into.
	if _, err := push.Bind("tcp://127.0.0.1:*"); err != nil {
		t.Fatal(err)
	}
	token := NewToken()
	if err := push.SendBatch([]byte("h"), offHeap(t, 4096), nil, token); !errors.Is(err, ErrAgain) {
		t.Fatalf("got %v, want ErrAgain", err)
	}
	if token.Busy() {
		t.Error("a message that was not sent is still held")
	}
	if err := push.TrySend([]byte("h"), nil); !errors.Is(err, ErrAgain) {
		t.Fatalf("TrySend: got %v, want ErrAgain", err)
	}
	token.Free()
	if err := errors.Join(push.Close(), ctx.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestExtraFramesAreCounted(t *testing.T) {
	pub, sub := pair(t, SocketConfig{SendTimeout: Forever}, SocketConfig{})
	frames := [][]byte{[]byte("0"), []byte("1"), []byte("2"), []byte("3"), []byte("4"), []byte("5")}
	if err := pub.SendFrames(frames...); err != nil {
		t.Fatal(err)
	}
	if err := pub.SendFrames([]byte("next")); err != nil {
		t.Fatal(err)
	}
	m := NewMessage()
	defer m.Close()
	if err := sub.Recv(m); err != nil {
		t.Fatal(err)
	}
	if m.Frames() != 6 || string(m.Frame(3)) != "3" || m.Frame(4) != nil {
		t.Fatalf("got %d frames, frame 3 %q, frame 4 %q", m.Frames(), m.Frame(3), m.Frame(4))
	}
	if err := sub.Recv(m); err != nil {
		t.Fatal(err)
	}
	if m.Frames() != 1 || string(m.Frame(0)) != "next" {
		t.Fatalf("got %d frames, frame 0 %q", m.Frames(), m.Frame(0))
	}
}

func TestForbiddenCPUIsRefused(t *testing.T) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	forbidden := 0
	for set.IsSet(forbidden) {
		forbidden++
	}
	if _, err := NewContext(forbidden); err == nil {
		t.Errorf("a context on CPU %d, which is forbidden, was made", forbidden)
	}
	if _, err := PinThread(forbidden); err == nil {
		t.Errorf("a thread was pinned to CPU %d, which is forbidden", forbidden)
	}
}

func TestAllocSendAndReceive(t *testing.T) {
	pub, sub := pair(t, SocketConfig{SendTimeout: Forever}, SocketConfig{})
	payload, header, token, m := offHeap(t, 1<<16), make([]byte, 80), NewToken(), NewMessage()
	defer m.Close()
	allocs := testing.AllocsPerRun(200, func() {
		if err := pub.SendBatch(header, payload, nil, token); err != nil {
			t.Fatal(err)
		}
		if err := sub.Recv(m); err != nil {
			t.Fatal(err)
		}
		if len(m.Frame(1)) != len(payload) {
			t.Fatal("short frame")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations a batch, want 0", allocs)
	}
}

func BenchmarkBatch(b *testing.B) {
	for _, size := range []int{64 << 10, 256 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("payload=%dKiB", size>>10), func(b *testing.B) {
			pub, sub := pair(b, SocketConfig{SendTimeout: Forever, SendQueue: 32, NoDrop: true}, SocketConfig{ReceiveQueue: 32})
			payload, header, token := offHeap(b, size), make([]byte, 80), NewToken()
			n := b.N
			done := make(chan error)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			go func() {
				m := NewMessage()
				defer m.Close()
				for range n {
					if err := sub.Recv(m); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
			for range n {
				if err := pub.SendBatch(header, payload, nil, token); err != nil {
					b.Fatal(err)
				}
			}
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
}
