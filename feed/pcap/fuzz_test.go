package pcap

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
)

// FuzzSource holds for any input, with the generic format and with a protocol:
// nothing panics, each record is one that wire can store, the source ends.
func FuzzSource(f *testing.F) {
	f.Add(toyCapture("A:Ts12ab", "B:Ts12ab", "A:Ts51e", "B:Ts31c", "A:T-11x", "B:dns"))
	n := &blocks{order: binary.BigEndian}
	n.section().networkInterface(1).networkInterface(101, n.option(optResolution, 9))
	n.packet(0, 1, pcaptest.Ethernet(pcaptest.IP(groupA, []byte("Ts11a"))))
	n.packet(1, 1, pcaptest.IP("[ff05::1]:7", []byte("Ts21b?"), 0, 44, 51))
	f.Add(n.b)
	f.Fuzz(func(t *testing.T, in []byte) {
		pcaptest.Hold(t, Format, in, feed.Options{}, nil)
		for _, ab := range []string{"keep", "merge"} {
			src, err := toyProtocol(false).Open(t.Context(), pcaptest.Input(in), feed.Options{AB: ab})
			if err != nil {
				return
			}
			pcaptest.ReadAll(t, src)
			src.(feed.Noter).Notes()
		}
	})
}

// FuzzHeads holds for any frame that nothing panics, and that gopacket finds the
// datagram that we find.
func FuzzHeads(f *testing.F) {
	f.Add(uint16(layers.LinkTypeEthernet), pcaptest.Ethernet(pcaptest.IP(groupA, []byte("x")), 0x8100))
	f.Add(uint16(layers.LinkTypeRaw), pcaptest.IP("[ff05::1]:7", []byte("x"), 0, 43, 44, 51, 60))
	f.Add(uint16(layers.LinkTypeLinuxSLL2), make([]byte, 64))
	f.Fuzz(func(t *testing.T, link uint16, b []byte) {
		var d datagram
		d.parse(network(layers.LinkType(link), b))
		// gopacket has no stacked tags of other numbers, and it reads extension heads
		// and lengths of 0 otherwise; where it finds a datagram in plain IPv4, it is ours.
		if len(b) < ethernetSize+ipv4SizeMin+udpSize || binary.BigEndian.Uint16(b[12:]) != etherIPv4 ||
			b[ethernetSize]>>4 != 4 || b[ethernetSize+2]|b[ethernetSize+3] == 0 {
			return
		}
		head := ethernetSize + int(b[ethernetSize]&15)*4
		if len(b) < head+udpSize || b[head+4]|b[head+5] == 0 {
			return
		}
		key, payload, ok := newLibrary().datagram(b)
		v := d.parse(network(layers.LinkTypeEthernet, b))
		if ok && v == isUDP && (key != d.to || !slices.Equal(payload, d.payload)) {
			t.Fatalf("%+v %x, gopacket %+v %x", d.to, d.payload, key, payload)
		}
		if v == isUDP && !ok {
			t.Fatalf("%+v %x, gopacket none", d.to, d.payload)
		}
	})
}

// FuzzSequencer holds that nothing panics, that spans lie in the datagram in
// order, and that what is let through and repeated is what came.
func FuzzSequencer(f *testing.F) {
	f.Add(true, []byte{0, 1, 2, 0, 5, 1, 1, 3, 3, 0, 0, 1})
	f.Fuzz(func(t *testing.T, merge bool, in []byte) {
		q := NewSequencer(merge)
		came, through := uint64(0), uint64(0)
		for ; len(in) >= 3; in = in[3:] {
			seq, count := uint64(in[1])<<(in[0]>>3), int(in[2]%8)
			came += uint64(count)
			end := 0
			for _, s := range q.Admit(uint32(in[0]&1), Stream{in[0] >> 1 & 1}, seq, count) {
				if s.From < end || s.To < s.From || s.To > count {
					t.Fatalf("span %v of %d items", s, count)
				}
				end = s.To
				through += uint64(s.To - s.From)
			}
		}
		if got := q.Totals(); merge && through+got.Repeated != came || !merge && through != came {
			t.Fatalf("%d came, %d through, %+v", came, through, got)
		}
	})
}
