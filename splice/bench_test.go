package splice

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// benchTape makes a tape of 100-byte records on 1,000 topics, about a microsecond
// apart.
func benchTape(b *testing.B, codec tape.Codec, topics string, records int) *tape.Tape {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "in.tape")
	w, err := tape.Create(dir, tape.Config{Codec: codec, SyncInterval: -1})
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	body := make([]byte, 67)
	f := wire.Fields{Body: body, Kind: wire.KindTrade}
	at := start
	for i := range records {
		for k := range body {
			body[k] = byte(rng.IntN(16))
		}
		at += wire.Nanos(rng.IntN(2000))
		f.Topic = fmt.Appendf(f.Topic[:0], "%s.%07d", topics, rng.IntN(1000))
		f.Event, f.Receive = at, at+100
		if err := w.AppendFields(tape.At{Epoch: 1, Seq: wire.Seq(i), Ordinal: wire.Ordinal(i)}, &f); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return openTape(b, dir)
}

// run repeats work that makes a tape, and reports rates of its input.
func run(b *testing.B, in []*tape.Tape, work func(dir string) error) {
	b.Helper()
	records, bytes := uint64(0), uint64(0)
	for _, t := range in {
		info, err := t.Info()
		if err != nil {
			b.Fatal(err)
		}
		records, bytes = records+info.Totals.Records, bytes+info.Totals.PayloadBytes
	}
	b.SetBytes(int64(bytes))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if err := work(filepath.Join(b.TempDir(), fmt.Sprint(n), "out.tape")); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

const benchRecords = 1_000_000

func BenchmarkMerge(b *testing.B) {
	for _, tapes := range []int{2, 16} {
		for _, shared := range []bool{false, true} {
			b.Run(fmt.Sprintf("tapes=%d/shared=%v", tapes, shared), func(b *testing.B) {
				var in []*tape.Tape
				for i := range tapes {
					topics := fmt.Sprintf("X%02d", i)
					if shared {
						topics = "X"
					}
					in = append(in, benchTape(b, tape.CodecS2, topics, benchRecords/tapes))
				}
				run(b, in, func(dir string) error {
					_, err := Merge(context.Background(), in, dir, MergeConfig{})
					return err
				})
			})
		}
	}
}

func BenchmarkCompact(b *testing.B) {
	in := []*tape.Tape{benchTape(b, tape.CodecPlain, "X", benchRecords)}
	for _, codec := range []tape.Codec{tape.CodecS2, tape.CodecZstd} {
		b.Run("plain-to-"+codec.String(), func(b *testing.B) {
			run(b, in, func(dir string) error {
				_, err := Compact(context.Background(), in[0], dir, CompactConfig{Tape: tape.Config{Codec: codec}})
				return err
			})
		})
	}
}

func BenchmarkCut(b *testing.B) {
	for _, codec := range []tape.Codec{tape.CodecPlain, tape.CodecS2, tape.CodecZstd} {
		in := []*tape.Tape{benchTape(b, codec, "X", benchRecords)}
		for name, cfg := range map[string]CutConfig{"blocks": {From: start + 1}, "records": {Topics: []string{"X"}}} {
			b.Run(fmt.Sprintf("%s/codec=%v", name, codec), func(b *testing.B) {
				run(b, in, func(dir string) error {
					_, err := Cut(context.Background(), in[0], dir, cfg)
					return err
				})
			})
		}
	}
}
