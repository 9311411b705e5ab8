package pcap

import (
	"encoding/binary"
	"errors"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

const (
	ipv6Size      = 40
	fragment6Size = 8
)

// Errors of single layers. What they say is told by the verdict on the packet.
var (
	errJumbogram    = errors.New("pcap: IPv6 jumbogram")
	errFragmentHead = errors.New("pcap: IPv6 fragment head is cut off")
)

// inIP returns the layer that a protocol number announces, if it is one on the way
// to a datagram. The library goes on into packets inside packets.
func inIP(p layers.IPProtocol) gopacket.LayerType {
	switch p {
	case layers.IPProtocolUDP, layers.IPProtocolIPv6HopByHop, layers.IPProtocolIPv6Routing,
		layers.IPProtocolIPv6Fragment, layers.IPProtocolIPv6Destination, layers.IPProtocolAH:
		return p.LayerType()
	}
	return gopacket.LayerTypeZero
}

// The layers of the library from IP on, with inIP in place of what they say comes
// next, and with the fragments of UDP told from others.
type (
	ipv4      struct{ layers.IPv4 }
	ipv6      struct{ layers.IPv6 }
	extension struct{ layers.IPv6ExtensionSkipper }
	auth      struct{ layers.IPSecAH }
	fragment6 struct{ layers.IPv6Fragment }
)

func (l *ipv4) NextLayerType() gopacket.LayerType {
	switch {
	case l.Protocol != layers.IPProtocolUDP:
		return gopacket.LayerTypeZero
	case l.Flags&layers.IPv4MoreFragments != 0 || l.FragOffset != 0:
		return gopacket.LayerTypeFragment
	}
	return layers.LayerTypeUDP
}

// DecodeFromBytes takes a length of 0 for one that is left to the network card.
// The library does so in IPv4 only, and it takes jumbograms for something else.
func (l *ipv6) DecodeFromBytes(b []byte, df gopacket.DecodeFeedback) error {
	err := l.IPv6.DecodeFromBytes(b, df)
	if len(b) < ipv6Size || l.Length != 0 {
		return err
	}
	if l.NextHeader == layers.IPProtocolIPv6HopByHop {
		return errJumbogram
	}
	return nil
}

func (l *ipv6) NextLayerType() gopacket.LayerType {
	if l.HopByHop != nil {
		return inIP(l.HopByHop.NextHeader)
	}
	return inIP(l.NextHeader)
}

func (l *extension) NextLayerType() gopacket.LayerType { return inIP(l.NextHeader) }
func (l *auth) NextLayerType() gopacket.LayerType      { return inIP(l.NextHeader) }

// DecodeFromBytes is what the library has for other extension heads and not for
// this one.
func (l *fragment6) DecodeFromBytes(b []byte, df gopacket.DecodeFeedback) error {
	if len(b) < fragment6Size {
		df.SetTruncated()
		return errFragmentHead
	}
	offset := binary.BigEndian.Uint16(b[2:])
	l.BaseLayer = layers.BaseLayer{Contents: b[:fragment6Size], Payload: b[fragment6Size:]}
	l.NextHeader = layers.IPProtocol(b[0])
	l.FragmentOffset, l.MoreFragments = offset>>3, offset&1 != 0
	return nil
}

// CanDecode implements gopacket.DecodingLayer.
func (l *fragment6) CanDecode() gopacket.LayerClass { return layers.LayerTypeIPv6Fragment }

// NextLayerType: a lone fragment head is none of a fragment (RFC 6946).
func (l *fragment6) NextLayerType() gopacket.LayerType {
	switch {
	case !l.MoreFragments && l.FragmentOffset == 0:
		return inIP(l.NextHeader)
	case l.NextHeader == layers.IPProtocolUDP:
		return gopacket.LayerTypeFragment
	}
	return gopacket.LayerTypeZero
}
