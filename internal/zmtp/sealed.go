package zmtp

import (
	"encoding/binary"
	"fmt"
	"net"

	"golang.org/x/crypto/nacl/box"
)

// opener opens what a client sends after a handshake with keys.
type opener struct {
	key  *[32]byte
	last uint64
	text []byte
}

// open opens a frame's body, a MESSAGE command, and returns the frame in it, borrowed
// until the next call.
func (o *opener) open(body []byte) (flags byte, text []byte, err error) {
	if len(body) < messageAdded || string(body[:len(messageName)]) != messageName {
		return 0, nil, fmt.Errorf("%w: no MESSAGE", ErrProtocol)
	}
	b := body[len(messageName):]
	n := binary.BigEndian.Uint64(b)
	if n <= o.last {
		return 0, nil, fmt.Errorf("%w: a nonce again", ErrCurve)
	}
	nonce := countedNonce("CurveZMQMESSAGEC", b)
	text, ok := box.OpenAfterPrecomputation(o.text[:0], b[nonceSize:], &nonce, o.key)
	if !ok {
		return 0, nil, fmt.Errorf("%w: a message that cannot be opened", ErrCurve)
	}
	o.last, o.text = n, text
	switch text[0] {
	case 0:
	case sealedMore:
		flags = flagMore
	case sealedCommand:
		flags = flagCommand
	default:
		return 0, nil, fmt.Errorf("%w: flags %#x in a message", ErrProtocol, text[0])
	}
	return flags, text[1:], nil
}

// sealed is a connection that seals the frames that are written to it. Writes belong
// to one goroutine.
type sealed struct {
	net.Conn
	key   *[32]byte
	count uint64
	part  []byte // of a frame whose rest has not been written yet
	out   []byte
	text  []byte
	last  [24]byte // the nonce at hand
}

// NetConn returns the connection itself.
func (c *sealed) NetConn() net.Conn { return c.Conn }

// nonce begins a new nonce and returns the part of it that is sent.
func (c *sealed) nonce(prefix string) (n [nonceSize]byte) {
	c.count++
	copy(c.last[:], prefix)
	binary.BigEndian.PutUint64(c.last[16:], c.count)
	copy(n[:], c.last[16:])
	return n
}

// seal appends text, sealed with the nonce at hand.
func (c *sealed) seal(dst, text []byte) []byte {
	return box.SealAfterPrecomputation(dst, text, &c.last, c.key)
}

// sealedMax is how many bytes are sealed before they are written.
const sealedMax = 256 << 10

// Write seals the frames that b ends, and keeps the beginning of one that it does not.
func (c *sealed) Write(b []byte) (int, error) {
	written := len(b)
	c.out = c.out[:0]
	for len(b) > 0 {
		frame := b
		if len(c.part) > 0 {
			// The head is needed first to know how long the frame is.
			need := 1
			if size, ok := frameSize(c.part); ok {
				need = size - len(c.part)
			}
			take := min(need, len(b))
			c.part, b = append(c.part, b[:take]...), b[take:]
			if size, ok := frameSize(c.part); !ok || len(c.part) < size {
				continue
			}
			frame = c.part
		} else {
			size, ok := frameSize(b)
			if !ok || size > len(b) {
				c.part = append(c.part, b...)
				break
			}
			frame, b = b[:size], b[size:]
		}
		c.add(frame)
		c.part = c.part[:0]
		if len(c.out) >= sealedMax {
			if _, err := c.Conn.Write(c.out); err != nil {
				return 0, err
			}
			c.out = c.out[:0]
		}
	}
	if len(c.out) == 0 {
		return written, nil
	}
	if _, err := c.Conn.Write(c.out); err != nil {
		return 0, err
	}
	return written, nil
}

// add seals one whole frame.
func (c *sealed) add(frame []byte) {
	flags, head := byte(0), shortHead
	if frame[0]&flagMore != 0 {
		flags |= sealedMore
	}
	if frame[0]&flagCommand != 0 {
		flags |= sealedCommand
	}
	if frame[0]&flagLong != 0 {
		head = longHead
	}
	c.text = append(append(c.text[:0], flags), frame[head:]...)
	nonce := c.nonce("CurveZMQMESSAGES")
	c.out = AppendFrameHead(c.out, len(messageName)+nonceSize+box.Overhead+len(c.text), false)
	c.out = append(append(c.out, messageName...), nonce[:]...)
	c.out = c.seal(c.out, c.text)
}

// frameSize is the size of the frame that b begins with, head included; false where b
// has not enough of the head.
func frameSize(b []byte) (int, bool) {
	switch {
	case len(b) < shortHead:
		return 0, false
	case b[0]&flagLong == 0:
		return shortHead + int(b[1]), true
	case len(b) < longHead:
		return 0, false
	}
	return longHead + int(binary.BigEndian.Uint64(b[1:])), true
}
