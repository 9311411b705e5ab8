package pcap

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"

	"github.com/gopacket/gopacket/layers"

	"github.com/tapedeck/tapedeck/feed/window"
)

// Blocks of a pcapng, as in draft-ietf-opsawg-pcapng: type u32, total length u32,
// body, total length u32 again.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 2 // obsolete, still in old files
	blockSimple    = 3
	blockEnhanced  = 6

	blockHeadSize = 8
	blockSizeMin  = 12
	blockTailSize = 4

	orderMagic   = 0x1a2b3c4d
	sectionMajor = 1

	sectionFixed   = 16 // order magic u32, version u16 u16, section length i64
	interfaceFixed = 8  // link type u16, reserved u16, snap length u32
	packetFixed    = 20 // interface u32, time u32 u32, captured length u32, length u32
	simpleFixed    = 4  // length u32

	optEnd        = 0
	optResolution = 9
	optOffset     = 14

	// otherSizeMax bounds a section or interface block, bytes.
	otherSizeMax = 1 << 20
	// interfacesMax bounds the interfaces of a section.
	interfacesMax = 1 << 12
)

// networkInterface is what an interface description block says.
type networkInterface struct {
	link    layers.LinkType
	snap    uint32
	seconds int64  // added to its times
	divisor uint64 // units per second, a power of ten
	shift   uint   // or its logarithm to base two, where divisor is 0
}

func isPcapng(b []byte) bool {
	return len(b) >= magicSize && binary.LittleEndian.Uint32(b) == blockSection
}

// openPcapng reads the first section head, so that a file that only begins like
// a pcapng is told at once.
func (c *capture) openPcapng() error {
	_, size, err := c.block()
	if err == nil {
		err = c.section(size)
	}
	if err != nil && c.win.Failed() != nil && !window.Ended(c.win.Failed()) {
		return c.win.Failed()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCapture, err)
	}
	return nil
}

// readPcapng reads blocks up to the next packet.
func (c *capture) readPcapng(f *frame) error {
	for {
		typ, size, err := c.block()
		if err != nil {
			return err
		}
		switch typ {
		case blockEnhanced, blockPacket, blockSimple:
			return c.packetBlock(f, typ, size)
		case blockSection:
			err = c.section(size)
		case blockInterface:
			err = c.interfaceBlock(size)
		default:
			if err = c.win.Skip(int64(size)); err != nil {
				return c.cut(err)
			}
		}
		if err != nil {
			return err
		}
	}
}

// block looks at the head of the next block and returns its type and size. The
// window stays at its start.
func (c *capture) block() (typ, size uint32, err error) {
	if err := c.win.Fill(blockSizeMin); err != nil {
		if err == io.EOF && len(c.win.Rest()) == 0 {
			return 0, 0, io.EOF
		}
		return 0, 0, c.cut(err)
	}
	b := c.win.Rest()
	if isPcapng(b) { // a section may have another byte order
		switch uint32(orderMagic) {
		case binary.LittleEndian.Uint32(b[blockHeadSize:]):
			c.order = binary.LittleEndian
		case binary.BigEndian.Uint32(b[blockHeadSize:]):
			c.order = binary.BigEndian
		default:
			return 0, 0, damaged("no byte order in a section head")
		}
	}
	typ, size = c.order.Uint32(b), c.order.Uint32(b[4:])
	if size < blockSizeMin || size%4 != 0 {
		return 0, 0, damaged("a block of %d bytes", size)
	}
	return typ, size, nil
}

// body takes a block of at least fixed bytes of body out of the window, borrowed
// until the next fill.
func (c *capture) body(size uint32, fixed, limit int) ([]byte, error) {
	if int64(size) < int64(fixed+blockSizeMin) || int64(size) > int64(limit) {
		return nil, damaged("a block of %d bytes", size)
	}
	if err := c.need(int(size)); err != nil {
		return nil, err
	}
	b := c.win.Rest()[:size:size]
	if tail := c.order.Uint32(b[size-blockTailSize:]); tail != size {
		return nil, damaged("a block of %d bytes that ends with a size of %d", size, tail)
	}
	c.win.Pass(int(size))
	return b[blockHeadSize : size-blockTailSize], nil
}

// section begins a section, which has interfaces of its own.
func (c *capture) section(size uint32) error {
	b, err := c.body(size, sectionFixed, otherSizeMax)
	if err != nil {
		return err
	}
	if v := c.order.Uint16(b[4:]); v != sectionMajor {
		return damaged("a section of pcapng version %d", v)
	}
	c.interfaces = c.interfaces[:0]
	return nil
}

