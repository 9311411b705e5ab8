package pcap

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/feed/window"
)

// TestPacketsAsLibrary holds that pcapgo finds the same packets, times and link
// types in the real captures. It is not what reads them: it copies each packet,
// and it wants to be told about snap length 0.
func TestPacketsAsLibrary(t *testing.T) {
	for _, f := range facts(t) {
		t.Run(f.File, func(t *testing.T) {
			b := content(t, f.File)
			ours, err := newCapture(t.Context(), bytes.NewReader(b), window.Size)
			if err != nil {
				t.Fatal(err)
			}
			theirs, link := openLibrary(t, b)
			for {
				var fr frame
				err := ours.next(&fr)
				data, info, theirErr := theirs.ReadPacketData()
				if err != nil {
					if theirErr == nil || errors.Is(err, ErrTruncated) != (theirErr == io.ErrUnexpectedEOF) {
						t.Errorf("after packet %d: %v, pcapgo %v", ours.number, err, theirErr)
					}
					break
				}
				if theirErr != nil || !bytes.Equal(data, fr.data) || info.Timestamp.UnixNano() != int64(fr.time) ||
					info.Length != fr.length || link != fr.link {
					t.Fatalf("packet %d: %+v, pcapgo %+v, %v", ours.number, fr, info, theirErr)
				}
			}
		})
	}
}

func openLibrary(t *testing.T, b []byte) (gopacket.PacketDataSource, layers.LinkType) {
	t.Helper()
	if isPcapng(b) {
		r, err := pcapgo.NewNgReader(bytes.NewReader(b), pcapgo.DefaultNgReaderOptions)
		if err != nil {
			t.Fatal(err)
		}
		return r, r.LinkType()
	}
	r, err := pcapgo.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	r.SetSnaplen(snapMax)
	return r, r.LinkType()
}

// BenchmarkPackets measures what it costs to read the packets of a capture.
func BenchmarkPackets(b *testing.B) {
	const times = 100
	file := content(b, classicBench)
	b.Run("by=window", func(b *testing.B) {
		b.SetBytes(int64(times * len(file)))
		n, f := int64(0), new(frame)
		for b.Loop() {
			c, err := newCapture(b.Context(), pcaptest.Repeat(file, times), window.Size)
			if err != nil {
				b.Fatal(err)
			}
			for c.next(f) == nil {
			}
			n += c.number
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
	})
	b.Run("by=pcapgo", func(b *testing.B) {
		b.SetBytes(int64(times * len(file)))
		n := 0
		for b.Loop() {
			r, err := pcapgo.NewReader(bufio.NewReaderSize(pcaptest.Repeat(file, times), window.Size))
			if err != nil {
				b.Fatal(err)
			}
			for {
				if _, _, err := r.ZeroCopyReadPacketData(); err != nil {
					break
				}
				n++
			}
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
	})
}
