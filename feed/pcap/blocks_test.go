package pcap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gopacket/gopacket/pcapgo"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/wire"
)

// TestBlocks holds that the blocks that matter are read one by one to their ends,
// also where they are larger than the buffer, and that the others are left out.
func TestBlocks(t *testing.T) {
	n := &sections{order: binary.BigEndian}
	n.section().add(4, []byte("names")).networkInterface(1)
	n.packet(0, 1, make([]byte, 3*bufferMin)).add(5, make([]byte, 2*bufferMin)).packet(0, 2, []byte("x"))
	b := blocks{in: newInput(t.Context(), iotest.HalfReader(bytes.NewReader(n.b)), bufferMin)}
	for _, want := range []uint32{blockSection, blockInterface, blockEnhanced, blockEnhanced} {
		if err := b.next(); err != nil || b.typ != want {
			t.Fatalf("block %d, %v, want %d", b.typ, err, want)
		}
		at := int(b.at)
		got, err := io.ReadAll(&b)
		if err != nil || !bytes.Equal(got, n.b[at:at+int(b.size)]) {
			t.Fatalf("block at %d: %x, %v", at, got, err)
		}
	}
	if err := b.next(); err != io.EOF {
		t.Error(err)
	}
}

// TestLibraryNeedsBlocks holds the reasons for blocks against the library: once
// this fails, some of it may go.
func TestLibraryNeedsBlocks(t *testing.T) {
	frame := pcaptest.Ethernet(pcaptest.IP(groupA, []byte("x")))
	for name, odd := range map[string]func(n *sections){
		"names":      func(n *sections) { n.add(4, []byte{1, 0, 2, 0, 'x', 'y', 0, 0}) },
		"statistics": func(n *sections) { n.add(5, n.u32(7, 0, 0)) },
		"version": func(n *sections) {
			minor := len(n.b) + sectionMinorOff
			n.section().networkInterface(1)
			n.b[minor] = 2
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := &sections{order: binary.LittleEndian}
			n.section().networkInterface(1)
			odd(n)
			n.packet(0, 1, slices.Clone(frame))
			if got, bad, err := topics(t, n.b, feed.Options{}); got != groupA+"=x" || len(bad) > 0 || err != io.EOF {
				t.Errorf("%q, %v, %v", got, bad, err)
			}
			r, err := pcapgo.NewNgReader(bytes.NewReader(n.b), pcapgo.DefaultNgReaderOptions)
			if err == nil {
				_, _, err = r.ReadPacketData()
			}
			if err == nil {
				t.Error("the library reads this by itself")
			}
		})
	}
}

// TestPlaces holds that damage is told with the number of the packet that it takes
// the place of, and with the offset of its head or block.
func TestPlaces(t *testing.T) {
	frame := pcaptest.Ethernet(pcaptest.IP(groupA, []byte("x")))
	classic := ethernetOf(frame)
	n := &sections{order: binary.LittleEndian}
	next := n.section().networkInterface(1).packet(0, 1, slices.Clone(frame)).add(4, make([]byte, 8)).b
	for _, tt := range []struct {
		name string
		b    []byte
		want string
	}{
		{"pcap", append(classic[:len(classic):len(classic)], 1, 2, 3), "packet 2 at offset 83: pcap: capture breaks off inside a packet: 3 bytes are left"},
		{"pcapng", append(next[:len(next):len(next)], 6, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0), fmt.Sprintf("packet 2 at offset %d: pcap: capture is damaged", len(next))},
	} {
		_, bad, err := topics(t, tt.b, feed.Options{})
		if err != io.EOF || len(bad) != 1 || !strings.HasPrefix(bad[0].Error(), tt.want) {
			t.Errorf("%s: %v, %v, want %s", tt.name, bad, err, tt.want)
		}
	}
}

// TestBinaryTimes holds times in units of powers of two to what division gives.
func TestBinaryTimes(t *testing.T) {
	const units = 0x0123_4567_89ab_cdef
	for _, shift := range []uint{28, 32, 40, 63} {
		var f frame
		if err := f.setBinary(&networkInterface{binary: true, shift: shift, offset: 5}, units); err != nil {
			t.Fatal(err)
		}
		got, want := float64(f.time)/1e9, 5+float64(units)/float64(uint64(1)<<shift)
		if diff := got - want; diff > 1e-9*want || diff < -1e-9*want {
			t.Errorf("2^-%d: %g s, want %g s", shift, got, want)
		}
	}
	var f frame
	for _, n := range []networkInterface{{}, {shift: 63, offset: 1 << 62}, {shift: 63, offset: -1 << 62}} {
		if err := f.setBinary(&n, units); !errors.Is(err, ErrTime) {
			t.Errorf("%+v: %v", n, err)
		}
	}
}

