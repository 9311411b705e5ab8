package pcap

import (
	"io"
	"math/bits"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

const (
	// interfacesMax bounds the interfaces of a section.
	interfacesMax = 1 << 12
	// decimalMax is the finest decimal resolution of times: 10^19 fits 64 bits. The
	// library reckons with finer ones as well, wrongly.
	decimalMax = 19
)

// networkInterface is what packets of an interface have in common.
type networkInterface struct {
	link   layers.LinkType
	binary bool  // its times count 2^-shift s; otherwise the library reckons with them
	shift  uint  // with binary
	offset int64 // s, with binary
}

// pcapng reads a pcapng with the library. Packets that have options of their own,
// such as comments, cost it allocations; so do link types from 256 on.
type pcapng struct {
	capture    *capture
	blocks     blocks
	reader     *pcapgo.NgReader
	interfaces []networkInterface // of the section
	binary     bool               // for one of them at least
}

// openPcapng reads the first section head, so that a file that only begins like
// a pcapng is told at once.
func (c *capture) openPcapng() error {
	p := &pcapng{capture: c, blocks: blocks{in: c.in}}
	err := p.blocks.next()
	if err == nil {
		p.reader, err = pcapgo.NewNgReader(&p.blocks, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	}
	if err != nil {
		return c.bad(err)
	}
	c.read = p.read
	return nil
}

// read reads blocks up to the next packet.
func (p *pcapng) read(f *frame) error {
	for {
		err := p.blocks.next()
		p.capture.offset = p.blocks.at
		if err == io.EOF {
			return io.EOF
		}
		if err != nil {
			return p.capture.cut(err)
		}
		switch p.blocks.typ {
		case blockSection:
			p.interfaces, p.binary = p.interfaces[:0], false
			err = p.other()
		case blockInterface:
			if err = p.other(); err == nil {
				err = p.describe()
			}
		default:
			return p.packet(f)
		}
		if err != nil {
			return err
		}
	}
}

// other has the library read a block without a packet.
func (p *pcapng) other() error {
	if _, _, err := p.reader.ZeroCopyReadPacketData(); err != io.EOF || p.blocks.left > 0 {
		return p.failed(err)
	}
	return nil
}

// failed is the error for a block that the library cannot read. Since a block is
// all that it gets to read, an end that it runs into is the block's.
func (p *pcapng) failed(err error) error {
	if p.blocks.err != nil {
		return p.capture.cut(p.blocks.err)
	}
	return damaged("a block of %d bytes: %w", p.blocks.size, err)
}

// describe notes what is to be known of an interface that the library just read.
func (p *pcapng) describe() error {
	last := p.reader.NInterfaces() - 1
	if last >= interfacesMax {
		return damaged("more than %d interfaces in a section", interfacesMax)
	}
	i, err := p.reader.Interface(last)
	if err != nil {
		return damaged("%w", err)
	}
	resolution := i.TimestampResolution
	n := networkInterface{link: i.LinkType, binary: resolution.Binary(), shift: uint(resolution.Exponent()), offset: int64(i.TimestampOffset)}
	if !n.binary && n.shift > decimalMax {
		return damaged("times in units of 10^-%d s", n.shift)
	}
	p.interfaces, p.binary = append(p.interfaces, n), p.binary || n.binary
	return nil
}

// packet reads the packet in the current block.
func (p *pcapng) packet(f *frame) error {
	units := uint64(0)
	if p.binary {
		units = p.blocks.units()
	}
	data, ci, err := p.reader.ZeroCopyReadPacketData()
	if err != nil || p.blocks.left > 0 {
		return p.failed(err)
	}
	n := &p.interfaces[ci.InterfaceIndex]
	p.capture.number++
	f.data, f.length, f.link, f.noTime, f.time = data, ci.Length, n.link, p.blocks.typ == blockSimple, 0
	switch {
	case f.noTime:
		return nil
	case n.binary:
		return f.setBinary(n, units)
	}
	return f.setTime(ci.Timestamp.Unix(), int64(ci.Timestamp.Nanosecond()))
}

// setBinary sets a time in units of a power of two, which the library rounds to
// units of whole nanoseconds before it counts them.
func (f *frame) setBinary(n *networkInterface, units uint64) error {
	seconds := units >> n.shift
	if seconds > uint64(secondsMax)*2 || n.offset > secondsMax*2 || n.offset < -secondsMax*2 {
		return ErrTime
	}
	hi, lo := bits.Mul64(units&(1<<n.shift-1), 1e9)
	return f.setTime(int64(seconds)+n.offset, int64(hi<<(64-n.shift)|lo>>n.shift))
}
