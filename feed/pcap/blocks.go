package pcap

import (
	"encoding/binary"
	"io"
)

// Blocks of a pcapng, as in draft-ietf-opsawg-pcapng: type u32, total length u32,
// body, total length u32 again.
const (
	blockSection   = magicNext
	blockInterface = 1
	blockPacket    = 2 // obsolete, still in old files
	blockSimple    = 3
	blockEnhanced  = 6

	blockHeadSize = 8
	blockSizeMin  = 12
	blockTailSize = 4

	timeOff = 12 // of a packet block but a simple one

	orderMagic      = 0x1a2b3c4d
	sectionMajor    = 1
	sectionMajorOff = 12
	sectionMinorOff = 14
	sectionHeadSize = 16 // of a section block, as far as we look

	// otherSizeMax bounds a section or interface block, bytes.
	otherSizeMax = 1 << 20
)

// blocks hands a pcapng to the library one block at a time: a reader of the
// current block, at whose end it says io.EOF. The library trusts the lengths in a
// block, takes a block of length 0 for one of 4 GiB, runs over a block's end into
// the next one, does not look at the second length, and gives the whole capture up
// over a block of names or statistics that it cannot read. Here a block has its
// bounds, and those that nobody needs are left out.
type blocks struct {
	in    *input
	order binary.ByteOrder
	typ   uint32 // of the current block
	size  uint32
	at    int64 // its offset in the input
	left  int64 // bytes of it that were not read yet
	err   error // of the input inside it
}

// next goes to the next block that matters; what was not read of the current one
// is in the way. It returns io.EOF at the end, io.ErrUnexpectedEOF for an end
// inside a block, ErrDamaged, or what the reader of the input said.
func (b *blocks) next() error {
	for {
		if err := b.look(); err != nil {
			return err
		}
		switch b.typ {
		case blockPacket, blockSimple, blockEnhanced:
			return b.open(snapMax)
		case blockSection:
			if err := b.section(); err != nil {
				return err
			}
			return b.open(otherSizeMax)
		case blockInterface:
			return b.open(otherSizeMax)
		}
		if _, err := b.in.buf.Discard(int(b.size)); err != nil {
			return inside(err)
		}
	}
}

// look reads the head of a block, which stays in the buffer.
func (b *blocks) look() error {
	b.at = b.in.offset()
	head, err := b.in.buf.Peek(blockSizeMin)
	if err == io.EOF && len(head) == 0 {
		return io.EOF
	}
	if err != nil {
		return inside(err)
	}
	if isPcapng(head) { // a section may have another byte order
		switch uint32(orderMagic) {
		case binary.LittleEndian.Uint32(head[blockHeadSize:]):
			b.order = binary.LittleEndian
		case binary.BigEndian.Uint32(head[blockHeadSize:]):
			b.order = binary.BigEndian
		default:
			return damaged("no byte order in a section head")
		}
	}
	b.typ, b.size = b.order.Uint32(head), b.order.Uint32(head[4:])
	if b.size < blockSizeMin || b.size%4 != 0 {
		return damaged("a block of %d bytes", b.size)
	}
	return nil
}

// open makes a block the current one. Of a block that the buffer does not hold
// only the first length is looked at.
func (b *blocks) open(limit int64) error {
	if int64(b.size) > limit {
		return damaged("a block of %d bytes", b.size)
	}
	if n := int(b.size); n <= b.in.buf.Size() {
		all, err := b.in.buf.Peek(n)
		if err != nil {
			return inside(err)
		}
		if tail := b.order.Uint32(all[n-blockTailSize:]); tail != b.size {
			return damaged("a block of %d bytes that ends with a size of %d", n, tail)
		}
	}
	b.left, b.err = int64(b.size), nil
	return nil
}

// section makes the version of a section the only one that the library takes. The
// draft has 1.2 read as 1.0.
func (b *blocks) section() error {
	head, err := b.in.buf.Peek(min(sectionHeadSize, int(b.size)))
	if err != nil {
		return inside(err)
	}
	if len(head) == sectionHeadSize && b.order.Uint16(head[sectionMajorOff:]) == sectionMajor {
		b.order.PutUint16(head[sectionMinorOff:], 0)
	}
	return nil
}

// units is the time in the head of a packet block, in what its interface counts.
func (b *blocks) units() uint64 {
	head, err := b.in.buf.Peek(timeOff + 8)
	if err != nil || int(b.size) < timeOff+8 {
		return 0 // the library will find the block too short
	}
	return uint64(b.order.Uint32(head[timeOff:]))<<32 | uint64(b.order.Uint32(head[timeOff+4:]))
}

// Read implements io.Reader on the current block.
func (b *blocks) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.in.buf.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err != nil {
		b.err = inside(err)
		return n, b.err
	}
	return n, nil
}

// inside is the error for what the input said inside a block.
func inside(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