// TestResolutions holds that times finer than 64 bits can count are refused, where
// the library would reckon with them.
func TestResolutions(t *testing.T) {
	frame := pcaptest.Ethernet(pcaptest.IP(groupA, []byte("x")))
	for _, tt := range []struct {
		resolution byte
		want       wire.Nanos // of 2^40 units; 0: refused
	}{{3, 1099511627776e6}, {9, 1099511627776}, {19, 109}, {20, 0}, {63, 0}, {64, 0}, {0x80 | 10, 1 << 30 * 1e9}, {0x80 | 63, 119}, {0x80 | 64, 0}} {
		n := &sections{order: binary.LittleEndian}
		n.section().networkInterface(1, n.option(optResolution, tt.resolution)).packet(0, 1<<40, slices.Clone(frame))
		recs, bad, _ := pcaptest.ReadAll(t, mustOpen(t, generic, n.b, feed.Options{}))
		switch {
		case tt.want == 0 && (len(bad) != 1 || !errors.Is(bad[0], ErrDamaged)):
			t.Errorf("%#x: %v, %v", tt.resolution, recs, bad)
		case tt.want != 0 && (len(recs) != 1 || recs[0].Receive != tt.want):
			t.Errorf("%#x: %v, %v, want %d", tt.resolution, recs, bad, tt.want)
		}
	}
}

// TestLengths holds that a packet of which more was captured than there was is
// delivered, as other tools do.
func TestLengths(t *testing.T) {
	frame := pcaptest.Ethernet(pcaptest.IP(groupA, []byte("x")))
	b := ethernetOf(frame, frame)
	b[len(ethernetOf())+12] = 0 // the length on the line
	if got, bad, err := topics(t, b, feed.Options{}); got != groupA+"=x "+groupA+"=x" || len(bad) > 0 || err != io.EOF {
		t.Errorf("%q, %v, %v", got, bad, err)
	}
}

// TestDamageFirst holds that damage is told as such, although reading ahead has met
// something else behind it.
func TestDamageFirst(t *testing.T) {
	frame := pcaptest.Ethernet(pcaptest.IP(groupA, []byte("x")))
	classic := ethernetOf(frame, frame)
	classic[len(ethernetOf(frame))+11] = 0xff // the captured length
	more := ethernetOf(frame, frame)
	more[len(ethernetOf(frame))+10] = 0x0f // 983 kB of a short packet
	n := &sections{order: binary.LittleEndian}
	n.section().networkInterface(1).packet(0, 1, slices.Clone(frame)).packet(0, 1, slices.Clone(frame))
	n.b[len(n.b)-1] = 1 // the second length
	for name, b := range map[string][]byte{"pcap": classic, "pcap, more than there was": more, "pcapng": n.b} {
		in := pcaptest.Input(b)
		in.Reader = io.MultiReader(in.Reader, iotest.ErrReader(io.ErrUnexpectedEOF))
		src, err := generic.Open(t.Context(), in, feed.Options{})
		if err != nil {
			t.Fatal(err)
		}
		recs, bad, err := pcaptest.ReadAll(t, src)
		if len(recs) != 1 || len(bad) != 1 || !errors.Is(bad[0], ErrDamaged) || err != io.EOF {
			t.Errorf("%s: %v, %v, %v", name, recs, bad, err)
		}
	}
}

// TestAbsurdLengths holds that a length alone makes nobody allocate its bytes.
func TestAbsurdLengths(t *testing.T) {
	classic := append(ethernetOf(), make([]byte, 16)...)
	binary.LittleEndian.PutUint32(classic[len(classic)-8:], snapMax)
	binary.LittleEndian.PutUint32(classic[len(classic)-4:], snapMax)
	n := &sections{order: binary.LittleEndian}
	n.section().networkInterface(1)
	n.b = append(n.b, n.u32(blockEnhanced, snapMax, 0, 0, 0, snapMax-32, snapMax-32)...)
	for name, b := range map[string][]byte{"pcap": classic, "pcapng": n.b} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, bad, err := topics(t, b, feed.Options{})
			runtime.ReadMemStats(&after)
			if len(bad) != 1 || !errors.Is(bad[0], ErrTruncated) || err != io.EOF {
				t.Error(bad, err)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
				t.Errorf("%d bytes for a capture of %d", n, len(b))
			}
		})
	}
}
