package pcap

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
)

// TestVerdicts holds what becomes of packets on which the library by itself has
// another opinion.
func TestVerdicts(t *testing.T) {
	const group6 = "[ff05::1]:7"
	v4, v6 := pcaptest.IP(groupA, []byte("xy")), pcaptest.IP(group6, []byte("xy"))
	set := func(b []byte, off int, values ...byte) []byte {
		b = slices.Clone(b)
		copy(b[off:], values)
		return b
	}
	jumbogram := set(pcaptest.IP(group6, []byte("xy"), 0), 4, 0, 0)
	copy(jumbogram[ipv6Size+2:], []byte{0xc2, 4, 0, 1, 0, 0})
	fragmented := set(pcaptest.IP(group6, []byte("xy"), 44, 60), ipv6Size+3, 1)
	withAuth := slices.Concat(v6[:ipv6Size], []byte{17, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}, v6[ipv6Size:])
	withAuth[5] += 12
	withAuth[6] = 51
	inside := func(outer, inner []byte, protocolOff int, protocol byte) []byte {
		b := slices.Concat(outer[:len(outer)-10], inner)
		b[protocolOff] = protocol
		if outer[0]>>4 == 4 {
			binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		} else {
			binary.BigEndian.PutUint16(b[4:], uint16(len(b)-ipv6Size))
		}
		return b
	}
	for _, tt := range []struct {
		name string
		ip   []byte
		want verdict
	}{
		{"v4", v4, isUDP},
		{"v6", v6, isUDP},
		{"v6 padded", append(slices.Clone(v6), 0, 0, 0), isUDP},
		{"v6 with no length", set(set(v6, 4, 0, 0), ipv6Size+4, 0, 0), isUDP},
		{"v6 hop by hop, with no udp length, padded", append(set(pcaptest.IP(group6, []byte("xy"), 0), ipv6Size+8+4, 0, 0), 0, 0, 0), isUDP},
		{"v6 hop by hop, udp longer than ip", append(set(pcaptest.IP(group6, []byte("xy"), 0), ipv6Size+8+4, 0, 11), 0, 0, 0), malformed},
		{"v6 authenticated", withAuth, isUDP},
		{"v6 authenticated, udp longer than ip", append(set(withAuth, ipv6Size+12+4, 0, 11), 0), malformed},
		{"v6 jumbogram", jumbogram, malformed},
		{"v6 fragment before extensions", fragmented, notUDP},
		{"v6 fragment of tcp", set(set(pcaptest.IP(group6, nil, 44), ipv6Size, 6), ipv6Size+3, 1), notUDP},
		{"v6 fragment head cut", pcaptest.IP(group6, nil, 44)[:ipv6Size+7], notUDP},
		{"v4 in v4", inside(v4, v4, 9, 4), notUDP},
		{"v6 in v4", inside(v4, v6, 9, 41), notUDP},
		{"v4 in v6", inside(v6, v4, 6, 4), notUDP},
		{"v4 without a payload", set(v4[:20], 3, 20), malformed},
		{"v4 without a payload, as captured", v4[:20], snapped},
		{"v4 with too little for udp, padded", append(set(v4, 3, 27)[:27], 0, 0, 0), malformed},
		{"v4 head with options cut", set(v4, 0, 0x4f), malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDatagram()
			if got := d.parse(layers.LinkTypeEthernet, pcaptest.Ethernet(tt.ip)); got != tt.want || got == isUDP && string(d.payload) != "xy" {
				t.Errorf("%d with %q, want %d", got, d.payload, tt.want)
			}
			if got := d.parse(layers.LinkTypeRaw, tt.ip); got != tt.want {
				t.Errorf("raw: %d, want %d", got, tt.want)
			}
		})
	}
}

// TestParseAllocs holds that frames of any kind are taken apart without allocation,
// also where each is of another kind than the one before.
func TestParseAllocs(t *testing.T) {
	v4, v6 := pcaptest.IP(groupA, []byte("x")), pcaptest.IP("[ff05::1]:7", []byte("x"), 60, 43, 44)
	type input struct {
		link  layers.LinkType
		frame []byte
	}
	frames := []input{
		{layers.LinkTypeEthernet, pcaptest.Ethernet(v4)},
		{layers.LinkTypeEthernet, pcaptest.Ethernet(v6, 0x88a8, 0x8100)},
		{layers.LinkTypeRaw, v4},
		{layers.LinkTypeRaw, v6},
		{layers.LinkTypeNull, append([]byte{2, 0, 0, 0}, v4...)},
		{layers.LinkTypeLinuxSLL, append(append(make([]byte, 14), 8, 0), v4...)},
		{layers.LinkTypeLinuxSLL2, append(append([]byte{0x86, 0xdd}, make([]byte, 18)...), v6...)},
	}
	d := newDatagram()
	parse := func() {
		for i, f := range frames {
			if d.parse(f.link, f.frame) != isUDP {
				panic(fmt.Sprint("no datagram in frame ", i))
			}
		}
	}
	parse()
	if n := testing.AllocsPerRun(100, parse); n != 0 {
		t.Errorf("%v allocations in %d frames", n, len(frames))
	}
}
