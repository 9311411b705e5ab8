package replay_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/feed/synth"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// deckReader visits every record, and says when an epoch's first record and first
// news came.
type deckReader struct {
	visitor
	pace   time.Duration // a batch; 0: as fast as it can
	epoch  atomic.Uint64
	marks  chan deckMark // of shard 0
	values atomic.Uint64 // last values, of all shards
	news   bool
}

type deckMark struct {
	epoch wire.Epoch
	what  string
	at    time.Time
}

func (r *deckReader) HandleBatch(b *wire.Batch, skip uint32) error {
	if r.pace > 0 {
		time.Sleep(r.pace) // its queue is full, and the machine is not busy
	}
	last := b.Flags&wire.FlagSnapshotBatch != 0
	if last {
		r.values.Add(uint64(b.Count))
	}
	if b.Shard == 0 {
		if e := uint64(b.Epoch); r.epoch.Load() != e {
			r.epoch.Store(e)
			r.news = false
			r.mark(b.Epoch, "first")
		}
		if !last && !r.news {
			r.news = true
			r.mark(b.Epoch, "news")
		}
	}
	return r.visitor.HandleBatch(b, skip)
}

func (r *deckReader) mark(e wire.Epoch, what string) {
	select {
	case r.marks <- deckMark{e, what, time.Now()}:
	default:
	}
}

// liveDeck is a player, its publisher and a subscriber in this process.
type liveDeck struct {
	player *replay.Player
	pub    *publisher.Publisher
	reader *deckReader
	ended  chan error
}

func openDeck(b *testing.B, cfg replay.Config, pace time.Duration) *liveDeck {
	b.Helper()
	if cfg.Shards == 0 {
		cfg.Shards = cfg.Tape.Shards()
	}
	endpoints := slices.Repeat([]string{"tcp://127.0.0.1:*"}, cfg.Shards)
	d := &liveDeck{ended: make(chan error, 2)}
	var err error
	if d.pub, err = publisher.New(publisher.Config{Endpoints: endpoints, Lossless: true}); err != nil {
		b.Fatal(err)
	}
	d.reader = &deckReader{visitor: visitor{make([]uint64, cfg.Shards), make([]uint64, cfg.Shards)}, pace: pace, marks: make(chan deckMark, 16)}
	sub, err := subscriber.New(subscriber.Config{Endpoints: d.pub.Endpoints()}, d.reader)
	if err != nil {
		b.Fatal(err)
	}
	cfg.Publisher, cfg.Wait = d.pub, 1
	if d.player, err = replay.New(cfg); err != nil {
		b.Fatal(err)
	}
	go func() { d.ended <- sub.Run(context.Background()) }()
	go func() {
		_, err := d.player.Run(context.Background())
		d.pub.Stop()
		d.ended <- err
	}()
	for d.reader.epoch.Load() == 0 && !cfg.Paused {
		time.Sleep(time.Millisecond)
	}
	return d
}

func (d *liveDeck) close(b *testing.B) {
	b.Helper()
	if err := d.player.Stop(context.Background()); err != nil {
		b.Fatal(err)
	}
	err := errors.Join(<-d.ended, <-d.ended)
	if err != nil && !errors.Is(err, replay.ErrStopped) {
		b.Fatal(err)
	}
	if err := d.pub.Close(); err != nil {
		b.Fatal(err)
	}
	d.player.Close()
}

// BenchmarkCommand gives commands to a player at full speed, over loopback TCP, to
// a reader that keeps up and to one that does not, behind full queues. An
// operation is a pause and a resume.
func BenchmarkCommand(b *testing.B) {
	for _, shards := range []int{1, 2} {
		t := synthTape(b, 2_000_000, tape.CodecPlain, shards)
		for name, cfg := range map[string]replay.Config{"blocks": {}, "resharded": {Shards: 3}, "1000x": {Speed: 1000}} {
			for _, pace := range []time.Duration{0, 20 * time.Millisecond} {
				b.Run(fmt.Sprintf("shards=%d/%s/reader=%v", shards, name, pace), func(b *testing.B) {
					cfg.Tape, cfg.Passes = t, -1
					d := openDeck(b, cfg, pace)
					defer d.close(b)
					var took []time.Duration
					for b.Loop() {
						for _, command := range []func(context.Context) error{d.player.Pause, d.player.Resume} {
							time.Sleep(time.Duration(rand.IntN(int(10 * time.Millisecond)))) // spreads them
							start := time.Now()
							if err := command(b.Context()); err != nil {
								b.Fatal(err)
							}
							took = append(took, time.Since(start))
						}
					}
					reportQuantiles(b, took, "")
				})
			}
		}
	}
}

