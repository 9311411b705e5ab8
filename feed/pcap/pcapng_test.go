package pcap

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/wire"
)

// Options of an interface.
const (
	optEnd        = 0
	optResolution = 9
	optOffset     = 14
)

// sections builds a pcapng in one byte order.
type sections struct {
	order binary.AppendByteOrder
	b     []byte
}

func (n *sections) add(typ uint32, body ...[]byte) *sections {
	all := slices.Concat(body...)
	for len(all)%4 != 0 {
		all = append(all, 0)
	}
	size := uint32(len(all) + blockSizeMin)
	n.b = n.order.AppendUint32(n.order.AppendUint32(n.b, typ), size)
	n.b = n.order.AppendUint32(append(n.b, all...), size)
	return n
}

func (n *sections) u32(v ...uint32) []byte {
	var b []byte
	for _, v := range v {
		b = n.order.AppendUint32(b, v)
	}
	return b
}

func (n *sections) option(code uint16, value ...byte) []byte {
	b := n.order.AppendUint16(nil, code)
	b = append(n.order.AppendUint16(b, uint16(len(value))), value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func (n *sections) section() *sections {
	version := n.order.AppendUint16(n.order.AppendUint16(nil, sectionMajor), 0)
	return n.add(blockSection, n.u32(orderMagic), version, n.u32(0xffffffff, 0xffffffff), n.option(4, []byte("maker")...))
}

func (n *sections) networkInterface(link uint16, options ...[]byte) *sections {
	return n.add(blockInterface, n.order.AppendUint16(nil, link), []byte{0, 0}, n.u32(0), slices.Concat(options...))
}

func (n *sections) packet(index uint32, time uint64, frame []byte, options ...[]byte) *sections {
	size := uint32(len(frame))
	for len(frame)%4 != 0 {
		frame = append(frame, 0)
	}
	return n.add(blockEnhanced, n.u32(index, uint32(time>>32), uint32(time), size, size), frame, slices.Concat(options...))
}

// TestPcapng reads two sections of different byte orders with interfaces of
// different link types and clocks, and every kind of block.
func TestPcapng(t *testing.T) {
	ip := pcaptest.IP(groupA, []byte("x"))
	frame := pcaptest.Ethernet(ip)
	n := &sections{order: binary.LittleEndian}
	n.section()
	n.networkInterface(1, n.option(2, []byte("eth0")...))                                     // µs
	n.networkInterface(101, n.option(optResolution, 9), n.option(optEnd))                     // ns, raw IP
	n.networkInterface(1, n.option(optResolution, 0x80|10))                                   // 1/1024 s
	n.networkInterface(1, n.option(optResolution, 12))                                        // ps
	n.networkInterface(1, n.option(optOffset, binary.LittleEndian.AppendUint64(nil, 100)...)) // µs from 100 s on
	n.networkInterface(147)                                                                   // of a user
	n.packet(0, 1_000_007, slices.Clone(frame), n.option(2, 1, 2, 3, 4), n.option(optEnd))
	n.add(4, []byte("name resolution")).add(5, n.u32(0, 0, 0)).add(0xbad, []byte("custom"))
	n.packet(1, 2_000_000_003, slices.Clone(ip))
	n.packet(2, 3<<10|512, slices.Clone(frame))
	n.packet(3, 4_000_000_005_999, slices.Clone(frame))
	n.packet(4, 5_000_000, slices.Clone(frame))
	n.packet(5, 0, slices.Clone(frame))
	n.add(blockSimple, n.u32(uint32(len(frame))), frame)
	n.add(blockPacket, []byte{0, 0, 9, 9}, n.u32(0, 6_000_000, uint32(len(frame)), uint32(len(frame))), frame)
	n.order = binary.BigEndian
	n.section().networkInterface(1)
	n.packet(0, 7_000_000, slices.Clone(frame))

	recs, bad, err := pcaptest.ReadAll(t, mustOpen(t, generic, n.b, feed.Options{}))
	if err != io.EOF || len(bad) != 1 || !errors.Is(bad[0], ErrLink) {
		t.Fatal(bad, err)
	}
	const noTimes = wire.FlagNoEventTime | wire.FlagNoReceiveTime
	want := []struct {
		at    wire.Nanos
		flags wire.RecordFlags
	}{{1_000_007_000, 0}, {2_000_000_003, 0}, {3_500_000_000, 0}, {4_000_000_005, 0}, {105_000_000_000, 0},
		{105_000_000_000, noTimes}, {6_000_000_000, 0}, {7_000_000_000, 0}}
	if len(recs) != len(want) {
		t.Fatalf("%d records, want %d", len(recs), len(want))
	}
	for i, r := range recs {
		if r.Receive != want[i].at || r.Event != want[i].at || r.Flags != want[i].flags || r.Body != "x" {
			t.Errorf("record %d: %d, %d, flags %v, want %v", i, r.Event, r.Receive, r.Flags, want[i])
		}
	}
}

// TestPcapngDamage holds that each kind of damage is told, after what came before.
func TestPcapngDamage(t *testing.T) {
	frame := pcaptest.Ethernet(pcaptest.IP(groupA, []byte("x")))
	start := func() *sections {
		n := &sections{order: binary.LittleEndian}
		n.section().networkInterface(1)
		return n.packet(0, 1, slices.Clone(frame))
	}
	for _, tt := range []struct {
		name string
		make func(n *sections)
		want error
	}{
		{"size below the least", func(n *sections) { n.b = append(n.b, n.u32(6, 8, 8)...) }, ErrDamaged},
		{"odd size", func(n *sections) { n.b = append(n.b, n.u32(6, 13, 13)...) }, ErrDamaged},
		{"sizes differ", func(n *sections) { n.packet(0, 1, slices.Clone(frame)); n.b[len(n.b)-4]++ }, ErrDamaged},
		{"no such interface", func(n *sections) { n.packet(1, 1, slices.Clone(frame)) }, ErrDamaged},
		{"packet too large", func(n *sections) { n.b = append(n.b, n.u32(6, snapMax+4, 0)...) }, ErrDamaged},
		{"packet longer than block", func(n *sections) { n.add(blockEnhanced, n.u32(0, 0, 0, 99, 99)) }, ErrDamaged},
		{"block too short", func(n *sections) { n.add(blockEnhanced, n.u32(0)) }, ErrDamaged},
		{"resolution", func(n *sections) { n.networkInterface(1, n.option(optResolution, 70)) }, ErrDamaged},
		{"option too long", func(n *sections) { n.add(blockInterface, n.u32(1, 0), []byte{2, 0, 9, 0}) }, ErrDamaged},
		{"byte order", func(n *sections) { n.add(blockSection, make([]byte, 16)) }, ErrDamaged},
		{"version", func(n *sections) { n.add(blockSection, n.u32(orderMagic, 9, 0, 0)) }, ErrDamaged},
		{"section without interfaces", func(n *sections) { n.section().packet(0, 1, slices.Clone(frame)) }, ErrDamaged},
		{"cut in a head", func(n *sections) { n.b = append(n.b, 6, 0, 0) }, ErrTruncated},
		{"cut in a packet", func(n *sections) { n.packet(0, 1, slices.Clone(frame)); n.b = n.b[:len(n.b)-1] }, ErrTruncated},
		{"cut in another block", func(n *sections) { n.add(4, make([]byte, 40)); n.b = n.b[:len(n.b)-1] }, ErrTruncated},
		{"time", func(n *sections) { n.packet(0, 1<<63, slices.Clone(frame)) }, ErrTime},
		{"time beyond all", func(n *sections) {
			n.networkInterface(1, n.option(optResolution, 0)).packet(1, 1<<63, slices.Clone(frame))
		}, ErrTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := start()
			tt.make(n)
			recs, bad, err := pcaptest.ReadAll(t, mustOpen(t, generic, n.b, feed.Options{}))
			if err != io.EOF || len(recs) == 0 {
				t.Fatal(recs, err)
			}
			if len(bad) != 1 || !errors.Is(bad[0], tt.want) {
				t.Errorf("bad %v, want %v", bad, tt.want)
			}
		})
	}
	for _, b := range [][]byte{start().b[:11], start().b[:20], append(start().b[:8:8], "abcdefghijkl"...)} {
		if _, err := generic.Open(t.Context(), pcaptest.Input(b), feed.Options{}); !errors.Is(err, ErrCapture) {
			t.Errorf("head %x: %v", b, err)
		}
	}
}
