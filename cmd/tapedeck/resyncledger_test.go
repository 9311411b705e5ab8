package main

import (
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// nobody takes everything.
type nobody struct{}

func (nobody) HandleBatch(*wire.Batch, uint32) error                { return nil }
func (nobody) HandleGap(int, wire.Epoch, wire.Seq, wire.Seq)        {}
func (nobody) HandleSession(int, wire.Epoch, *wire.Session)         {}
func (nobody) HandleEnd(shard int, epoch wire.Epoch, complete bool) {}

// TestLedgerTakeover: an epoch that takes over begins behind what it repeats, and no
// record of that is taken for one that was left out; what is left out behind it is.
func TestLedgerTakeover(t *testing.T) {
	batch := func(epoch wire.Epoch, from wire.Seq, count uint32) *wire.Batch {
		return &wire.Batch{Header: wire.Header{Epoch: epoch, FirstSeq: from, Count: count, Shards: 1}}
	}
	for _, x := range []struct {
		name            string
		skip            uint32
		from            wire.Seq
		unsaid, records uint64
	}{
		{"the batch is cut", 10, 0, 0, 100 + 40},
		{"whole batches are dropped", 0, 10, 0, 100 + 50},
		{"more than that is missing", 0, 12, 2, 100 + 50},
	} {
		t.Run(x.name, func(t *testing.T) {
			l := newLedger(1, nobody{})
			if err := l.HandleBatch(batch(7, 0, 100), 0); err != nil {
				t.Fatal(err)
			}
			l.HandleSession(0, 8, &wire.Session{Start: &wire.SessionStart{Reason: wire.TakeoverReason, PreviousEpoch: 7, PreviousNext: 90}})
			if err := l.HandleBatch(batch(8, x.from, 50), x.skip); err != nil {
				t.Fatal(err)
			}
			l.HandleEnd(0, 8, true)
			if s := l.sum(); s.unsaid != x.unsaid || s.twice != 0 || s.records != x.records || s.complete != (x.unsaid == 0) {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestLedgerTakeovers: an epoch that takes over from one that was left without news.
func TestLedgerTakeovers(t *testing.T) {
	l := newLedger(1, nobody{})
	for epoch := wire.Epoch(7); epoch < 10; epoch++ {
		if epoch > 7 { // the next one begins 10 before the end of the one before
			l.HandleSession(0, epoch, &wire.Session{Start: &wire.SessionStart{Reason: wire.TakeoverReason, PreviousEpoch: epoch - 1, PreviousNext: 90 - wire.Seq(epoch-8)*85}})
		}
		if epoch == 8 {
			continue
		}
		// Of epoch 8 the reader had 10 records, so of epoch 9 it has 10 - 5.
		from := wire.Seq(epoch-7) / 2 * 5
		if err := l.HandleBatch(&wire.Batch{Header: wire.Header{Epoch: epoch, FirstSeq: from, Count: 100 - uint32(from), Shards: 1}}, 0); err != nil {
			t.Fatal(err)
		}
	}
	if s := l.sum(); s.unsaid != 0 || s.twice != 0 || s.records != 195 {
		t.Errorf("%+v", s)
	}
}
