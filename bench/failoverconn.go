package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// subConn is the least that a SUB socket of ZMTP 3.0 (ZeroMQ RFC 23, mechanism NULL)
// has to be: it greets, subscribes to everything, and takes messages whose frames come
// in threes. It takes a tenth of the processor time that libzmq takes for that, so
// that twenty of them have the rate on two cores that one has.
type subConn struct {
	endpoint string
	buf      []byte
	begin    func() (now int64) // before the entries of a read; end comes after them
	entry    func(topic, header, body []byte, now int64) error
	end      func()
	made     func() // the connection is there
}

// connectAgain is how long after a connection's end the next one is tried, as libzmq
// has it.
const connectAgain = 100 * time.Millisecond

// subBuffer is about how many bytes are read at once; entryMax bounds an entry.
const (
	subBuffer = 256 << 10
	entryMax  = 16 << 20
)

// run connects, again and again, and receives until ctx ends or a message is wrong.
func (c *subConn) run(ctx context.Context) error {
	c.buf = make([]byte, subBuffer)
	for ctx.Err() == nil {
		err := c.once(ctx)
		var wrong errMessage
		if errors.As(err, &wrong) && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(connectAgain):
		}
	}
	return nil
}

// errMessage is what a server must not send, and no end of a connection.
type errMessage struct{ error }

func (c *subConn) once(ctx context.Context) error {
	network, address, _ := strings.Cut(c.endpoint, "://")
	if network == "ipc" {
		network = "unix"
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	r := bufio.NewReader(conn)
	if err := greetAsSub(conn, r); err != nil {
		return err
	}
	c.made()
	n := copy(c.buf, peeked(r))
	for {
		rest, err := c.take(c.buf[:n])
		if err != nil {
			return errMessage{fmt.Errorf("bench: from %s: %w", c.endpoint, err)}
		}
		n = copy(c.buf, rest)
		if n == len(c.buf) {
			if n >= entryMax {
				return errMessage{fmt.Errorf("bench: from %s: an entry of more than %d bytes", c.endpoint, n)}
			}
			c.buf = append(c.buf, make([]byte, n)...)
		}
		more, err := conn.Read(c.buf[n:])
		if err != nil {
			return err
		}
		n += more
	}
}

// peeked is what a buffered reader has read ahead.
func peeked(r *bufio.Reader) []byte {
	b, _ := r.Peek(r.Buffered())
	return b
}

// greetAsSub greets, says what it is, subscribes to everything, and takes the other
// side's greeting and its READY command.
func greetAsSub(w io.Writer, r io.Reader) error {
	const greetingSize = 64
	greeting := make([]byte, greetingSize)
	greeting[0], greeting[9], greeting[10] = 0xff, 0x7f, 3
	copy(greeting[12:], "NULL")
	const ready = "\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"
	const everything = "\x00\x01\x01" // a message of one frame, of one byte
	hello := append(append(greeting, 4, byte(len(ready))), ready+everything...)
	if _, err := w.Write(hello); err != nil {
		return err
	}
	theirs := make([]byte, greetingSize+2)
	if _, err := io.ReadFull(r, theirs); err != nil {
		return err
	}
	if theirs[0] != 0xff || theirs[9] != 0x7f || theirs[10] < 3 || theirs[greetingSize] != 4 {
		return errMessage{errors.New("bench: no greeting of ZMTP 3 without keys")}
	}
	_, err := io.CopyN(io.Discard, r, int64(theirs[greetingSize+1]))
	return err
}

// take hands on the whole entries of b and returns the rest.
func (c *subConn) take(b []byte) ([]byte, error) {
	now := c.begin()
	defer c.end()
	for {
		var frames [3][]byte
		rest := b
		for i := range frames {
			for {
				body, flags, after, ok := zmtpFrame(rest)
				if !ok {
					return b, nil
				}
				rest = after
				if flags&4 == 0 { // a command may stand between messages
					frames[i] = body
					break
				}
			}
		}
		if err := c.entry(frames[0], frames[1], frames[2], now); err != nil {
			return b, err
		}
		b = rest
	}
}

// zmtpFrame takes the first frame of b. ok is false where it is not whole.
func zmtpFrame(b []byte) (body []byte, flags byte, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, 0, nil, false
	}
	n, size := 2, uint64(b[1])
	if b[0]&2 != 0 {
		if len(b) < 9 {
			return nil, 0, nil, false
		}
		n, size = 9, binary.BigEndian.Uint64(b[1:])
	}
	if size > uint64(len(b)-n) {
		return nil, 0, nil, false
	}
	end := n + int(size)
	return b[n:end], b[0], b[end:], true
}