// interfaceBlock adds an interface.
func (c *capture) interfaceBlock(size uint32) error {
	b, err := c.body(size, interfaceFixed, otherSizeMax)
	if err != nil {
		return err
	}
	if len(c.interfaces) == interfacesMax {
		return damaged("more than %d interfaces in a section", interfacesMax)
	}
	n := networkInterface{link: layers.LinkType(c.order.Uint16(b)), snap: c.order.Uint32(b[4:]), divisor: 1e6}
	for b = b[interfaceFixed:]; len(b) >= 4; {
		code, size := c.order.Uint16(b), int(c.order.Uint16(b[2:]))
		if code == optEnd {
			break
		}
		if 4+size > len(b) {
			return damaged("an option of %d bytes", size)
		}
		value := b[4 : 4+size]
		switch {
		case code == optResolution && size == 1:
			if err := n.setResolution(value[0]); err != nil {
				return err
			}
		case code == optOffset && size == 8:
			n.seconds = int64(c.order.Uint64(value))
		}
		b = b[min(4+(size+3)/4*4, len(b)):]
	}
	c.interfaces = append(c.interfaces, n)
	return nil
}

// setResolution reads if_tsresol: a negative power of ten, or of two.
func (n *networkInterface) setResolution(v uint8) error {
	if v&0x80 != 0 {
		if n.divisor, n.shift = 0, uint(v&0x7f); n.shift > 63 {
			return damaged("times in units of 2^-%d s", n.shift)
		}
		return nil
	}
	if v > 19 {
		return damaged("times in units of 10^-%d s", v)
	}
	for n.divisor = 1; v > 0; v-- {
		n.divisor *= 10
	}
	return nil
}

// time splits a time in units of the interface into seconds and nanoseconds.
func (n *networkInterface) time(units uint64) (seconds uint64, ns uint64) {
	if n.divisor == 0 {
		hi, lo := bits.Mul64(units&(1<<n.shift-1), 1e9)
		return units >> n.shift, hi<<(64-n.shift) | lo>>n.shift
	}
	seconds, units = units/n.divisor, units%n.divisor
	if n.divisor <= 1e9 {
		return seconds, units * (1e9 / n.divisor)
	}
	return seconds, units / (n.divisor / 1e9)
}

// packetBlock reads the packet in a block.
func (c *capture) packetBlock(f *frame, typ, size uint32) error {
	fixed := packetFixed
	if typ == blockSimple {
		fixed = simpleFixed
	}
	b, err := c.body(size, fixed, snapMax)
	if err != nil {
		return err
	}
	index, captured, length := uint32(0), uint32(0), uint32(0)
	switch typ {
	case blockEnhanced:
		index, captured, length = c.order.Uint32(b), c.order.Uint32(b[12:]), c.order.Uint32(b[16:])
	case blockPacket: // the upper half of the word counts drops
		index, captured, length = uint32(c.order.Uint16(b)), c.order.Uint32(b[12:]), c.order.Uint32(b[16:])
	default:
		length = c.order.Uint32(b)
	}
	if int64(index) >= int64(len(c.interfaces)) {
		return damaged("a packet of interface %d, which the section does not describe", index)
	}
	n := &c.interfaces[index]
	if typ == blockSimple {
		captured = min(length, uint32(len(b)-fixed))
		if n.snap != 0 {
			captured = min(captured, n.snap)
		}
	}
	if int64(captured) > int64(len(b)-fixed) {
		return damaged("a packet of %d bytes in a block of %d", captured, size)
	}
	c.number++
	f.data = b[fixed:][:captured:captured]
	f.length, f.link, f.noTime, f.time = int(length), n.link, typ == blockSimple, 0
	if f.noTime {
		return nil
	}
	seconds, ns := n.time(uint64(c.order.Uint32(b[4:]))<<32 | uint64(c.order.Uint32(b[8:])))
	return f.setTimeOf(n, seconds, ns)
}

// setTimeOf is setTime with the interface's offset added.
func (f *frame) setTimeOf(n *networkInterface, seconds, ns uint64) error {
	if seconds > uint64(secondsMax)*2 || n.seconds > secondsMax*2 || n.seconds < -secondsMax*2 {
		return ErrTime
	}
	return f.setTime(int64(seconds)+n.seconds, ns)
}
