package tape

import (
	"fmt"
	"slices"
	"sort"

	"github.com/tapedeck/tapedeck/wire"
)

// rankOf returns an epoch's place among the tape's epochs.
func (t *Tape) rankOf(epoch wire.Epoch) (int, error) {
	rank := slices.Index(t.shards().epochs, epoch)
	if rank < 0 {
		return 0, fmt.Errorf("%w: the tape has no epoch %d", ErrNoSeq, uint64(epoch))
	}
	return rank, nil
}

// blocksFrom cuts a shard's blocks of one epoch, so that they begin with the one
// that has an ordinal or, where the shard does not have it, one behind it.
func (t *Tape) blocksFrom(run []int, ordinal wire.Ordinal) []int {
	return run[sort.Search(len(run), func(i int) bool {
		b := t.Block(run[i])
		return b.LastOrdinal >= ordinal
	}):]
}

// BlockFrom returns the first block, in tape order, that has a record at or behind
// an ordinal of an epoch in the one order over all shards; Blocks() where there is
// none. The error wraps ErrNoSeq where the tape does not have the epoch.
func (t *Tape) BlockFrom(epoch wire.Epoch, ordinal wire.Ordinal) (int, error) {
	rank, err := t.rankOf(epoch)
	if err != nil {
		return 0, err
	}
	tables := t.shards()
	first := t.blocks
	for s := range tables.shards {
		for r, e := range tables.epochs[rank:] {
			run := tables.shards[s].run(e)
			if r == 0 {
				run = t.blocksFrom(run, ordinal)
			}
			if len(run) > 0 {
				first = min(first, run[0])
				break
			}
		}
	}
	return first, nil
}

// RecordsFrom is Records from an ordinal of an epoch on. The error wraps ErrNoSeq
// where the tape does not have the epoch.
func (t *Tape) RecordsFrom(cfg ReadConfig, epoch wire.Epoch, ordinal wire.Ordinal) (*Records, error) {
	rank, err := t.rankOf(epoch)
	if err != nil {
		return nil, err
	}
	r := t.Records(cfg)
	r.epochs, r.from = r.epochs[rank:], ordinal
	return r, nil
}

// FindFrom returns the position of the first record in the one order over all
// shards, from an ordinal of an epoch on, whose time is at or after at; or the end
// of the tape. Where Find goes by the order of the blocks, FindFrom goes by that of
// Records. It reads about one block of each shard. By the send clock a block counts
// as a whole where it has records that were sent at or after at.
func (t *Tape) FindFrom(c Clock, at wire.Nanos, epoch wire.Epoch, ordinal wire.Ordinal) (Position, error) {
	rank, err := t.rankOf(epoch)
	if err != nil {
		return Position{}, err
	}
	best, first := Position{Block: t.blocks}, t.firstBlock(c, at)
	epochs := t.shards().epochs
	for r, e := range epochs[rank:] {
		from := ordinal
		if r > 0 {
			from = 0
		}
		for s := range t.shards().shards {
			run := t.shards().shards[s].run(e)
			n, _ := slices.BinarySearch(run, first)
			pos, ok, err := t.findInRun(c, at, t.blocksFrom(run[n:], from), from)
			if err != nil {
				return Position{}, err
			}
			if ok && (best.Block == t.blocks || pos.Ordinal < best.Ordinal) {
				best = pos
			}
		}
		if best.Block < t.blocks {
			break
		}
	}
	return best, nil
}

// findInRun is FindFrom among blocks of one shard and epoch.
func (t *Tape) findInRun(c Clock, at wire.Nanos, run []int, from wire.Ordinal) (pos Position, ok bool, err error) {
	for _, n := range run {
		info := t.Block(n)
		if info.span(c).Max < at {
			continue
		}
		b, err := t.load(&info, false)
		if err != nil {
			return pos, false, err
		}
		pos, ok = findInBlock(b, c, at, from)
		b.Release()
		if ok {
			return pos, true, nil
		}
	}
	return pos, false, nil
}

// findInBlock returns the position of a block's first record from an ordinal on
// whose time is at or after at.
func findInBlock(b *Block, c Clock, at wire.Nanos, from wire.Ordinal) (Position, bool) {
	ordinals, i := b.Ordinals(), 0
	for w := b.Records(); w.Next(); i++ {
		o := ordinals.Next()
		if o >= from && (c == ClockSend && !b.Info.NoSend || timeOf(w.Record(), c) >= at) {
			return Position{Block: b.Info.Number, Index: i, Shard: int(b.Shard), Epoch: b.Epoch, Seq: w.Seq(), Ordinal: o}, true
		}
	}
	return Position{}, false
}
