package pcap

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gopacket/gopacket/layers"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/feed/window"
	"github.com/tapedeck/tapedeck/wire"
)

const (
	groupA = "233.200.79.0:61000"
	groupB = "233.200.79.128:61000"
)

// classicOf is a pcap of frames at 1 s, 2 s and so on.
func classicOf(order binary.AppendByteOrder, magic uint32, link layers.LinkType, frames ...[]byte) []byte {
	b := pcaptest.Head(order, magic, uint32(link))
	for i, f := range frames {
		b = pcaptest.AppendPacket(b, order, uint32(i+1), 7, f)
	}
	return b
}

func ethernetOf(frames ...[]byte) []byte {
	return classicOf(binary.LittleEndian, magicMicros, layers.LinkTypeEthernet, frames...)
}

// topics reads a capture with the generic format and returns topics and bodies,
// joined.
func topics(t *testing.T, b []byte, opts feed.Options) (string, []error, error) {
	t.Helper()
	recs, bad, err := pcaptest.ReadAll(t, mustOpen(t, generic, b, opts))
	var out []string
	for _, r := range recs {
		out = append(out, r.Topic+"="+r.Body)
	}
	return strings.Join(out, " "), bad, err
}

func TestClassic(t *testing.T) {
	frame := pcaptest.Ethernet(pcaptest.IP(groupA, []byte("x")))
	for _, tt := range []struct {
		name  string
		order binary.AppendByteOrder
		magic uint32
		want  wire.Nanos
	}{
		{"us le", binary.LittleEndian, magicMicros, 1_000_007_000},
		{"us be", binary.BigEndian, magicMicros, 1_000_007_000},
		{"ns le", binary.LittleEndian, magicNanos, 1_000_000_007},
		{"ns be", binary.BigEndian, magicNanos, 1_000_000_007},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := classicOf(tt.order, tt.magic, layers.LinkTypeEthernet, frame)
			recs, bad, err := pcaptest.ReadAll(t, mustOpen(t, generic, b, feed.Options{}))
			if err != io.EOF || len(bad) > 0 || len(recs) != 1 || !IsCapture(b) {
				t.Fatal(recs, bad, err)
			}
			r := recs[0]
			if r.Topic != groupA || r.Body != "x" || r.Event != tt.want || r.Receive != tt.want || r.Flags != 0 || r.Kind != wire.KindData {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestLinks holds that the datagram is found in every kind of frame.
func TestLinks(t *testing.T) {
	v4, v6 := pcaptest.IP(groupA, []byte("x")), pcaptest.IP("[ff05::1]:7", []byte("x"))
	sll := func(ip []byte, ether uint16) []byte {
		return append(binary.BigEndian.AppendUint16(make([]byte, 14), ether), ip...)
	}
	sll2 := func(ip []byte, ether uint16) []byte {
		return append(append(binary.BigEndian.AppendUint16(nil, ether), make([]byte, 18)...), ip...)
	}
	const want4, want6 = groupA + "=x", "[ff05::1]:7=x"
	for _, tt := range []struct {
		name  string
		link  layers.LinkType
		frame []byte
		want  string
	}{
		{"ethernet", layers.LinkTypeEthernet, pcaptest.Ethernet(v4), want4},
		{"ethernet v6", layers.LinkTypeEthernet, pcaptest.Ethernet(v6), want6},
		{"vlan", layers.LinkTypeEthernet, pcaptest.Ethernet(v4, 0x8100), want4},
		{"qinq", layers.LinkTypeEthernet, pcaptest.Ethernet(v6, 0x88a8, 0x8100), want6},
		{"old qinq", layers.LinkTypeEthernet, pcaptest.Ethernet(v4, 0x9100, 0x9200, 0x8100), want4},
		{"padded", layers.LinkTypeEthernet, append(pcaptest.Ethernet(v4), make([]byte, 18)...), want4},
		{"raw", layers.LinkTypeRaw, v4, want4},
		{"raw 12", 12, v6, want6},
		{"raw 14", 14, v4, want4},
		{"ipv4", layers.LinkTypeIPv4, v4, want4},
		{"ipv6", layers.LinkTypeIPv6, v6, want6},
		{"null", layers.LinkTypeNull, append([]byte{2, 0, 0, 0}, v4...), want4},
		{"null v6", layers.LinkTypeNull, append([]byte{30, 0, 0, 0}, v6...), want6},
		{"loop", layers.LinkTypeLoop, append([]byte{0, 0, 0, 2}, v4...), want4},
		{"sll", layers.LinkTypeLinuxSLL, sll(v4, 0x0800), want4},
		{"sll2", layers.LinkTypeLinuxSLL2, sll2(v6, 0x86dd), want6},
		{"v6 extensions", layers.LinkTypeRaw, pcaptest.IP("[ff05::1]:7", []byte("x"), 0, 60, 43), want6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, bad, err := topics(t, classicOf(binary.BigEndian, magicMicros, tt.link, tt.frame), feed.Options{})
			if got != tt.want || err != io.EOF || len(bad) > 0 {
				t.Errorf("got %q, %v, %v, want %q", got, bad, err, tt.want)
			}
		})
	}
	if _, err := generic.Open(t.Context(), pcaptest.Input(classicOf(binary.LittleEndian, magicMicros, 9)), feed.Options{}); !errors.Is(err, ErrLink) {
		t.Errorf("unknown link type: %v", err)
	}
}

// edit changes one byte of an Ethernet frame's IP packet.
func edit(ip []byte, off int, v byte) []byte {
	b := slices.Clone(ip)
	b[off] = v
	return pcaptest.Ethernet(b)
}

// TestOddPackets holds what becomes of packets that are no whole datagram.
func TestOddPackets(t *testing.T) {
	v4, v6 := pcaptest.IP(groupA, []byte("xy")), pcaptest.IP("[ff05::1]:7", []byte("xy"))
	fragment6 := pcaptest.IP("[ff05::1]:7", []byte("xy"), 44)
	fragment6[ipv6Size+3] = 1 // more fragments
	for _, tt := range []struct {
		name  string
		frame []byte
		want  error // nil: not UDP, so only counted
	}{
		{"arp", append(make([]byte, 12), 0x08, 0x06, 1, 2, 3), nil},
		{"short", make([]byte, 13), nil},
		{"vlan cut", pcaptest.Ethernet(v4, 0x8100)[:17], nil},
		{"no ip version", edit(v4, 0, 0x55), nil},
		{"pim", edit(v4, 9, 103), nil},
		{"tcp v6", edit(v6, 6, 6), nil},
		{"v6 extension cut", pcaptest.Ethernet(pcaptest.IP("[ff05::1]:7", nil, 0)[:42]), nil},
		{"v4 head cut", pcaptest.Ethernet(v4[:19]), ErrMalformed},
		{"v6 head cut", pcaptest.Ethernet(v6[:39]), ErrMalformed},
		{"head length", edit(v4, 0, 0x44), ErrMalformed},
		{"total length", edit(v4, 3, 19), ErrMalformed},
		{"udp longer than ip", edit(v4, 25, 11), ErrMalformed},
		{"udp length", edit(v4, 25, 7), ErrMalformed},
		{"more fragments", edit(v4, 6, 0x20), ErrFragment},
		{"fragment offset", edit(v4, 7, 1), ErrFragment},
		{"fragment v6", pcaptest.Ethernet(fragment6), ErrFragment},
		{"snapped", pcaptest.Ethernet(v4[:len(v4)-1]), ErrSnapped},
		{"snapped head", pcaptest.Ethernet(v4[:26]), ErrSnapped},
		{"snapped port", pcaptest.Ethernet(v4[:22]), ErrSnapped},
		{"snapped v6", pcaptest.Ethernet(v6[:len(v6)-1]), ErrSnapped},
	} {
		t.Run(tt.name, func(t *testing.T) {
			good := pcaptest.Ethernet(pcaptest.IP(groupB, []byte("z")))
			src := mustOpen(t, generic, ethernetOf(tt.frame, good), feed.Options{})
			recs, bad, err := pcaptest.ReadAll(t, src)
			if len(recs) != 1 || recs[0].Body != "z" || err != io.EOF {
				t.Fatal(recs, bad, err)
			}
			if tt.want == nil {
				if notes := src.(feed.Noter).Notes(); len(bad) > 0 || !slices.Equal(notes, []string{"1 packet is not UDP"}) {
					t.Errorf("bad %v, notes %q", bad, notes)
				}
				return
			}
			if len(bad) != 1 || !errors.Is(bad[0], tt.want) || !strings.HasPrefix(bad[0].Error(), "packet 1") {
				t.Errorf("bad %v, want %v", bad, tt.want)
			}
		})
	}
	// An unfragmented packet may have a fragment head (RFC 6946).
	lone := pcaptest.Ethernet(pcaptest.IP("[ff05::1]:7", []byte("xy"), 44))
	if got, bad, _ := topics(t, ethernetOf(lone), feed.Options{}); got != "[ff05::1]:7=xy" || len(bad) > 0 {
		t.Errorf("lone fragment head: %q, %v", got, bad)
	}
	// Lengths of 0 are left to the network card or are a jumbogram's.
	offload := slices.Clone(v4)
	offload[2], offload[3], offload[24], offload[25] = 0, 0, 0, 0
	if got, bad, _ := topics(t, ethernetOf(pcaptest.Ethernet(offload)), feed.Options{}); got != groupA+"=xy" || len(bad) > 0 {
		t.Errorf("offloaded lengths: %q, %v", got, bad)
	}
}

// TestBroken holds that everything before damage is delivered, the damage
// reported once, and the capture then at its end.
func TestBroken(t *testing.T) {
	frame := pcaptest.Ethernet(pcaptest.IP(groupA, []byte("x")))
	whole := ethernetOf(frame, frame)
	one := len(ethernetOf(frame))
	for cut := one; cut <= len(whole); cut++ {
		got, bad, err := topics(t, whole[:cut], feed.Options{})
		want, wantBad := groupA+"=x", 1
		switch cut {
		case one:
			wantBad = 0
		case len(whole):
			want, wantBad = want+" "+want, 0
		}
		if got != want || err != io.EOF || len(bad) != wantBad || wantBad == 1 && !errors.Is(bad[0], ErrTruncated) {
			t.Fatalf("cut at %d: %q, %v, %v", cut, got, bad, err)
		}
	}
	large := slices.Clone(whole)
	large[one+11] = 0xff // the captured length
	got, bad, err := topics(t, large, feed.Options{})
	if got != groupA+"=x" || err != io.EOF || len(bad) != 1 || !errors.Is(bad[0], ErrDamaged) {
		t.Errorf("huge packet: %q, %v, %v", got, bad, err)
	}
	for _, cut := range []int{0, 3, 4, 23} {
		if _, err := generic.Open(t.Context(), pcaptest.Input(whole[:cut]), feed.Options{}); !errors.Is(err, ErrCapture) {
			t.Errorf("head cut at %d: %v", cut, err)
		}
	}
}

// TestReaderErrors holds that what the input's reader says is told as it is.
func TestReaderErrors(t *testing.T) {
	b := ethernetOf(pcaptest.Ethernet(pcaptest.IP(groupA, []byte("x"))))
	failed := errors.New("disk on fire")
	in := pcaptest.Input(b)
	in.Reader = io.MultiReader(in.Reader, iotest.ErrReader(failed))
	src, err := generic.Open(t.Context(), in, feed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if recs, bad, err := pcaptest.ReadAll(t, src); len(recs) != 1 || len(bad) > 0 || !errors.Is(err, failed) {
		t.Errorf("%v, %v, %v", recs, bad, err)
	}
	in = pcaptest.Input(b)
	in.Reader = io.MultiReader(in.Reader, iotest.ErrReader(io.ErrUnexpectedEOF))
	if src, err = generic.Open(t.Context(), in, feed.Options{}); err != nil {
		t.Fatal(err)
	}
	if recs, bad, err := pcaptest.ReadAll(t, src); len(recs) != 1 || len(bad) != 1 || !errors.Is(bad[0], io.ErrUnexpectedEOF) || err != io.EOF {
		t.Errorf("cut container: %v, %v, %v", recs, bad, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(failed)
	if _, err := generic.Open(ctx, pcaptest.Input(b), feed.Options{}); !errors.Is(err, failed) {
		t.Errorf("ended context: %v", err)
	}
}

// TestLargePacket holds that the buffer grows for a packet and that reads of any
// size give the same.
func TestLargePacket(t *testing.T) {
	small := pcaptest.Ethernet(pcaptest.IP(groupA, []byte("x")))
	large := append(slices.Clone(small), make([]byte, 2*window.Size)...)
	b := ethernetOf(small, large, small)
	in := pcaptest.Input(b)
	in.Reader = iotest.HalfReader(in.Reader)
	src, err := generic.Open(t.Context(), in, feed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if recs, bad, err := pcaptest.ReadAll(t, src); len(recs) != 3 || len(bad) > 0 || err != io.EOF {
		t.Errorf("%d records, %v, %v", len(recs), bad, err)
	}
}

func TestGroups(t *testing.T) {
	var f pcaptest.File
	for i, to := range []string{groupA, groupB, "233.200.80.1:61001", "[ff05::1]:61000"} {
		f.UDP(int64(i), to, []byte{'0' + byte(i)})
	}
	for _, tt := range []struct {
		groups []string
		want   string
	}{
		{nil, "0123"},
		{[]string{groupA}, "0"},
		{[]string{"233.200.79.128"}, "1"},
		{[]string{":61000"}, "013"},
		{[]string{"61001"}, "2"},
		{[]string{"233.200.79.0/24"}, "01"},
		{[]string{"[ff05::1]:61000", " 61001 "}, "23"},
		{[]string{"ff05::1"}, "3"},
		{[]string{"[ff05::1]"}, "3"},
	} {
		recs, bad, err := pcaptest.ReadAll(t, mustOpen(t, generic, f.Bytes(), feed.Options{Groups: tt.groups}))
		got := ""
		for _, r := range recs {
			got += r.Body
		}
		if got != tt.want || len(bad) > 0 || err != io.EOF {
			t.Errorf("%q: %q, %v, %v, want %q", tt.groups, got, bad, err, tt.want)
		}
	}
	_, _, err := pcaptest.ReadAll(t, mustOpen(t, generic, f.Bytes(), feed.Options{Groups: []string{"1.2.3.4:5"}}))
	if !errors.Is(err, ErrNoGroup) || !strings.Contains(err.Error(), groupA+", "+groupB) {
		t.Errorf("no such group: %v", err)
	}
	for _, bad := range []string{"", "x", "1.2.3:4", "65536", "1.2.3.4:99999", "1.2.3.4/33"} {
		if _, err := generic.Open(t.Context(), pcaptest.Input(f.Bytes()), feed.Options{Groups: []string{bad}}); !errors.Is(err, ErrOption) {
			t.Errorf("group %q: %v", bad, err)
		}
	}
	// A fragment of a datagram to another group is nobody's loss.
	fragment := edit(pcaptest.IP(groupA, []byte("x")), 6, 0x20)
	good := pcaptest.Ethernet(pcaptest.IP(groupB, []byte("z")))
	got, badOnes, err := topics(t, ethernetOf(fragment, good), feed.Options{Groups: []string{groupB}})
	if got != groupB+"=z" || len(badOnes) > 0 || err != io.EOF {
		t.Errorf("fragment to another group: %q, %v, %v", got, badOnes, err)
	}
}

func TestOptions(t *testing.T) {
	b := ethernetOf()
	for _, opts := range []feed.Options{{AB: "merge"}, {AB: "first"}, {Date: "2024-01-01"}, {Topic: strings.Repeat("x", 230)}} {
		if src, err := generic.Open(t.Context(), pcaptest.Input(b), opts); err == nil {
			t.Errorf("%+v: opened as %T", opts, src)
		}
	}
	if got, _, err := topics(t, ethernetOf(pcaptest.Ethernet(pcaptest.IP(groupA, nil))), feed.Options{Topic: "raw/", AB: "keep"}); got != "raw/"+groupA+"=" || err != io.EOF {
		t.Errorf("topic %q, %v", got, err)
	}
	if recs, bad, err := pcaptest.ReadAll(t, mustOpen(t, generic, b, feed.Options{})); len(recs)+len(bad) > 0 || err != io.EOF {
		t.Errorf("no packets: %v, %v, %v", recs, bad, err)
	}
}
