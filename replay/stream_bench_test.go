package replay_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/feed/synth"
	"github.com/tapedeck/tapedeck/recorder"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// visitor visits every record and adds up what it touches.
type visitor struct {
	records []uint64 // per shard
	bytes   []uint64
}

func (v *visitor) HandleBatch(b *wire.Batch, skip uint32) error {
	w := b.Records()
	n, sum := uint64(0), uint64(0)
	for w.Next() {
		r := w.Record()
		sum += uint64(len(r.Topic()) + len(r.Body()))
		n++
	}
	v.records[b.Shard] += n - uint64(skip)
	v.bytes[b.Shard] += sum
	return w.Err()
}

func (*visitor) HandleGap(int, wire.Epoch, wire.Seq, wire.Seq)        {}
func (*visitor) HandleSession(int, wire.Epoch, *wire.Session)         {}
func (*visitor) HandleEnd(shard int, epoch wire.Epoch, complete bool) {}

// synthSource gives generated records to an import.
type synthSource struct {
	src    *synth.Source
	fields wire.Fields
}

func (s *synthSource) Next() (*wire.Fields, error) {
	r, err := s.src.Next()
	if err != nil {
		return nil, err
	}
	s.fields = wire.Fields{Topic: r.Topic, Body: r.Body, Event: r.Event, Receive: r.Receive, Kind: r.Kind, Flags: r.Flags}
	return &s.fields, nil
}

func synthTape(b *testing.B, records uint64, codec tape.Codec, shards int) *tape.Tape {
	b.Helper()
	src, err := synth.New(synth.Config{Seed: 1, Topics: 1000, Records: records, BodySizeMin: 100, BodySizeMax: 100})
	if err != nil {
		b.Fatal(err)
	}
	return importTape(b, src, codec, shards)
}

func importTape(b *testing.B, src *synth.Source, codec tape.Codec, shards int) *tape.Tape {
	b.Helper()
	dir := b.TempDir() + "/bench.tape"
	w, err := tape.Create(dir, tape.Config{Shards: shards, Codec: codec, SyncInterval: -1})
	if err != nil {
		b.Fatal(err)
	}
	_, err = recorder.Import(b.Context(), w, &synthSource{src: src}, recorder.ImportConfig{Shards: shards, Epoch: 1})
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

// BenchmarkStream plays a tape of 2,000,000 records with 100-byte bodies over
// loopback TCP to a subscriber in this process that visits every record.
func BenchmarkStream(b *testing.B) {
	const records = 2_000_000
	for _, tc := range []struct {
		codec              tape.Codec
		tapeShards, shards int
	}{
		{tape.CodecPlain, 1, 1}, {tape.CodecS2, 1, 1}, {tape.CodecZstd, 1, 1},
		{tape.CodecPlain, 2, 2}, {tape.CodecPlain, 1, 2},
	} {
		b.Run(fmt.Sprintf("codec=%v/tape=%d/shards=%d", tc.codec, tc.tapeShards, tc.shards), func(b *testing.B) {
			t := synthTape(b, records, tc.codec, tc.tapeShards)
			b.ReportAllocs()
			for b.Loop() {
				playOnce(b, t, tc.shards, records)
			}
			b.ReportMetric(records*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

func playOnce(b *testing.B, t *tape.Tape, shards int, records uint64) {
	endpoints := make([]string, shards)
	for i := range endpoints {
		endpoints[i] = "tcp://127.0.0.1:*"
	}
	pub, err := publisher.New(publisher.Config{Endpoints: endpoints, Lossless: true})
	if err != nil {
		b.Fatal(err)
	}
	v := &visitor{make([]uint64, shards), make([]uint64, shards)}
	sub, err := subscriber.New(subscriber.Config{Endpoints: pub.Endpoints()}, v)
	if err != nil {
		b.Fatal(err)
	}
	player, err := replay.New(replay.Config{Tape: t, Publisher: pub, Shards: shards, Wait: 1})
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- sub.Run(context.Background()) }()
	_, err = player.Run(context.Background())
	if err := errors.Join(err, <-done, pub.Close()); err != nil {
		b.Fatal(err)
	}
	player.Close()
	if s := sub.Summary(); !s.Complete || s.Records != records {
		b.Fatalf("%d records, %s", s.Records, s.Why())
	}
}
