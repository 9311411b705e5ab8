package pcap

import (
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Link types that have two numbers beside the registered one: raw IP is 12 on
// most systems and 14 on OpenBSD where the capture did not map it to 101.
const (
	linkRaw12 layers.LinkType = 12
	linkRaw14 layers.LinkType = 14
)

// layerIP stands for IPv4 or IPv6, whichever the packet says it is.
const layerIP = gopacket.LayerType(-1)

// firstLayer returns what frames of this link type begin with, and
// gopacket.LayerTypeZero where that is not known here.
func firstLayer(link layers.LinkType) gopacket.LayerType {
	switch link {
	case layers.LinkTypeEthernet:
		return layers.LayerTypeEthernet
	case layers.LinkTypeLinuxSLL:
		return layers.LayerTypeLinuxSLL
	case layers.LinkTypeLinuxSLL2:
		return layers.LayerTypeLinuxSLL2
	case layers.LinkTypeNull, layers.LinkTypeLoop:
		return layers.LayerTypeLoopback
	case layers.LinkTypeRaw, linkRaw12, linkRaw14, layers.LinkTypeIPv4, layers.LinkTypeIPv6:
		return layerIP
	}
	return gopacket.LayerTypeZero
}

// known reports whether frames of this link type can be taken apart.
func known(link layers.LinkType) bool { return firstLayer(link) != gopacket.LayerTypeZero }

// byVersion returns the layer that b is if it is an IP packet.
func byVersion(b []byte) gopacket.LayerType {
	if len(b) > 0 {
		switch b[0] >> 4 {
		case 4:
			return layers.LayerTypeIPv4
		case 6:
			return layers.LayerTypeIPv6
		}
	}
	return gopacket.LayerTypeZero
}

// Numbers for stacked tags that were in use before 802.1ad.
const (
	etherQinQ9100 layers.EthernetType = 0x9100
	etherQinQ9200 layers.EthernetType = 0x9200
)

// carried returns the layer that an Ethernet type announces, if it is one on the
// way to a datagram. The library knows more of them, down to Ethernet in Ethernet,
// and does not know the old tags.
func carried(t layers.EthernetType, b []byte) gopacket.LayerType {
	switch t {
	case layers.EthernetTypeIPv4, layers.EthernetTypeIPv6:
		return byVersion(b)
	case layers.EthernetTypeDot1Q, layers.EthernetTypeQinQ, etherQinQ9100, etherQinQ9200:
		return layers.LayerTypeDot1Q
	}
	return gopacket.LayerTypeZero
}

// The layers of the library below IP, with carried in place of what they say comes
// next.
type (
	ethernet struct{ layers.Ethernet }
	vlan     struct{ layers.Dot1Q }
	cooked   struct{ layers.LinuxSLL }
	cooked2  struct{ layers.LinuxSLL2 }
	loopback struct{ layers.Loopback }
)

func (l *ethernet) NextLayerType() gopacket.LayerType { return carried(l.EthernetType, l.Payload) }
func (l *vlan) NextLayerType() gopacket.LayerType     { return carried(l.Type, l.Payload) }
func (l *cooked) NextLayerType() gopacket.LayerType   { return carried(l.EthernetType, l.Payload) }
func (l *cooked2) NextLayerType() gopacket.LayerType  { return carried(l.ProtocolType, l.Payload) }

// NextLayerType goes by the version: IPv6 has a number of its own on each system,
// and the library does not know them all.
func (l *loopback) NextLayerType() gopacket.LayerType { return byVersion(l.Payload) }
