package pcap

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/feed/window"
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

// BenchmarkHeads measures what it costs to find the datagram in a frame.
func BenchmarkHeads(b *testing.B) {
	all := frames(b, content(b, classicBench))
	d := newDatagram()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if d.parse(layers.LinkTypeEthernet, all[i]) != isUDP {
			b.Fatal("no datagram")
		}
		i = (i + 1) % len(all)
	}
}

// BenchmarkPackets measures what it costs to read the packets of a capture.
func BenchmarkPackets(b *testing.B) {
	for name, file := range map[string]string{"pcap": classicBench, "pcapng": nextBench} {
		b.Run("file="+name, func(b *testing.B) {
			const times = 100
			all := content(b, file)
			b.SetBytes(int64(times * len(all)))
			b.ReportAllocs()
			n, f := int64(0), new(frame)
			for b.Loop() {
				c, err := newCapture(b.Context(), pcaptest.Repeat(all, times), window.Size)
				if err != nil {
					b.Fatal(err)
				}
				for c.next(f) == nil {
				}
				n += c.number
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
