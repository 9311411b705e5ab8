package tape

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// inOrder is every record in the one order over all shards, by a sort of a scan.
func inOrder(t testing.TB, tp *Tape) []scannedRecord {
	all, epochs := scanAll(t, tp), tp.Epochs()
	slices.SortFunc(all, func(a, b scannedRecord) int {
		if d := slices.Index(epochs, a.at.Epoch) - slices.Index(epochs, b.at.Epoch); d != 0 {
			return d
		}
		return int(a.at.Ordinal) - int(b.at.Ordinal)
	})
	return all
}

// TestFromAnOrdinal: what goes by the one order finds what a sorted scan has, from
// ordinals that the tape has and from some that it has not.
func TestFromAnOrdinal(t *testing.T) {
	for _, cfg := range []Config{{SyncInterval: -1}, {SyncInterval: -1, Codec: CodecPlain, KeyframeInterval: -1}} {
		tp := mixedTape(t, cfg, 6000, 300_000, true)
		all, rng := inOrder(t, tp), rand.New(rand.NewPCG(1, 9))
		for range 200 / stride(4) {
			i := rng.IntN(len(all))
			from := all[i].at
			if rng.IntN(3) == 0 && i > 0 && all[i-1].at.Epoch == from.Epoch {
				from.Ordinal = all[i-1].at.Ordinal + 1 // perhaps in a gap
			}
			checkRecordsFrom(t, tp, all[i:], from, nil)
			checkRecordsFrom(t, tp, all[i:], from, []int{2, 0})
			first := tp.Blocks()
			for _, r := range all[i:] {
				first = min(first, r.info.Number)
			}
			if n, err := tp.BlockFrom(from.Epoch, from.Ordinal); err != nil || n != first {
				t.Fatalf("from %+v: block %d, want %d; %v", from, n, first, err)
			}
			c, at := Clock(rng.IntN(3)), wire.Nanos(1_000_000_000+rng.IntN(6_100_000))
			want := Position{Block: tp.Blocks()}
			for _, r := range all[i:] {
				if c == ClockSend && !r.info.NoSend && r.info.Send.Max >= at || (c != ClockSend || r.info.NoSend) && timeOf(r.rec, c) >= at {
					want = Position{Block: r.info.Number, Index: r.index, Shard: r.at.Shard, Epoch: r.at.Epoch, Seq: r.at.Seq, Ordinal: r.at.Ordinal}
					break
				}
			}
			if got, err := tp.FindFrom(c, at, from.Epoch, from.Ordinal); err != nil || got != want {
				t.Fatalf("%v %d from %+v: found %+v, want %+v; %v", c, at, from, got, want, err)
			}
		}
		last := tp.Epochs()[len(tp.Epochs())-1]
		if n, err := tp.BlockFrom(last, 1<<60); n != tp.Blocks() || err != nil {
			t.Errorf("behind everything: block %d, %v", n, err)
		}
		if pos, err := tp.FindFrom(ClockEvent, 0, last, 1<<60); pos.Block != tp.Blocks() || err != nil {
			t.Errorf("behind everything: %+v, %v", pos, err)
		}
		if _, err := tp.BlockFrom(12345, 0); !errors.Is(err, ErrNoSeq) {
			t.Errorf("an epoch that is not there: %v", err)
		}
		if _, err := tp.RecordsFrom(ReadConfig{}, 12345, 0); !errors.Is(err, ErrNoSeq) {
			t.Errorf("an epoch that is not there: %v", err)
		}
		if _, err := tp.FindFrom(ClockEvent, 0, 12345, 0); !errors.Is(err, ErrNoSeq) {
			t.Errorf("an epoch that is not there: %v", err)
		}
	}
}

func checkRecordsFrom(t *testing.T, tp *Tape, want []scannedRecord, from At, shards []int) {
	t.Helper()
	r, err := tp.RecordsFrom(ReadConfig{Shards: shards}, from.Epoch, from.Ordinal)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, w := range want {
		if shards != nil && !slices.Contains(shards, w.at.Shard) {
			continue
		}
		if !r.Next() {
			t.Fatalf("from %+v, shards %v: the end, %v; want %+v", from, shards, r.Err(), w.at)
		}
		if at := r.At(); at.Epoch != w.at.Epoch || at.Ordinal != w.at.Ordinal || at.Shard != w.at.Shard || at.Seq != w.at.Seq || !bytes.Equal(r.Record(), w.rec) {
			t.Fatalf("from %+v, shards %v: at %+v, want %+v; or the bytes differ", from, shards, at, w.at)
		}
	}
	if r.Next() || r.Err() != nil {
		t.Fatalf("from %+v, shards %v: more than there is, or %v", from, shards, r.Err())
	}
}
