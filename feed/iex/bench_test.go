package iex

import (
	"io"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
)

const deepFile = "iex-pcap/DEEP10.pcap.gz"

// repeated yields a pcap with its packets many times over.
type repeated struct {
	packets []byte
	rest    []byte
	times   int
}

// newRepeated leaves the packet out that DEEP10 breaks off in.
func newRepeated(content []byte, times int) *repeated {
	const fileHead, packetHead = 24, 16
	end := fileHead
	for len(content)-end > packetHead {
		size := packetHead + int(content[end+8]) + int(content[end+9])<<8
		if end+size > len(content) {
			break
		}
		end += size
	}
	return &repeated{packets: content[fileHead:end], rest: content[:fileHead], times: times}
}

func (r *repeated) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.times == 0 {
			return 0, io.EOF
		}
		r.times--
		r.rest = r.packets
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// BenchmarkNext reads DEEP10 four times over.
func BenchmarkNext(b *testing.B) {
	const times, messages = 4, 391_999
	for _, ab := range []string{"keep", "merge"} {
		b.Run("ab="+ab, func(b *testing.B) {
			content := content(b, deepFile)
			b.SetBytes(int64(times * len(content)))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				r := newRepeated(content, times)
				src, err := Format.Open(b.Context(), &feed.Input{Reader: r, Head: content[:feed.HeadSize]}, feed.Options{AB: ab})
				if err != nil {
					b.Fatal(err)
				}
				one := 0
				for {
					if _, err := src.Next(); err == io.EOF {
						break
					} else if err != nil {
						b.Fatal(err)
					}
					one++
				}
				if one != times*messages {
					b.Fatalf("%d messages", one)
				}
				n += one
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	body := make([]byte, 38)
	body[0] = 'T'
	fields := make([]feed.Field, 0, 16)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if fields, err = Format.Decode(fields[:0], feed.Encoding{}, 0, body); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
