package pcap

import (
	"encoding/binary"

	"github.com/gopacket/gopacket/layers"
)

// Link types that have two numbers beside the registered one: raw IP is 12 on
// most systems and 14 on OpenBSD where the capture did not map it to 101.
const (
	linkRaw12 layers.LinkType = 12
	linkRaw14 layers.LinkType = 14
)

const (
	ethernetSize = 14
	vlanSize     = 4
	sllSize      = 16
	sll2Size     = 20
	loopSize     = 4

	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
)

// known reports whether network can take frames of this link type apart.
func known(link layers.LinkType) bool {
	switch link {
	case layers.LinkTypeEthernet, layers.LinkTypeNull, layers.LinkTypeLoop, layers.LinkTypeRaw, linkRaw12, linkRaw14,
		layers.LinkTypeIPv4, layers.LinkTypeIPv6, layers.LinkTypeLinuxSLL, layers.LinkTypeLinuxSLL2:
		return true
	}
	return false
}

// network returns the IP packet in a frame, or nil where the frame carries
// another protocol or is too short to tell. The link type is a known one.
//
// The heads are taken apart in place: the library's decoders cost more than all
// else that is done with a packet (BenchmarkHeads against BenchmarkNext). A test
// holds that both find the same datagrams.
func network(link layers.LinkType, b []byte) []byte {
	var ether uint16
	switch link {
	case layers.LinkTypeEthernet:
		if len(b) < ethernetSize {
			return nil
		}
		ether, b = binary.BigEndian.Uint16(b[ethernetSize-2:]), b[ethernetSize:]
	case layers.LinkTypeLinuxSLL:
		if len(b) < sllSize {
			return nil
		}
		ether, b = binary.BigEndian.Uint16(b[sllSize-2:]), b[sllSize:]
	case layers.LinkTypeLinuxSLL2:
		if len(b) < sll2Size {
			return nil
		}
		ether, b = binary.BigEndian.Uint16(b), b[sll2Size:]
	case layers.LinkTypeNull, layers.LinkTypeLoop:
		// The address family is in the byte order of the machine that captured, and
		// IPv6 has a number of its own on each system. The version tells as well.
		if len(b) < loopSize {
			return nil
		}
		return byVersion(b[loopSize:])
	default:
		return byVersion(b)
	}
	for isVLAN(ether) {
		if len(b) < vlanSize {
			return nil
		}
		ether, b = binary.BigEndian.Uint16(b[vlanSize-2:]), b[vlanSize:]
	}
	if ether != etherIPv4 && ether != etherIPv6 {
		return nil
	}
	return byVersion(b)
}

// isVLAN: 802.1Q, 802.1ad, and the two numbers in use for stacked tags before it.
func isVLAN(ether uint16) bool {
	return ether == 0x8100 || ether == 0x88a8 || ether == 0x9100 || ether == 0x9200
}

// byVersion returns b if it begins like an IP packet.
func byVersion(b []byte) []byte {
	if len(b) > 0 && (b[0]>>4 == 4 || b[0]>>4 == 6) {
		return b
	}
	return nil
}
