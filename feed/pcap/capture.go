package pcap

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/gopacket/gopacket/layers"

	"github.com/tapedeck/tapedeck/feed/window"
	"github.com/tapedeck/tapedeck/wire"
)

const (
	// snapMax is the largest packet that is taken for one, bytes. The limit that the
	// head of a capture states is not looked at: 0 stands there as often as a limit
	// that the packets do not keep to.
	snapMax = 16 << 20

	magicSize   = 4
	magicMicros = 0xa1b2c3d4
	magicNanos  = 0xa1b23c4d
	magicNext   = 0x0a0d0d0a // of a pcapng, the same in both byte orders
)

// frame is one captured packet. Its data is borrowed until the next one.
type frame struct {
	data   []byte
	time   wire.Nanos
	noTime bool // the capture has no time for it
	length int  // bytes it had on the line
	link   layers.LinkType
}

// capture reads the packets of a pcap or a pcapng with the readers of pcapgo, and
// says what became of those that they cannot read.
type capture struct {
	in     *input
	read   func(f *frame) error // the next packet, by one of the two formats
	number int64                // of the packet read last, from 1
	offset int64                // of what was read last, a packet's head or block
}

// IsCapture reports whether head, the first bytes of an input, is that of a pcap
// (microseconds or nanoseconds, either byte order) or a pcapng.
func IsCapture(head []byte) bool { return isClassic(head) || isPcapng(head) }

func isClassic(b []byte) bool {
	if len(b) < magicSize {
		return false
	}
	le, be := binary.LittleEndian.Uint32(b), binary.BigEndian.Uint32(b)
	return le == magicMicros || le == magicNanos || be == magicMicros || be == magicNanos
}

func isPcapng(b []byte) bool {
	return len(b) >= magicSize && binary.LittleEndian.Uint32(b) == magicNext
}

// newCapture reads the head of the capture in r through a buffer of size bytes.
func newCapture(ctx context.Context, r io.Reader, size int) (*capture, error) {
	c := &capture{in: newInput(ctx, r, size)}
	head, err := c.in.buf.Peek(magicSize)
	switch {
	case isClassic(head):
		return c, c.openClassic()
	case isPcapng(head):
		return c, c.openPcapng()
	case err != nil && !window.Ended(err):
		return nil, err
	}
	return nil, ErrCapture
}

// next reads the next packet. It returns io.EOF at the end, an error that wraps
// ErrTruncated or ErrDamaged where the capture cannot be read on, ErrTime where
// it can, and else what the reader of the input said.
func (c *capture) next(f *frame) error { return c.read(f) }

// bad is the error for a head that the library does not take.
func (c *capture) bad(err error) error {
	if c.in.err != nil && !window.Ended(c.in.err) {
		return c.in.err
	}
	if window.Ended(err) {
		return fmt.Errorf("%w: its head is cut off", ErrCapture)
	}
	return fmt.Errorf("%w: %w", ErrCapture, err)
}

// cut is the error for an input that ends inside a packet, and any other as it is.
// What the buffer was told reading ahead comes after damage in what it holds.
func (c *capture) cut(err error) error {
	switch {
	case errors.Is(err, ErrDamaged):
		return err
	case c.in.err != nil && !window.Ended(c.in.err):
		return c.in.err
	case errors.Is(c.in.err, io.ErrUnexpectedEOF): // what is around the capture is cut off
		return fmt.Errorf("%w: %w", ErrTruncated, c.in.err)
	case window.Ended(err):
		return fmt.Errorf("%w: %d bytes are left", ErrTruncated, c.in.read-c.offset)
	}
	return err
}

// damaged is the error for framing that makes no sense.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
}

// secondsMax bounds the times that nanoseconds can hold, on both sides of 1970.
const secondsMax = int64(wire.NanosMax/1e9) - 1

// setTime sets the time of a frame; ns is below a second.
func (f *frame) setTime(seconds, ns int64) error {
	if seconds > secondsMax || seconds < -secondsMax {
		return ErrTime
	}
	f.time = wire.Nanos(seconds*1e9 + ns)
	return nil
}
