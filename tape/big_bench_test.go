package tape_test

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/feed/synth"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// bigBytes is how large the tape of BenchmarkBig is, as stored.
const bigBytes = 10e9

// bigTopics is how many topics it has.
const bigTopics = 100_000

// BenchmarkBig looks for things on a tape of 10 GB, which it makes in the
// directory TAPEDECK_BIG where it is not there yet. The tape is left there.
func BenchmarkBig(b *testing.B) {
	where := os.Getenv("TAPEDECK_BIG")
	if where == "" {
		b.Skip("TAPEDECK_BIG names no directory for a tape of 10 GB")
	}
	dir := filepath.Join(where, "big.tape")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		makeBig(b, dir)
	}
	tp, err := tape.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	info, err := tp.Info()
	if err != nil {
		b.Fatal(err)
	}
	tp.Close()
	span := info.Totals.Receive
	b.Logf("%d records, %d bytes stored, %d of payload, %d segments", info.Totals.Records, info.Totals.StoredBytes, info.Totals.PayloadBytes, len(info.Segments))
	rng := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	random := func() wire.Nanos { return span.Min + wire.Nanos(rng.Int64N(int64(span.Max-span.Min))) }
	b.Run("last", func(b *testing.B) { bigLast(b, dir, random) })
	b.Run("seek", func(b *testing.B) { bigSeek(b, dir, random, false) })
	b.Run("open and seek", func(b *testing.B) { bigSeek(b, dir, random, true) })
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			t, err := tape.Open(dir)
			if err != nil {
				b.Fatal(err)
			}
			t.Close()
		}
	})
}

// bigLast opens the tape and finds every topic's last record as of a time, as a
// command does.
func bigLast(b *testing.B, dir string, random func() wire.Nanos) {
	longest, records := time.Duration(0), uint64(0)
	for b.Loop() {
		start := time.Now()
		t, err := tape.Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		l, err := t.Last(b.Context(), tape.LastConfig{At: random()})
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for l.Next() {
			n += len(l.Record().Topic())
		}
		longest = max(longest, time.Since(start))
		if l.Len() < bigTopics*9/10 && l.Stats().Keyframe > 0 {
			b.Fatalf("%d topics", l.Len())
		}
		records += l.Stats().Records
		t.Close()
	}
	b.ReportMetric(float64(longest.Microseconds())/1000, "longest-ms")
	b.ReportMetric(float64(records)/float64(b.N), "records-read/op")
}

// bigSeek goes to the first record at or after a time, with the tape open or,
// as a command does, opening it first.
func bigSeek(b *testing.B, dir string, random func() wire.Nanos, reopen bool) {
	open := func() *tape.Tape {
		t, err := tape.Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		return t
	}
	t := open()
	defer func() { t.Close() }()
	longest := time.Duration(0)
	for b.Loop() {
		start, at := time.Now(), random()
		if reopen {
			t.Close()
			t = open()
		}
		r := t.Records(tape.ReadConfig{From: at})
		if !r.Next() || r.Record().Receive() < at {
			b.Fatal("no record", r.Err())
		}
		longest = max(longest, time.Since(start))
		r.Close()
	}
	b.ReportMetric(float64(longest.Microseconds())/1000, "longest-ms")
}

// makeBig makes the tape: 100-byte records, all topics alike.
func makeBig(b *testing.B, dir string) {
	src, err := synth.New(synth.Config{Seed: 1, Topics: bigTopics, Rate: 500_000, BodySizeMin: 64})
	if err != nil {
		b.Fatal(err)
	}
	w, err := tape.Create(dir, tape.Config{SyncInterval: -1, Temporary: true})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = w.Abort() }()
	start, at := time.Now(), tape.At{Epoch: 1}
	for at.Seq%10_000 != 0 || w.Stats().StoredBytes < bigBytes {
		rec, err := src.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			b.Fatal(err)
		}
		f := fields(rec)
		if err := w.AppendFields(at, &f); err != nil {
			b.Fatal(err)
		}
		at.Seq++
		at.Ordinal++
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d records in %v: %.0f records/s", at.Seq, time.Since(start), float64(at.Seq)/time.Since(start).Seconds())
}