func reportQuantiles(b *testing.B, took []time.Duration, what string) {
	slices.Sort(took)
	at := func(q float64) float64 {
		return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(at(0.5), what+"p50-ms")
	b.ReportMetric(at(0.99), what+"p99-ms")
	b.ReportMetric(at(1), what+"max-ms")
}

// BenchmarkSeek seeks at random in a tape of 1 GB while it plays over loopback TCP.
// What is measured is when the reader has the first record of the new epoch (first),
// and the first one behind its last values (news), counted from the call.
func BenchmarkSeek(b *testing.B) {
	for _, topics := range []int{1000, 100_000} {
		t := seekTape(b, topics)
		info, err := t.Info()
		if err != nil {
			b.Fatal(err)
		}
		span := info.Totals.Receive
		for _, speed := range []replay.Speed{1, replay.Max} {
			b.Run(fmt.Sprintf("topics=%d/speed=%v", topics, speed), func(b *testing.B) {
				d := openDeck(b, replay.Config{Tape: t, Speed: speed, Passes: -1}, 0)
				defer d.close(b)
				var first, news, command []time.Duration
				values, seeks := d.reader.values.Load(), uint64(0)
				for b.Loop() {
					// Not so near to the start that topics are missing.
					at := span.Min + wire.Nanos(rand.Int64N(int64(span.Max-span.Min)*8/10)) + (span.Max-span.Min)/10
					start := time.Now()
					if err := d.player.Seek(b.Context(), replay.ToTime(at, tape.ClockReceive)); err != nil {
						b.Fatal(err)
					}
					command = append(command, time.Since(start))
					epoch := d.pub.Epoch()
					for m := range d.reader.marks {
						if m.epoch != epoch {
							continue
						}
						if m.what == "first" {
							first = append(first, m.at.Sub(start))
							continue
						}
						news = append(news, m.at.Sub(start))
						break
					}
					seeks++
				}
				if n := (d.reader.values.Load() - values) / seeks; n < uint64(topics)*95/100 {
					b.Errorf("%d last values a seek", n)
				}
				reportQuantiles(b, command, "command-")
				reportQuantiles(b, first, "first-")
				reportQuantiles(b, news, "news-")
			})
		}
	}
}

// seekTape is 1 GB of 100-byte records.
func seekTape(b *testing.B, topics int) *tape.Tape {
	b.Helper()
	src, err := synth.New(synth.Config{Seed: 1, Topics: topics, Records: 10_000_000, Rate: 500_000, BodySizeMin: 64, BodySizeMax: 64})
	if err != nil {
		b.Fatal(err)
	}
	return importTape(b, src, tape.CodecPlain, 1)
}

// BenchmarkRead reads back what a player has sent, one batch after the other, as a
// reader that was away does.
func BenchmarkRead(b *testing.B) {
	const records = 2_000_000
	for _, tc := range []struct {
		name  string
		codec tape.Codec
		cfg   replay.Config
	}{
		{"blocks", tape.CodecPlain, replay.Config{}}, {"s2", tape.CodecS2, replay.Config{}},
		{"resharded", tape.CodecPlain, replay.Config{Shards: 2}},
	} {
		b.Run(tc.name, func(b *testing.B) {
			tc.cfg.Tape = synthTape(b, records, tc.codec, 1)
			tc.cfg.Hold = true
			d := openDeck(b, tc.cfg, 0)
			defer d.close(b)
			for d.player.State().Phase != replay.Held {
				time.Sleep(time.Millisecond)
			}
			span := d.player.Extents()[0]
			from, read, bytes := wire.Seq(0), uint64(0), 0
			b.ReportAllocs()
			for b.Loop() {
				batch, release, err := d.player.Read(b.Context(), span.Epoch, span.Shard, from, span.To, 256<<10)
				if err != nil {
					b.Fatal(err)
				}
				read, bytes = read+uint64(batch.Count), len(batch.Payload)
				if from = batch.Next(); from == span.To {
					from = 0
				}
				release()
			}
			b.SetBytes(int64(bytes))
			b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
