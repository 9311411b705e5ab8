package export

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/tapedeck/tapedeck/wire"
)

// Sizes of packet heads, bytes.
const (
	ipv4HeadSize = 20
	ipv6HeadSize = 40
	udpHeadSize  = 8
)

// snapLength stands in a capture's head as the limit of packets, bytes.
const snapLength = 256 << 10

var (
	errPacketTime = errors.New("a capture has times of the years 1970 to 2106 only")
	errPacketSize = errors.New("the body does not fit into a UDP datagram")

	// Senders: addresses that are set aside for documentation (RFC 5737, RFC 3849).
	sender4 = net.IPv4(192, 0, 2, 1).To4()
	sender6 = net.ParseIP("2001:db8::1")

	// hardwareSender is a locally administered address.
	hardwareSender = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	hardwareHost   = net.HardwareAddr{2, 0, 0, 0, 0, 2}
)

// capture writes UDP datagrams as a pcap file in nanoseconds.
type capture struct {
	w    *pcapgo.Writer
	buf  gopacket.SerializeBuffer
	to   netip.AddrPort // that the layers are set to
	eth  layers.Ethernet
	ip4  layers.IPv4
	ip6  layers.IPv6
	udp  layers.UDP
	body gopacket.Payload
	all  []gopacket.SerializableLayer
}

func newCapture(w io.Writer) (*capture, error) {
	c := &capture{w: pcapgo.NewWriterNanos(w), buf: gopacket.NewSerializeBuffer()}
	return c, c.w.WriteFileHeader(snapLength, layers.LinkTypeEthernet)
}

// datagram writes a datagram. It borrows the payload.
func (c *capture) datagram(to netip.AddrPort, payload []byte, at wire.Nanos) error {
	t := at.Time()
	if s := t.Unix(); s < 0 || s > math.MaxUint32 {
		return errPacketTime
	}
	if len(payload) > payloadMax(to, mtuMax) {
		return fmt.Errorf("%w: %d bytes", errPacketSize, len(payload))
	}
	if to != c.to {
		c.direct(to)
	}
	c.body = payload
	c.all[len(c.all)-1] = &c.body
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(c.buf, opts, c.all...); err != nil {
		return err
	}
	frame := c.buf.Bytes()
	return c.w.WritePacket(gopacket.CaptureInfo{Timestamp: t, CaptureLength: len(frame), Length: len(frame)}, frame)
}

// direct sets the layers for datagrams to an address.
func (c *capture) direct(to netip.AddrPort) {
	c.to = to
	addr, port := to.Addr().Unmap(), layers.UDPPort(to.Port())
	c.eth = layers.Ethernet{SrcMAC: hardwareSender, DstMAC: hardwareOf(addr), EthernetType: layers.EthernetTypeIPv4}
	c.udp = layers.UDP{SrcPort: port, DstPort: port}
	var network gopacket.NetworkLayer
	if addr.Is4() {
		c.ip4 = layers.IPv4{
			Version: 4, TTL: 1, Flags: layers.IPv4DontFragment, Protocol: layers.IPProtocolUDP,
			SrcIP: sender4, DstIP: net.IP(addr.AsSlice()),
		}
		network = &c.ip4
		c.all = []gopacket.SerializableLayer{&c.eth, &c.ip4, &c.udp, nil}
	} else {
		c.eth.EthernetType = layers.EthernetTypeIPv6
		c.ip6 = layers.IPv6{
			Version: 6, HopLimit: 1, NextHeader: layers.IPProtocolUDP,
			SrcIP: sender6, DstIP: net.IP(addr.AsSlice()),
		}
		network = &c.ip6
		c.all = []gopacket.SerializableLayer{&c.eth, &c.ip6, &c.udp, nil}
	}
	// It fails for other network layers only.
	_ = c.udp.SetNetworkLayerForChecksum(network)
}

// hardwareOf is the Ethernet address that packets to an address go to: of a
// multicast group that of RFC 1112 and RFC 2464.
func hardwareOf(addr netip.Addr) net.HardwareAddr {
	b := addr.AsSlice()
	switch {
	case !addr.IsMulticast():
		return hardwareHost
	case addr.Is4():
		return net.HardwareAddr{1, 0, 0x5e, b[1] & 0x7f, b[2], b[3]}
	}
	return append(net.HardwareAddr{0x33, 0x33}, b[12:]...)
}

// payloadMax is how long a datagram to an address may be in a packet of mtu bytes.
// An IPv6 head does not count itself in the length that it states, but links do.
func payloadMax(to netip.AddrPort, mtu int) int {
	if to.Addr().Unmap().Is4() {
		return mtu - ipv4HeadSize - udpHeadSize
	}
	return mtu - ipv6HeadSize - udpHeadSize
}
