package itch

import (
	"io"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
)

const dayFile = "itch/nasdaq-20200130-aapl-10k.itch"

// repeated yields a file's content many times over.
type repeated struct {
	content []byte
	rest    []byte
	times   int
}

func (r *repeated) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.times == 0 {
			return 0, io.EOF
		}
		r.times--
		r.rest = r.content
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// drain reads src to its end and returns how many records it gave.
func drain(b *testing.B, src feed.Source) int {
	n := 0
	for {
		if _, err := src.Next(); err == io.EOF {
			return n
		} else if err != nil {
			b.Fatal(err)
		}
		n++
	}
}

// BenchmarkNext reads 10,000 messages 200 times over: a file of one stock as it
// is, and the same spread over all locate codes, so that each message goes to
// another topic.
func BenchmarkNext(b *testing.B) {
	const times, messages = 200, 10_000
	for _, spread := range []bool{false, true} {
		name := "stocks=1"
		if spread {
			name = "stocks=10000"
		}
		b.Run(name, func(b *testing.B) {
			content := content(b, dayFile)
			if spread {
				for rest, i := content, 0; len(rest) > 0; i++ {
					m := rest[2:][:int(rest[0])<<8|int(rest[1])]
					m[locateOff], m[locateOff+1] = byte(i>>8), byte(i)
					rest = rest[2+len(m):]
				}
			}
			b.SetBytes(int64(times * len(content)))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				in := &feed.Input{Reader: &repeated{content: content, times: times}, Name: dayFile, Head: content[:feed.HeadSize]}
				src, err := Format.Open(b.Context(), in, feed.Options{})
				if err != nil {
					b.Fatal(err)
				}
				one := drain(b, src)
				if one != times*messages {
					b.Fatalf("%d messages", one)
				}
				n += one
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// BenchmarkMold reads the same messages out of MoldUDP64 packets of ten.
func BenchmarkMold(b *testing.B) {
	const messages = 10_000
	capture := moldCapture(content(b, dayFile), 10)
	const times = 100
	packets := capture[24:]
	b.SetBytes(int64(times * len(packets)))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		in := &feed.Input{Reader: &repeated{content: packets, rest: capture[:24], times: times}, Head: capture[:feed.HeadSize]}
		src, err := Format.Open(b.Context(), in, feed.Options{})
		if err != nil {
			b.Fatal(err)
		}
		one := drain(b, src)
		if one != times*messages {
			b.Fatalf("%d messages", one)
		}
		n += one
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkDecode(b *testing.B) {
	content := content(b, dayFile)
	var body []byte
	for rest := content; body == nil; rest = rest[2+int(rest[1]):] {
		if rest[2] == 'A' {
			body = rest[2:38]
		}
	}
	fields := make([]feed.Field, 0, 32)
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
