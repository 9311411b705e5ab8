package zsock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/chaos/hostile"
)

// rudeRounds: how often a peer leaves rudely. Whether libzmq has noticed that when it
// reads on is chance.
const rudeRounds = 20

// TestRudePeer: a peer that sends more than waits in a queue, pings among it, and then
// resets its connection ends no process. libzmq 4.3.4 aborts where it has stopped
// reading such a connection for want of room.
func TestRudePeer(t *testing.T) {
	const rude = "TAPEDECK_TEST_RUDE"
	if kind := os.Getenv(rude); kind != "" {
		sitThrough(t, map[string]Type{"ROUTER": ROUTER, "XPUB": XPUB, "PUB": PUB}[kind])
		return
	}
	for kind, peer := range map[string]string{"ROUTER": "DEALER", "XPUB": "SUB", "PUB": "SUB"} {
		t.Run(kind, func(t *testing.T) {
			c := startChild(t, "TestRudePeer", rude, kind)
			for range rudeRounds {
				endpoint, err := c.word()
				if err != nil {
					break
				}
				if err := beRude(strings.TrimPrefix(endpoint, "tcp://"), peer); err != nil {
					break // it is gone, which its end tells
				}
				if _, err := fmt.Fprintln(c.told, "read"); err != nil {
					break
				}
			}
			c.end()
		})
	}
}

// rudeMessages are more than libzmq's queues hold.
const rudeMessages = 5000

// beRude sends subscriptions, and a ping behind each, and resets the connection.
func beRude(address, socket string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := hostile.Greet(conn, socket); err != nil {
		return err
	}
	var b []byte
	for range rudeMessages {
		b = append(b, "\x00\x02\x01A\x04\x08\x04PING\x00\x00\x00"...)
	}
	if _, err := conn.Write(b); err != nil {
		return err
	}
	for pongs := make([]byte, 64<<10); err == nil; _, err = conn.Read(pongs) { // until it has stopped, or had all
		if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			return err
		}
	}
	return conn.(*net.TCPConn).SetLinger(0)
}

// sitThrough binds a socket in this process, and reads what came each time that it is
// told to on standard input.
func sitThrough(t *testing.T, kind Type) {
	ctx, err := NewContext(NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ctx.NewSocket(kind, SocketConfig{})
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := s.Bind("tcp://127.0.0.1:*")
	if err != nil {
		t.Fatal(err)
	}
	for range rudeRounds {
		fmt.Println(endpoint)
		var word string
		if _, err := fmt.Scanln(&word); err != nil {
			t.Fatal(err)
		}
		if kind == PUB {
			err = s.SendFrames([]byte("A"))
		}
		for err == nil && kind != PUB {
			_, err = s.RecvFrames()
		}
		if err != nil && !errors.Is(err, ErrAgain) {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.Close(), ctx.Close()); err != nil {
		t.Fatal(err)
	}
}
