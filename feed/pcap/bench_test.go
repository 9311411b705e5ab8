package pcap

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
)

const (
	classicBench = "nyse-xdp-pcap/Nyse.ImbalancesFeed.v2.1.f.Example.pcap"
	nextBench    = "cme-mdp3-pcap/Cme.Mdp3.Sbe.v6.1.pcap"
)

// BenchmarkNext reads captures with the generic format, one record a datagram.
func BenchmarkNext(b *testing.B) {
	b.Run("file=pcap", func(b *testing.B) {
		pcaptest.Benchmark(b, Format, content(b, classicBench), 100, 11_819, feed.Options{})
	})
	b.Run("file=pcapng", func(b *testing.B) {
		pcaptest.Benchmark(b, Format, content(b, nextBench), 100, 10_000, feed.Options{})
	})
}

func TestNextAllocs(t *testing.T) {
	for _, file := range []string{classicBench, nextBench} {
		t.Run(file, func(t *testing.T) { pcaptest.NoAllocs(t, Format, content(t, file), feed.Options{}) })
	}
}

// TestAdmitAllocs holds that following numbers allocates nothing, gaps that close
// again included.
func TestAdmitAllocs(t *testing.T) {
	q := NewSequencer(true)
	seq := uint64(1)
	step := func() {
		for _, line := range []uint32{0, 1} {
			q.Admit(line, Stream{}, seq, 3)
		}
		q.Admit(0, Stream{}, seq+5, 3)
		q.Admit(1, Stream{}, seq+3, 5)
		seq += 8
	}
	step()
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAdmit(b *testing.B) {
	q := NewSequencer(true)
	seq := uint64(1)
	b.ReportAllocs()
	for b.Loop() {
		q.Admit(0, Stream{}, seq, 3)
		q.Admit(1, Stream{}, seq, 3)
		seq += 3
	}
}

// frames returns the packets of a capture.
func frames(tb testing.TB, file []byte) [][]byte {
	tb.Helper()
	c, err := newCapture(tb.Context(), bytes.NewReader(file), 1<<16)
	if err != nil {
		tb.Fatal(err)
	}
	var out [][]byte
	for {
		var f frame
		err := c.next(&f)
		if err == io.EOF || errors.Is(err, ErrTruncated) {
			return out
		}
		if err != nil {
			tb.Fatal(err)
		}
		if f.link != layers.LinkTypeEthernet {
			tb.Fatalf("link type %v", f.link)
		}
		out = append(out, bytes.Clone(f.data))
	}
}

// library takes heads apart with gopacket, without allocation.
type library struct {
	eth    layers.Ethernet
	vlan   layers.Dot1Q
	v4     layers.IPv4
	v6     layers.IPv6
	udp    layers.UDP
	rest   gopacket.Payload
	parser *gopacket.DecodingLayerParser
	found  []gopacket.LayerType
}

func newLibrary() *library {
	l := &library{}
	l.parser = gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, &l.eth, &l.vlan, &l.v4, &l.v6, &l.udp, &l.rest)
	l.parser.IgnoreUnsupported = true
	return l
}

// datagram returns where a frame's datagram goes and its payload.
func (l *library) datagram(b []byte) (lineKey, []byte, bool) {
	l.found = l.found[:0]
	if err := l.parser.DecodeLayers(b, &l.found); err != nil {
		return lineKey{}, nil, false
	}
	var key lineKey
	for _, typ := range l.found {
		switch typ {
		case layers.LayerTypeIPv4:
			d := l.v4.DstIP
			key = lineKey{lo: uint64(d[0])<<24 | uint64(d[1])<<16 | uint64(d[2])<<8 | uint64(d[3])}
		case layers.LayerTypeIPv6:
			key = address6(l.v6.Contents)
		case layers.LayerTypeUDP:
			key.port = uint16(l.udp.DstPort)
			return key, l.udp.Payload, true
		}
	}
	return lineKey{}, nil, false
}

// BenchmarkHeads measures what it costs to find the datagram in a frame.
func BenchmarkHeads(b *testing.B) {
	all := frames(b, content(b, classicBench))
	b.Run("by=slices", func(b *testing.B) {
		var d datagram
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if d.parse(network(layers.LinkTypeEthernet, all[i])) != isUDP {
				b.Fatal("no datagram")
			}
			i = (i + 1) % len(all)
		}
	})
	b.Run("by=gopacket", func(b *testing.B) {
		l := newLibrary()
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if _, _, ok := l.datagram(all[i]); !ok {
				b.Fatal("no datagram")
			}
			i = (i + 1) % len(all)
		}
	})
}

// TestHeadsAsLibrary holds that both ways find the same datagrams in the real
// captures.
func TestHeadsAsLibrary(t *testing.T) {
	l := newLibrary()
	for _, f := range facts(t) {
		for i, b := range frames(t, content(t, f.File)) {
			compareHeads(t, l, i, b)
		}
	}
}

func compareHeads(t *testing.T, l *library, i int, b []byte) {
	t.Helper()
	var d datagram
	ours := d.parse(network(layers.LinkTypeEthernet, b)) == isUDP
	key, payload, ok := l.datagram(b)
	if ok != ours || ok && (key != d.to || !bytes.Equal(payload, d.payload)) {
		t.Fatalf("packet %d: %v %+v %x, gopacket %v %+v %x", i, ours, d.to, d.payload, ok, key, payload)
	}
}
