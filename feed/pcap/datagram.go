package pcap

import (
	"encoding/binary"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

const udpSize = 8

// verdict says what a packet is to us.
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

// datagram is what is found in a frame: where it goes, and with isUDP its payload,
// borrowed. The address is set with every verdict but notUDP and malformed, the
// port with isUDP and snapped. The layers are decoded by gopacket, into structs
// that are used again and again.
type datagram struct {
	payload []byte
	to      lineKey

	v4     ipv4
	v6     ipv6
	udp    layers.UDP
	layers gopacket.DecodingLayerSparse

	parsers map[gopacket.LayerType]*gopacket.DecodingLayerParser // by the first layer
	first   gopacket.LayerType                                   // that parser begins with
	parser  *gopacket.DecodingLayerParser
	found   []gopacket.LayerType
}

func newDatagram() *datagram {
	d := &datagram{parsers: make(map[gopacket.LayerType]*gopacket.DecodingLayerParser)}
	var all gopacket.DecodingLayerContainer = gopacket.DecodingLayerSparse(nil)
	for _, l := range []gopacket.DecodingLayer{
		new(ethernet), new(vlan), new(cooked), new(cooked2), new(loopback),
		&d.v4, &d.v6, new(extension), new(fragment6), new(auth), &d.udp,
	} {
		all = all.Put(l) // fragment6 takes one of the places of extension
	}
	d.layers = all.(gopacket.DecodingLayerSparse)
	return d
}

// begin readies the parser for packets that begin with a layer.
func (d *datagram) begin(first gopacket.LayerType) {
	d.first, d.parser = first, d.parsers[first]
	if d.parser == nil {
		d.parser = gopacket.NewDecodingLayerParser(first)
		d.parser.IgnoreUnsupported = true
		d.parser.SetDecodingLayerContainer(d.layers)
		d.parsers[first] = d.parser
	}
}

// parse takes a frame of a known link type apart. Checksums are not looked at:
// capturing hosts see packets that their network card has still to sum.
func (d *datagram) parse(link layers.LinkType, b []byte) verdict {
	first := firstLayer(link)
	if first == layerIP {
		first = byVersion(b)
	}
	if first == gopacket.LayerTypeZero {
		return notUDP
	}
	if first != d.first {
		d.begin(first)
	}
	err := d.parser.DecodeLayers(b, &d.found)
	if n := len(d.found); n > 1 && d.found[n-1] == layers.LayerTypeUDP {
		d.address(d.found[n-2])
		return d.whole(d.carrier(n - 2))
	}
	return d.broken(first, err, b)
}

// carrier returns the layer that was found at index i.
func (d *datagram) carrier(i int) gopacket.DecodingLayer {
	l, _ := d.layers.Decoder(d.found[i])
	return l
}

// address sets where the packet goes, by the layer before UDP or by IP itself.
func (d *datagram) address(carrier gopacket.LayerType) {
	if carrier == layers.LayerTypeIPv4 {
		d.to = lineKey{lo: uint64(binary.BigEndian.Uint32(d.v4.DstIP))}
		return
	}
	dst := d.v6.DstIP
	d.to = lineKey{hi: binary.BigEndian.Uint64(dst), lo: binary.BigEndian.Uint64(dst[8:]), v6: true}
}

// room is how many bytes the heads leave for what the carrier carries, whether
// they were captured or not. It is what the library does not tell: it cuts a
// datagram that is longer than its packet to the packet.
func (d *datagram) room(carrier gopacket.DecodingLayer) int {
	if carrier == gopacket.DecodingLayer(&d.v4) {
		return int(d.v4.Length) - len(d.v4.Contents)
	}
	extensions := len(d.v6.Payload) - len(carrier.LayerPayload())
	if d.v6.Length == 0 {
		return len(d.v6.Payload) - extensions
	}
	if d.v6.HopByHop != nil { // which the library reads with IPv6
		extensions += len(d.v6.HopByHop.Contents)
	}
	return int(d.v6.Length) - extensions
}

// whole is the verdict on a packet with a UDP head.
func (d *datagram) whole(carrier gopacket.DecodingLayer) verdict {
	d.to.port = uint16(d.udp.DstPort)
	room, size := d.room(carrier), int(d.udp.Length)
	if size == 0 {
		size = room // left to the network card
	}
	switch {
	case size < udpSize || size > room:
		return malformed
	case size > udpSize+len(d.udp.Payload):
		return snapped
	}
	d.payload = d.udp.Payload[: size-udpSize : size-udpSize]
	return isUDP
}

// broken is the verdict on a packet in which no UDP head was found.
func (d *datagram) broken(first gopacket.LayerType, err error, b []byte) verdict {
	next := first // the layer at which the library stopped
	var carrier gopacket.DecodingLayer
	if n := len(d.found); n > 0 {
		carrier = d.carrier(n - 1)
		next, b = carrier.NextLayerType(), carrier.LayerPayload()
	}
	switch next {
	case gopacket.LayerTypeFragment:
		d.address(d.found[len(d.found)-1])
		return fragment
	case layers.LayerTypeIPv4:
		return malformed
	case layers.LayerTypeIPv6:
		if len(b) < ipv6Size || err == errJumbogram {
			return malformed
		}
	case layers.LayerTypeUDP:
		d.address(d.found[len(d.found)-1])
		if len(b) >= udpSize || d.room(carrier) < udpSize {
			return malformed
		}
		if len(b) >= 4 {
			d.to.port = binary.BigEndian.Uint16(b[2:])
		}
		return snapped
	}
	return notUDP // or extension heads of which too little is there to tell
}
