package tape

import (
	"slices"

	"github.com/tapedeck/tapedeck/wire"
)

// A batch of last values repeats what was sent before and is not recorded, though
// its records are numbered as all others are. So that the jump it leaves is not
// taken for a gap, the block behind it says so, where last values account for
// all of the jump. Where anything else is missing as well, the jump counts as a
// gap as a whole: rather a loss that is told too large than one that is hidden.

// told is up to where a shard's sequences are accounted for in an epoch: recorded,
// or last values.
type told struct {
	epoch wire.Epoch
	next  wire.Seq
}

// pass takes note of a batch of last values.
func (w *Writer) pass(batch *wire.Batch) error {
	b, err := w.lockShard(int(batch.Shard))
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	if slices.Contains(b.seen, batch.Epoch) {
		return nil
	}
	next := b.expected(batch.Epoch)
	if b.told.epoch == batch.Epoch {
		next = max(next, b.told.next)
	}
	if batch.FirstSeq <= next {
		b.told = told{epoch: batch.Epoch, next: max(next, batch.Next())}
	}
	return nil
}

// expected is the sequence that follows what was recorded of an epoch.
func (b *builder) expected(epoch wire.Epoch) wire.Seq {
	if epoch == b.epoch {
		return b.next
	}
	return 0
}

// explained reports whether a record comes after a jump in the sequences that last
// values account for.
func (b *builder) explained(at *At) bool {
	return b.told == told{epoch: at.Epoch, next: at.Seq} && at.Seq > b.expected(at.Epoch)
}

// sameJump reports whether the jump before a block of another tape is the same
// here: whether what came before it there did so here.
func (b *builder) sameJump(block *Block) bool {
	t, info := block.tape, &block.Info
	if t == nil || int(info.Shard) >= len(t.shards().shards) {
		return false
	}
	run := t.shards().shards[info.Shard].run(info.Epoch)
	i, ok := slices.BinarySearch(run, info.Number)
	switch {
	case !ok:
		return false
	case i > 0:
		before := t.Block(run[i-1])
		return before.Next() == b.expected(info.Epoch)
	}
	return t.base == 0 && b.expected(info.Epoch) == 0
}
