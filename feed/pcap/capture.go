package pcap

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/gopacket/gopacket/layers"

	"github.com/tapedeck/tapedeck/feed/window"
	"github.com/tapedeck/tapedeck/wire"
)

// snapMax is the largest packet that is taken for one, bytes. The limit that the
// head of a capture states is not looked at: 0 stands there as often as a limit
// that the packets do not keep to.
const snapMax = 16 << 20

// frame is one captured packet. Its data is borrowed until the next one.
type frame struct {
	data   []byte
	time   wire.Nanos
	noTime bool // the capture has no time for it
	length int  // bytes it had on the line
	link   layers.LinkType
}

// capture reads the packets of a pcap or a pcapng.
type capture struct {
	win    window.Window
	order  binary.ByteOrder
	read   func(f *frame) error // the next packet, by one of the two formats
	number int64                // of the packet read last, from 1

	// Of a pcap.
	link     layers.LinkType
	fraction uint32 // what the second half of its times counts, ns

	// Of a pcapng.
	interfaces []networkInterface
}

// IsCapture reports whether head, the first bytes of an input, is that of a pcap
// (microseconds or nanoseconds, either byte order) or a pcapng.
func IsCapture(head []byte) bool {
	_, _, ok := classicMagic(head)
	return ok || isPcapng(head)
}

// newCapture reads the head of the capture in r through a buffer of size bytes.
func newCapture(ctx context.Context, r io.Reader, size int) (*capture, error) {
	c := &capture{win: window.New(ctx, r, size)}
	if err := c.win.Fill(magicSize); err != nil && !window.Ended(err) {
		return nil, err
	}
	head := c.win.Rest()
	switch {
	case isPcapng(head):
		c.read = c.readPcapng
		return c, c.openPcapng()
	case IsCapture(head):
		c.read = c.readClassic
		return c, c.openClassic()
	}
	return nil, ErrCapture
}

// next reads the next packet. It returns io.EOF at the end, an error that wraps
// ErrTruncated or ErrDamaged where the capture cannot be read on, ErrTime where
// it can, and else what the reader of the input said.
func (c *capture) next(f *frame) error { return c.read(f) }

// need makes n bytes available, of which the first are a head that says that the
// others follow.
func (c *capture) need(n int) error {
	err := c.win.Fill(n)
	if err == nil {
		return nil
	}
	return c.cut(err)
}

// cut is the error for an input that ends inside a packet.
func (c *capture) cut(err error) error {
	switch {
	case err == io.EOF:
		return fmt.Errorf("%w: %d bytes are left", ErrTruncated, len(c.win.Rest()))
	case window.Ended(err):
		return fmt.Errorf("%w: %w", ErrTruncated, err)
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
func (f *frame) setTime(seconds int64, ns uint64) error {
	if seconds > secondsMax || seconds < -secondsMax {
		return ErrTime
	}
	f.time = wire.Nanos(seconds*1e9 + int64(ns))
	return nil
}
