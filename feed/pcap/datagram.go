package pcap

import (
	"encoding/binary"
	"net/netip"
)

const (
	ipv4SizeMin = 20
	ipv6Size    = 40
	udpSize     = 8

	protocolUDP = 17

	// IPv6 extension heads, RFC 8200 section 4 and RFC 4302.
	extHopByHop    = 0
	extRouting     = 43
	extFragment    = 44
	extAuth        = 51
	extDestination = 60
)

// verdict says what an IP packet is to us.
type verdict uint8

const (
	notUDP    verdict = iota // another protocol
	isUDP                    // a whole datagram
	fragment                 // part of a UDP datagram
	snapped                  // a datagram of which the end is missing
	malformed                // heads that contradict each other
)

// lineKey identifies where a datagram goes. IPv4 addresses are in lo.
type lineKey struct {
	hi, lo uint64
	port   uint16
	v6     bool
}

func (k lineKey) addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], k.hi)
	binary.BigEndian.PutUint64(b[8:], k.lo)
	if k.v6 {
		return netip.AddrFrom16(b)
	}
	return netip.AddrFrom4([4]byte(b[12:]))
}

// datagram is what is found in an IP packet: where it goes, and with isUDP its
// payload, borrowed. The address is set with every verdict but notUDP and
// malformed, the port with isUDP and snapped.
type datagram struct {
	payload []byte
	to      lineKey
}

// parse takes an IP packet apart. Checksums are not looked at: capturing hosts
// see packets that their network card has still to sum.
func (d *datagram) parse(b []byte) verdict {
	if len(b) == 0 {
		return notUDP
	}
	if b[0]>>4 == 6 {
		return d.parse6(b)
	}
	if len(b) < ipv4SizeMin {
		return malformed
	}
	head, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if total == 0 {
		total = len(b) // left to the network card, as segmentation offload does
	}
	if head < ipv4SizeMin || total < head {
		return malformed
	}
	if b[9] != protocolUDP {
		return notUDP
	}
	d.to = lineKey{lo: uint64(binary.BigEndian.Uint32(b[16:]))}
	// More fragments, or a fragment offset.
	if binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
		return fragment
	}
	return d.parseUDP(b, head, total)
}

// parse6 is parse for IPv6.
func (d *datagram) parse6(b []byte) verdict {
	if len(b) < ipv6Size {
		return malformed
	}
	next, head := b[6], ipv6Size
	total := ipv6Size + int(binary.BigEndian.Uint16(b[4:]))
	if total == ipv6Size {
		total = len(b)
	}
	for next != protocolUDP {
		if head+8 > len(b) {
			return notUDP // too short to tell
		}
		size := (int(b[head+1]) + 1) * 8
		switch next {
		case extHopByHop, extRouting, extDestination:
		case extFragment:
			size = 8
			// An offset or more fragments: a lone head says neither (RFC 6946).
			if binary.BigEndian.Uint16(b[head+2:])&0xfff9 != 0 {
				return d.fragment6(b, b[head])
			}
		case extAuth:
			size = (int(b[head+1]) + 2) * 4
		default:
			return notUDP
		}
		next = b[head]
		head += size
	}
	d.to = address6(b)
	if total < head {
		return malformed
	}
	return d.parseUDP(b, head, total)
}

// fragment6 is for a fragment whose datagram has a head of type next first.
func (d *datagram) fragment6(b []byte, next uint8) verdict {
	if next != protocolUDP {
		return notUDP
	}
	d.to = address6(b)
	return fragment
}

// address6 is the destination of an IPv6 packet, without a port.
func address6(b []byte) lineKey {
	return lineKey{hi: binary.BigEndian.Uint64(b[24:]), lo: binary.BigEndian.Uint64(b[32:]), v6: true}
}

// parseUDP takes the datagram at head in an IP packet of total bytes apart.
func (d *datagram) parseUDP(b []byte, head, total int) verdict {
	if len(b) < head+4 {
		return snapped
	}
	d.to.port = binary.BigEndian.Uint16(b[head+2:])
	if len(b) < head+udpSize {
		return snapped
	}
	size := int(binary.BigEndian.Uint16(b[head+4:]))
	if size == 0 {
		size = total - head // a jumbogram, or left to the network card
	}
	switch {
	case size < udpSize || head+size > total:
		return malformed
	case head+size > len(b):
		return snapped
	}
	d.payload = b[head+udpSize : head+size : head+size]
	return isUDP
}
