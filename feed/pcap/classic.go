package pcap

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/gopacket/gopacket/layers"

	"github.com/tapedeck/tapedeck/feed/window"
)

// The file head and the packet head of a pcap, as in draft-ietf-opsawg-pcap:
// magic u32, version u16 u16, two reserved u32, snap length u32, link type u32;
// then per packet seconds u32, fraction u32, captured length u32, length u32.
const (
	classicHeadSize   = 24
	classicMajorOff   = 4
	classicLinkOff    = 20
	classicPacketSize = 16
	classicMajor      = 2

	magicSize   = 4
	magicMicros = 0xa1b2c3d4
	magicNanos  = 0xa1b23c4d
)

// classicMagic returns the byte order of a pcap and what the fraction of its
// times counts, ns.
func classicMagic(b []byte) (order binary.ByteOrder, fraction uint32, ok bool) {
	if len(b) < magicSize {
		return nil, 0, false
	}
	for _, order := range [...]binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(b) {
		case magicMicros:
			return order, 1000, true
		case magicNanos:
			return order, 1, true
		}
	}
	return nil, 0, false
}

// openClassic reads the file head.
func (c *capture) openClassic() error {
	if err := c.win.Fill(classicHeadSize); window.Ended(err) {
		return fmt.Errorf("%w: its head is cut off", ErrCapture)
	} else if err != nil {
		return err
	}
	b := c.win.Rest()
	c.order, c.fraction, _ = classicMagic(b)
	if v := c.order.Uint16(b[classicMajorOff:]); v != classicMajor {
		return fmt.Errorf("%w: pcap of version %d", ErrCapture, v)
	}
	// The upper half of the field says how long a frame check sequence is.
	c.link = layers.LinkType(c.order.Uint32(b[classicLinkOff:]))
	if !known(c.link) {
		return fmt.Errorf("%w: %d (%v)", ErrLink, uint16(c.link), c.link)
	}
	c.win.Pass(classicHeadSize)
	return nil
}

// readClassic reads a packet.
func (c *capture) readClassic(f *frame) error {
	if err := c.win.Fill(classicPacketSize); err != nil {
		if err == io.EOF && len(c.win.Rest()) == 0 {
			return io.EOF
		}
		return c.cut(err)
	}
	b := c.win.Rest()
	seconds, fraction := c.order.Uint32(b), c.order.Uint32(b[4:])
	size, length := c.order.Uint32(b[8:]), c.order.Uint32(b[12:])
	if size > snapMax {
		return damaged("a packet of %d bytes", size)
	}
	all := classicPacketSize + int(size)
	if err := c.need(all); err != nil {
		return err
	}
	f.data = c.win.Rest()[classicPacketSize:all:all]
	c.win.Pass(all)
	c.number++
	f.length, f.link, f.noTime = int(length), c.link, false
	return f.setTime(int64(seconds), uint64(fraction)*uint64(c.fraction))
}
