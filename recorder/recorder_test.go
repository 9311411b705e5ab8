package recorder

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/shard"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// TestRecordingOfAReplay: what a recorder writes of a replay over real sockets
// has the records of the source, byte for byte, in the same one order, whatever
// the numbers of shards.
func TestRecordingOfAReplay(t *testing.T) {
	const n = 5000
	var steps []any
	for i := range n {
		steps = append(steps, record(fmt.Sprintf("T%d", i*i%37), wire.Nanos(1_000_000+i*10), fmt.Sprint("body ", i)))
	}
	for _, tc := range []struct{ from, to int }{{1, 1}, {3, 3}, {1, 3}, {3, 2}} {
		t.Run(fmt.Sprintf("%d to %d shards", tc.from, tc.to), func(t *testing.T) {
			dir, w := create(t, tape.Config{Shards: tc.from, BlockSize: 8 << 10})
			_, err := Import(t.Context(), w, &script{steps: steps}, ImportConfig{Shards: tc.from, Epoch: 9})
			if err := errors.Join(err, w.Close()); err != nil {
				t.Fatal(err)
			}
			copied, sum := recordReplay(t, dir, tc.to)
			if !sum.Complete || sum.Records != n {
				t.Fatalf("summary %+v", sum)
			}
			want, got := contents(t, dir), contents(t, copied)
			if len(got) != len(want) {
				t.Fatalf("%d records, want %d", len(got), len(want))
			}
			m, err := shard.NewMap(tc.to)
			if err != nil {
				t.Fatal(err)
			}
			next := map[int]wire.Seq{}
			for i := range want {
				s := int(m.Of(wire.Record(want[i].record).Topic()))
				if got[i].record != want[i].record || got[i].at.Ordinal != want[i].at.Ordinal {
					t.Fatalf("record %d differs", i)
				}
				if got[i].at.Shard != s || got[i].at.Seq != next[s] || got[i].at.Send == 0 {
					t.Fatalf("record %d is at %+v, want shard %d, sequence %d and a send time", i, got[i].at, s, next[s])
				}
				next[s]++
			}
			rep, err := tape.Verify(t.Context(), copied, nil)
			if err != nil || !rep.OK() || !rep.Closed || len(rep.Gaps) != 0 {
				t.Errorf("verify: %v, %+v", err, rep)
			}
		})
	}
}

