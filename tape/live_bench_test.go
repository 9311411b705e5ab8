package tape

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// BenchmarkLive reads a tape while it is being written, from the start up to the
// open block.
func BenchmarkLive(b *testing.B) {
	for _, codec := range []Codec{CodecPlain, CodecS2} {
		b.Run("codec="+codec.String(), func(b *testing.B) {
			w, f, at := benchWriter(b, codec), benchFields(), &At{Epoch: 1}
			for range 500_000 {
				appendNext(b, w, f, at)
			}
			l, records, seq := w.Live(), uint64(0), wire.Seq(0)
			b.ReportAllocs()
			for b.Loop() {
				batch, release, err := l.ReadSeq(b.Context(), 1, 0, seq, at.Seq, 0)
				if err != nil {
					b.Fatal(err)
				}
				records += uint64(batch.Count)
				if seq = batch.Next(); seq == at.Seq {
					seq = 0
				}
				release()
			}
			b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
			b.StopTimer()
			if err := errors.Join(w.Close(), l.Close()); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkLiveTail reads the last 10 records after every 100 that are appended.
func BenchmarkLiveTail(b *testing.B) {
	for _, read := range []bool{false, true} {
		b.Run(fmt.Sprintf("read=%v", read), func(b *testing.B) {
			w, f, at := benchWriter(b, CodecS2), benchFields(), &At{Epoch: 1}
			l := w.Live()
			b.ReportAllocs()
			for b.Loop() {
				for range 100 {
					appendNext(b, w, f, at)
				}
				if !read {
					continue
				}
				_, release, err := l.ReadSeq(context.Background(), 1, 0, at.Seq-10, at.Seq, 0)
				if err != nil {
					b.Fatal(err)
				}
				release()
			}
			rate(b, 100)
			b.StopTimer()
			if err := errors.Join(w.Close(), l.Close()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
