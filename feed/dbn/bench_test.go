package dbn

import (
	"io"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
)

const dayFile = "dbn/esh4-glbx-mdp3-20231225.mbo.dbn.zst"

// repeated yields a file's content with its records many times over.
type repeated struct {
	head, body []byte
	rest       []byte
	times      int
}

func newRepeated(content []byte, headSize, times int) *repeated {
	return &repeated{head: content[:headSize], body: content[headSize:], rest: content[:headSize], times: times}
}

func (r *repeated) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.times == 0 {
			return 0, io.EOF
		}
		r.times--
		r.rest = r.body
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// benchmarkNext reads a file's records, repeated to at least 2^20 of them.
func benchmarkNext(b *testing.B, file string) {
	content := content(b, file)
	size, err := checkPrelude(content)
	if err != nil {
		b.Fatal(err)
	}
	one := 0
	for rest := content[size:]; len(rest) > 0; rest = rest[int(rest[0])*4:] {
		one++
	}
	times := 1<<20/one + 1
	records := one * times
	b.SetBytes(int64(times * (len(content) - size)))
	b.ReportAllocs()
	for b.Loop() {
		src, err := Format.Open(b.Context(), &feed.Input{Reader: newRepeated(content, size, times)}, feed.Options{})
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for {
			if _, err := src.Next(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != records {
			b.Fatalf("%d records, want %d", n, records)
		}
	}
	b.ReportMetric(float64(b.N)*float64(records)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkNext(b *testing.B) {
	b.Run("kind=mbo", func(b *testing.B) { benchmarkNext(b, dayFile) })
	b.Run("kind=mbp-1", func(b *testing.B) {
		benchmarkNext(b, "dbn/futures_mbp-1_2024-07-01T23-58_2024-07-02T00-02.dbn.zst")
	})
	// Bars of two instruments in turn, so that each record changes the topic.
	b.Run("kind=ohlcv-1m", func(b *testing.B) {
		benchmarkNext(b, "dbn/futures_ohlcv-1m_2024-07-01T23-40_2024-07-02T00-10.dbn.zst")
	})
}

func BenchmarkDecode(b *testing.B) {
	content := content(b, dayFile)
	size, err := checkPrelude(content)
	if err != nil {
		b.Fatal(err)
	}
	body := content[size:][:56]
	fields := make([]feed.Field, 0, 32)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if fields, err = Format.Decode(fields[:0], feed.Encoding{}, 0, body); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