// recordReplay plays a tape to a number of shards and records that.
func recordReplay(t *testing.T, dir string, shards int) (string, subscriber.Summary) {
	t.Helper()
	src, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	pub, err := publisher.New(publisher.Config{
		Endpoints: slices.Repeat([]string{"tcp://127.0.0.1:*"}, shards), Lossless: true,
		Session: wire.Session{Publisher: "test", Encodings: []wire.Encoding{{Format: "raw"}}, Sources: []string{"a file"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	player, err := replay.New(replay.Config{Tape: src, Publisher: pub, Shards: shards, Wait: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer player.Close()
	copied, w := create(t, tape.Config{Shards: shards, BlockSize: 4 << 10})
	rec := New(w)
	sub, err := subscriber.New(subscriber.Config{Endpoints: pub.Endpoints()}, rec)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- sub.Run(t.Context()) }()
	_, err = player.Run(t.Context())
	if err := errors.Join(err, pub.Close(), <-done, rec.Err(), w.Close()); err != nil {
		t.Fatal(err)
	}
	tp, err := tape.Open(copied)
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	if e := tp.Encodings(); len(e) != 1 || e[0].Format != "raw" {
		t.Errorf("encodings %v", e)
	}
	return copied, sub.Summary()
}

// batchOf makes a batch of shard 0 from bodies, with every second ordinal.
func batchOf(t *testing.T, first wire.Seq, bodies ...string) *wire.Batch {
	t.Helper()
	b := &wire.Batch{}
	for i, body := range bodies {
		f := record("T", wire.Nanos(first)+wire.Nanos(i), body)
		f.TopicSeq = uint32(first) + uint32(i)
		var err error
		if b.Payload, err = wire.AppendRecord(b.Payload, f); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			b.Order = wire.AppendOrder(b.Order, wire.Ordinal(2*int(first)+2*i-2), wire.Ordinal(2*int(first)+2*i))
		}
	}
	b.Header = wire.Header{
		Epoch: 5, Shards: 1, FirstSeq: first, FirstOrdinal: wire.Ordinal(2 * first), Send: 99, Count: uint32(len(bodies)),
		PayloadSize: uint32(len(b.Payload)), OrderSize: uint32(len(b.Order)), CRC: wire.CRC(b.Payload, b.Order),
	}
	return b
}

// TestPartialBatchesAndGaps: of a batch that came before in part only the rest is
// written; what never came is a gap on the tape; numbers and times are kept.
func TestPartialBatchesAndGaps(t *testing.T) {
	dir, w := create(t, tape.Config{})
	r := New(w)
	if err := errors.Join(
		r.HandleBatch(batchOf(t, 0, "0", "1", "2"), 0),
		r.HandleBatch(batchOf(t, 1, "1", "2", "3", "4"), 2),
	); err != nil {
		t.Fatal(err)
	}
	r.HandleGap(0, 5, 5, 8)
	last := batchOf(t, 8, "8")
	if err := r.HandleBatch(last, 0); err != nil {
		t.Fatal(err)
	}
	r.HandleEnd(0, 5, false)
	if gaps, lost := r.Gaps(); gaps != 1 || lost != 3 {
		t.Errorf("%d gaps, %d lost", gaps, lost)
	}
	if err := errors.Join(r.Err(), w.Close()); err != nil {
		t.Fatal(err)
	}
	got := contents(t, dir)
	for i, want := range []wire.Seq{0, 1, 2, 3, 4, 8} {
		if i >= len(got) {
			t.Fatalf("%d records", len(got))
		}
		at, body := got[i].at, string(wire.Record(got[i].record).Body())
		if at != (tape.At{Epoch: 5, Seq: want, Ordinal: wire.Ordinal(2 * want), Send: 99}) || body != fmt.Sprint(want) {
			t.Errorf("record %d is %q at %+v, want sequence %d", i, body, at, want)
		}
	}
	if len(got) != 6 {
		t.Errorf("%d records, want 6", len(got))
	}
	rep, err := tape.Verify(t.Context(), dir, nil)
	if err != nil || !rep.OK() || !slices.Equal(rep.Gaps, []tape.Gap{{Epoch: 5, From: 5, To: 8}}) {
		t.Errorf("verify: %v, %+v", err, rep)
	}
}

// TestSnapshotBatchesAreNoNews: last values are not recorded, whole or in part.
func TestSnapshotBatchesAreNoNews(t *testing.T) {
	for skip := range uint32(2) {
		dir, w := create(t, tape.Config{})
		b := batchOf(t, 0, "0", "1")
		b.Flags = wire.FlagSnapshotBatch
		if err := errors.Join(New(w).HandleBatch(b, skip), w.Close()); err != nil {
			t.Fatal(err)
		}
		if got := contents(t, dir); len(got) != 0 {
			t.Errorf("skip %d: %d records", skip, len(got))
		}
	}
}

// TestBadRecordsInABatch: a batch whose bytes are not records is refused.
func TestBadRecordsInABatch(t *testing.T) {
	for skip := range uint32(2) {
		_, w := create(t, tape.Config{})
		b := batchOf(t, 0, "0", "1")
		b.Payload = append(b.Payload, 0)
		b.PayloadSize++
		var format *wire.FormatError
		if err := New(w).HandleBatch(b, skip); !errors.As(err, &format) {
			t.Errorf("skip %d: got %v, want a *wire.FormatError", skip, err)
		}
		if err := w.Abort(); err != nil {
			t.Fatal(err)
		}
	}
}
