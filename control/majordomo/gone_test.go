package majordomo

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/chaos/hostile"
	"github.com/tapedeck/tapedeck/control/pirate"
)

// bareConn is a broker's end of one connection, by the bytes of ZMTP (RFC 23).
type bareConn struct {
	net.Conn
	in *bufio.Reader
}

func (c *bareConn) frame() (body string, flags byte, err error) {
	head := make([]byte, 2)
	if _, err = io.ReadFull(c.in, head); err != nil {
		return "", 0, err
	}
	b := make([]byte, head[1])
	_, err = io.ReadFull(c.in, b)
	return string(b), head[0], err
}

// message returns the frames of the next message. None is long here.
func (c *bareConn) message() (frames []string, err error) {
	for {
		body, flags, err := c.frame()
		if err != nil {
			return nil, err
		}
		if flags&4 != 0 {
			continue // a command
		}
		if frames = append(frames, body); flags&1 == 0 {
			return frames, nil
		}
	}
}

// bareMessage is a message as it travels.
func bareMessage(frames ...string) string {
	var b strings.Builder
	for i, f := range frames {
		more := byte(1)
		if i == len(frames)-1 {
			more = 0
		}
		b.Write([]byte{more, byte(len(f))})
		b.WriteString(f)
	}
	return b.String()
}

// serve takes a request and sends many replies to another one, and at last its own.
func (c *bareConn) serve(last bool) (answered bool, err error) {
	if c.in, err = hostile.Greet(c, "ROUTER"); err != nil {
		return false, err
	}
	m, err := c.message() // "", client, service, number, body
	if err != nil {
		return false, err
	}
	late := bareMessage("", headerClient, m[2], string(pirate.AppendNumber(nil, 1<<40, false)), "late")
	if _, err = io.WriteString(c, strings.Repeat(late, 5000)); err == nil && last {
		_, err = io.WriteString(c, bareMessage("", headerClient, m[2], m[3], "right"))
		return true, err
	}
	return false, err
}

// TestGoneWithReplies: a broker goes, again and again, while many replies of it are on
// their way, and the client asks the next one. libzmq aborts the process, in the middle
// of a message, where the socket queues on standing connections alone.
func TestGoneWithReplies(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	const rounds = 20
	failed := make(chan error, 1)
	go func() {
		failed <- func() error {
			for round := 0; ; {
				conn, err := listener.Accept()
				if err != nil {
					return err
				}
				c := &bareConn{Conn: conn}
				if last, err := c.serve(round == rounds-1); last {
					return err
				} else if err == nil { // and not a connection that came too late
					round++
				}
				_ = c.Close()
			}
		}()
	}()
	c := newClient(t, ClientConfig{Endpoints: []string{"tcp://" + listener.Addr().String()}})
	reply, err := c.Request(context.Background(), "echo", []byte("x"))
	if err != nil || len(reply) != 1 || string(reply[0]) != "right" {
		t.Errorf("%q, %v", reply, err)
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}
	if n := c.Counters(); n.Resent < rounds-1 || n.Late == 0 {
		t.Errorf("%+v", n)
	}
}
