package pcap

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
)

// FuzzSource holds for any input, with the generic format and with a protocol:
// nothing panics, each record is one that wire can store, the source ends.
func FuzzSource(f *testing.F) {
	f.Add(toyCapture("A:Ts12ab", "B:Ts12ab", "A:Ts51e", "B:Ts31c", "A:T-11x", "B:dns"))
	n := &sections{order: binary.BigEndian}
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

// FuzzHeads holds for any frame that nothing panics, that what is found lies in the
// frame, and that a second look finds the same.
func FuzzHeads(f *testing.F) {
	f.Add(uint16(layers.LinkTypeEthernet), pcaptest.Ethernet(pcaptest.IP(groupA, []byte("x")), 0x8100))
	f.Add(uint16(layers.LinkTypeRaw), pcaptest.IP("[ff05::1]:7", []byte("x"), 0, 43, 44, 51, 60))
	f.Add(uint16(layers.LinkTypeLinuxSLL2), make([]byte, 64))
	used := newDatagram()
	f.Fuzz(func(t *testing.T, link uint16, b []byte) {
		d := newDatagram()
		v, again := d.parse(layers.LinkType(link), b), used.parse(layers.LinkType(link), b)
		if v == isUDP && !bytes.Contains(b, d.payload) {
			t.Fatalf("payload %x of %x", d.payload, b)
		}
		if v != again || v == isUDP && (used.to != d.to || !bytes.Equal(used.payload, d.payload)) {
			t.Fatalf("%v %+v %x, and then %v %+v %x", v, d.to, d.payload, again, used.to, used.payload)
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
