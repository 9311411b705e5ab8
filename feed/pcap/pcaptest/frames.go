package pcaptest

import (
	"encoding/binary"
	"net/netip"
)

// File is a pcap of Ethernet frames, little-endian, in nanoseconds, that grows.
type File struct{ b []byte }

// Bytes returns the capture.
func (f *File) Bytes() []byte {
	if f.b == nil {
		f.b = Head(binary.LittleEndian, 0xa1b23c4d, 1)
	}
	return f.b
}

// UDP adds a datagram to a destination such as "233.54.12.111:26477", captured at
// at, in ns since 1970. It panics where the destination is none.
func (f *File) UDP(at int64, to string, payload []byte) {
	f.Frame(at, Ethernet(IP(to, payload)))
}

// Frame adds a captured frame.
func (f *File) Frame(at int64, frame []byte) {
	f.b = AppendPacket(f.Bytes(), binary.LittleEndian, uint32(at/1e9), uint32(at%1e9), frame)
}

// Head is the head of a pcap with snap length 0.
func Head(order binary.AppendByteOrder, magic, link uint32) []byte {
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, 4)
	b = append(b, make([]byte, 12)...)
	return order.AppendUint32(b, link)
}

// AppendPacket appends a packet of a pcap.
func AppendPacket(b []byte, order binary.AppendByteOrder, seconds, fraction uint32, frame []byte) []byte {
	b = order.AppendUint32(b, seconds)
	b = order.AppendUint32(b, fraction)
	b = order.AppendUint32(b, uint32(len(frame)))
	b = order.AppendUint32(b, uint32(len(frame)))
	return append(b, frame...)
}

// Ethernet is a frame around an IP packet, with a VLAN tag for each tag protocol.
func Ethernet(ip []byte, tags ...uint16) []byte {
	b := make([]byte, 12)
	for _, tag := range tags {
		b = binary.BigEndian.AppendUint16(b, tag)
		b = binary.BigEndian.AppendUint16(b, 5)
	}
	ether := uint16(0x0800)
	if ip[0]>>4 == 6 {
		ether = 0x86dd
	}
	return append(binary.BigEndian.AppendUint16(b, ether), ip...)
}

// IP is an IPv4 or IPv6 packet with a UDP datagram. Extensions are the numbers of
// IPv6 extension heads to put before it, of 8 bytes each.
func IP(to string, payload []byte, extensions ...byte) []byte {
	dst := netip.MustParseAddrPort(to)
	var b []byte
	if dst.Addr().Is4() {
		b = append(b, 0x45, 0, 0, 0, 0, 0, 0, 0, 1, 17, 0, 0, 10, 0, 0, 1)
		b = append(b, dst.Addr().AsSlice()...)
	} else {
		b = append(b, 0x60, 0, 0, 0, 0, 0, 17, 1)
		b = append(b, make([]byte, 16)...)
		b = append(b, dst.Addr().AsSlice()...)
		last := 6
		for _, e := range extensions {
			b[last] = e
			last = len(b)
			b = append(b, 17, 0, 0, 0, 0, 0, 0, 0)
		}
	}
	b = binary.BigEndian.AppendUint16(b, 9)
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	b = append(append(b, 0, 0), payload...)
	if dst.Addr().Is4() {
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	} else {
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	}
	return b
}
