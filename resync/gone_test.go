package resync

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/chaos/hostile"
)

// greetBare greets as a ROUTER, and takes a byte of the client's first message.
func greetBare(conn net.Conn) error {
	in, err := hostile.Greet(conn, "ROUTER")
	if err != nil {
		return err
	}
	_, err = in.ReadByte()
	return err
}

// TestGoneWithReplies: a server goes, again and again, while much of it is on its way;
// the client asks the next one. libzmq aborts the process, in the middle of a message,
// where the socket queues on standing connections alone.
func TestGoneWithReplies(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	const rounds = 20
	through := make(chan error, 1)
	go func() {
		through <- func() error {
			for round := 0; round < rounds; {
				conn, err := listener.Accept()
				if err != nil {
					return err
				}
				if greetBare(conn) == nil { // and not a connection that came too late
					if _, err := io.WriteString(conn, strings.Repeat("\x01\x01a\x01\x01b\x01\x01c\x01\x01d\x00\x01e", 5000)); err == nil {
						round++
					}
				}
				_ = conn.Close()
			}
			return nil
		}()
	}()
	c, err := NewClient(ClientConfig{Endpoints: []string{"tcp://" + listener.Addr().String()}, Silence: 800 * time.Millisecond, Attempts: 1 << 30, Backoff: time.Millisecond, BackoffMax: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 2)
	go func() { ended <- c.Run(ctx) }()
	go func() {
		_, err := c.Find(ctx, 0, "event")
		ended <- err
	}()
	if err := <-through; err != nil {
		t.Error(err)
	}
	cancel()
	for range 2 {
		if err := <-ended; !errors.Is(err, context.Canceled) && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
	if st := c.Stats(); st.Refused == 0 {
		t.Errorf("%+v", st)
	}
}
