package merge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/feed/synth"
	"github.com/tapedeck/tapedeck/recorder"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/splice"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// synthSource gives generated records to an import, under topics of its own.
type synthSource struct {
	src    *synth.Source
	prefix string
	topic  []byte
	fields wire.Fields
}

func (s *synthSource) Next() (*wire.Fields, error) {
	r, err := s.src.Next()
	if err != nil {
		return nil, err
	}
	s.topic = append(append(s.topic[:0], s.prefix...), r.Topic...)
	s.fields = wire.Fields{Topic: s.topic, Body: r.Body, Event: r.Event, Receive: r.Receive, Kind: r.Kind, Flags: r.Flags}
	return &s.fields, nil
}

func synthTape(b testing.TB, seed, records uint64, prefix string, codec tape.Codec) *tape.Tape {
	b.Helper()
	src, err := synth.New(synth.Config{Seed: seed, Topics: 1000, Records: records, BodySizeMin: 100, BodySizeMax: 100})
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir() + "/bench.tape"
	w, err := tape.Create(dir, tape.Config{Codec: codec, SyncInterval: -1})
	if err != nil {
		b.Fatal(err)
	}
	_, err = recorder.Import(context.Background(), w, &synthSource{src: src, prefix: prefix}, recorder.ImportConfig{Shards: 1, Epoch: 1})
	if err := errors.Join(err, w.Close()); err != nil {
		b.Fatal(err)
	}
	t, err := tape.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = t.Close() })
	return t
}

// null is a Publisher that takes everything at once.
type null struct{}

func (null) WaitReaders(ctx context.Context, _ int) error { return ctx.Err() }
func (null) Tick(ctx context.Context) error               { return ctx.Err() }
func (null) End(ctx context.Context) error                { return ctx.Err() }
func (null) Send(ctx context.Context, _ int, _ *wire.Batch, done interface{ Release() }) error {
	done.Release()
	return ctx.Err()
}

// BenchmarkPlay gathers 2,000,000 records of 100-byte bodies into batches, at full
// speed and paced as fast as it goes, for a publisher that takes them at once: of
// one tape, and of several that have as many together, record by record from another
// one. Both are played in turn; ratio is several against one.
func BenchmarkPlay(b *testing.B) {
	const records = 2_000_000
	for _, codec := range []tape.Codec{tape.CodecPlain, tape.CodecS2} {
		for _, tc := range []struct {
			tapes  int
			common bool
		}{{2, false}, {4, false}, {16, false}, {2, true}} {
			var tapes []*tape.Tape
			for i := range tc.tapes {
				prefix := fmt.Sprintf("%c.", 'A'+i)
				if tc.common {
					prefix = ""
				}
				tapes = append(tapes, synthTape(b, uint64(i+1), records/uint64(tc.tapes), prefix, codec))
			}
			dir := b.TempDir() + "/merged.tape"
			if _, err := splice.Merge(context.Background(), tapes, dir, splice.MergeConfig{Tape: tape.Config{Codec: codec}}); err != nil {
				b.Fatal(err)
			}
			merged, err := tape.Open(dir)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = merged.Close() })
			for _, speed := range []replay.Speed{replay.Max, 1e9} {
				b.Run(fmt.Sprintf("codec=%v/tapes=%d/common=%v/speed=%v", codec, tc.tapes, tc.common, speed), func(b *testing.B) {
					b.SetBytes(records * 100)
					b.ReportAllocs()
					var one, several time.Duration
					for b.Loop() {
						one += play(b, replay.NewTapeSource(merged), speed, records)
						src, err := New(tapes, tape.ClockReceive)
						if err != nil {
							b.Fatal(err)
						}
						several += play(b, src, speed, records)
					}
					b.ReportMetric(records*float64(b.N)/one.Seconds(), "one_records/s")
					b.ReportMetric(records*float64(b.N)/several.Seconds(), "several_records/s")
					b.ReportMetric(one.Seconds()/several.Seconds(), "ratio")
				})
			}
		}
	}
}

func play(b *testing.B, src replay.Source, speed replay.Speed, records uint64) time.Duration {
	begin := time.Now()
	p, err := replay.New(replay.Config{Source: src, Publisher: null{}, Shards: 2, Speed: speed})
	if err != nil {
		b.Fatal(err)
	}
	rep, err := p.Run(context.Background())
	if err != nil || rep.Records != records {
		b.Fatalf("%d records: %v", rep.Records, err)
	}
	p.Close()
	return time.Since(begin)
}

// BenchmarkPlace goes to any place of two tapes of 1,000,000 records and reads one
// record there, with nothing remembered: "far" without, "read on" with what reading on
// remembers.
func BenchmarkPlace(b *testing.B) {
	for _, common := range []bool{false, true} {
		prefix := "B."
		if common {
			prefix = ""
		}
		tapes := []*tape.Tape{synthTape(b, 1, 1_000_000, "", tape.CodecS2), synthTape(b, 2, 1_000_000, prefix, tape.CodecS2)}
		for _, on := range []bool{false, true} {
			b.Run(fmt.Sprintf("common=%v/on=%v", common, on), func(b *testing.B) {
				rng := rand.New(rand.NewPCG(1, 1))
				src, err := New(tapes, tape.ClockReceive)
				if err != nil {
					b.Fatal(err)
				}
				from := src.Span() / 2
				b.ReportAllocs()
				for b.Loop() {
					if from += 1000; !on || from > src.Span() {
						from = wire.Ordinal(rng.Uint64N(uint64(src.Span())))
					}
					if !on {
						src.common.memory, src.common.tables = memory{}, tables{}
					}
					w, err := src.Walk(tape.ReadConfig{}, from)
					if err != nil {
						b.Fatal(err)
					}
					var it replay.Item
					if !w.Next(&it) || it.Place != from {
						b.Fatal("not there")
					}
					_ = w.Close()
				}
			})
		}
	}
}
