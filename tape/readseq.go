package tape

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sort"
	"sync"

	"github.com/tapedeck/tapedeck/wire"
)

// errEmptyRange: a read by sequence that wants nothing.
var errEmptyRange = errors.New("tape: the range of sequences is empty")

// spanTables are a tape's sequences, each shard's in stream order.
type spanTables struct {
	once   sync.Once
	shards [][]SeqSpan
}

func (t *Tape) seqSpans() [][]SeqSpan {
	t.spans.once.Do(func() {
		t.spans.shards = make([][]SeqSpan, t.meta.Shards)
		for _, s := range t.segments {
			for i := range s.index.blocks() {
				if b := s.index.seqs(i); b.Shard < t.meta.Shards {
					t.spans.shards[b.Shard] = appendSpan(t.spans.shards[b.Shard], b)
				}
			}
		}
	})
	return t.spans.shards
}

// seqs returns the i-th block's sequences, without taking the whole header apart.
func (x *index) seqs(i int) SeqSpan {
	h := x.entries[i*indexEntrySize+8:][:BlockHeaderSize]
	shard, epoch := x.stream(i)
	from := wire.Seq(binary.LittleEndian.Uint64(h[blkFirstSeqOff:]))
	return SeqSpan{Epoch: epoch, Shard: int(shard), From: from, To: from + wire.Seq(binary.LittleEndian.Uint32(h[blkCountOff:]))}
}

// Extents lists the sequences that the tape has: epochs in the order in which they
// appear, in each the shards, in each the runs without a gap. The list is the
// caller's.
func (t *Tape) Extents() []SeqSpan { return byEpoch(t.seqSpans(), t.Epochs()) }

// byEpoch puts the spans of all shards, each shard's in stream order, in order of
// their epochs.
func byEpoch(shards [][]SeqSpan, epochs []wire.Epoch) []SeqSpan {
	place := make(map[wire.Epoch]int, len(epochs))
	for i, e := range epochs {
		place[e] = i
	}
	list := slices.Concat(shards...)
	slices.SortStableFunc(list, func(a, b SeqSpan) int { return place[a.Epoch] - place[b.Epoch] })
	return list
}

// ReadSeq returns a batch whose first record has sequence from: at least that one
// record, none at or after to, and at most `most` payload bytes (one record
// may be larger; 0 or below is no limit). A block that is wanted whole comes as it
// is; of others the part that is wanted, with count, sizes, checksum, ordinal
// and order frame of that part. No byte of a record is copied. The batch's bytes
// are borrowed until release, which must be called once, from any goroutine, also
// after Close.
//
// It reads one block, found by the index. The error is a *SeqError where the tape
// does not have sequence from, a *CorruptError where the block is damaged.
func (t *Tape) ReadSeq(ctx context.Context, epoch wire.Epoch, shard int, from, to wire.Seq, most int) (b wire.Batch, release func(), err error) {
	switch {
	case ctx.Err() != nil:
		return b, nil, ctx.Err()
	case t.isClosed():
		return b, nil, ErrClosed
	case to <= from:
		return b, nil, errEmptyRange
	case uint(shard) >= uint(t.meta.Shards):
		return b, nil, seqError(ErrUnknownEpoch, epoch, shard, from)
	}
	run := t.shards().shards[shard].run(epoch)
	info, ok := seekSeq(run, t.Block, from)
	if !ok {
		return b, nil, t.missing(epoch, shard, from)
	}
	if info.FirstSeq > from {
		// What retention removed is not what the first block left speaks of.
		e := gapError(&info, from)
		e.LastValues = info.LastValues && (info.Number != t.shards().shards[shard].blocks[0] || t.base == 0)
		return b, nil, e
	}
	s := t.segmentNumber(info.Segment)
	return t.readPart(s, &info, from, to, most, func() (*Block, error) { return t.load(&info, false) })
}

// seekSeq returns the first block of a run that ends behind a sequence: the one
// that has it, or the one that follows where it is in a gap.
func seekSeq(run []int, block func(n int) BlockInfo, seq wire.Seq) (info BlockInfo, ok bool) {
	i := sort.Search(len(run), func(i int) bool {
		b := block(run[i])
		return b.Next() > seq
	})
	if i == len(run) {
		return info, false
	}
	return block(run[i]), true
}

// readPart returns a part of a block, which load reads where it was not read just
// before.
func (t *Tape) readPart(s *segment, info *BlockInfo, from, to wire.Seq, most int, load func() (*Block, error)) (wire.Batch, func(), error) {
	block, hint := t.recent.get(s, info.Offset)
	if block == nil {
		var err error
		if block, err = load(); err != nil {
			return wire.Batch{}, nil, err
		}
	}
	b, err := cutBatch(&block.Batch, from, to, most, true, &hint)
	if err != nil {
		block.Release()
		return b, nil, corrupt(info, err.Error(), err)
	}
	t.recent.put(s, block, hint)
	return b, block.Release, nil
}

func seqError(kind error, epoch wire.Epoch, shard int, seq wire.Seq) *SeqError {
	return &SeqError{SeqSpan: SeqSpan{Epoch: epoch, Shard: shard, From: seq, To: seq}, Err: kind}
}

// gapError is the error for a sequence in the gap before a block.
func gapError(next *BlockInfo, seq wire.Seq) *SeqError {
	e := seqError(ErrGone, next.Epoch, int(next.Shard), seq)
	e.To = next.FirstSeq
	return e
}

// missing says why the tape does not have a sequence that no block of the shard
// in the epoch comes up to.
func (t *Tape) missing(epoch wire.Epoch, shard int, seq wire.Seq) *SeqError {
	runs, latest := t.shards().shards[shard].runs, wire.Epoch(0)
	if n := len(runs); n > 0 {
		latest = runs[n-1].epoch
	}
	return seqError(missingKind(t.Epochs(), epoch, latest), epoch, shard, seq)
}

// missingKind says what it means that a shard, whose latest epoch is given, has
// nothing from a sequence of an epoch on. epochs are all there are, in order.
func missingKind(epochs []wire.Epoch, epoch, latest wire.Epoch) error {
	at := slices.Index(epochs, epoch)
	switch {
	case at < 0:
		return ErrUnknownEpoch
	case at < slices.Index(epochs, latest):
		return ErrGone
	}
	return ErrNotYet
}

// FindSpans lists, for one shard after the other, the sequences from a time on:
// in stream order those from the shard's first record on whose time by that clock
// is at or after at. Where times go back, what follows that record counts
// whatever its time is, so nothing from the time on is left out, and what came
// before it does not. By the send clock the shard's first block counts as a whole
// where it has records that were sent at or after at. It reads one block a shard.
// The list is the caller's.
func (t *Tape) FindSpans(ctx context.Context, c Clock, at wire.Nanos) ([]SeqSpan, error) {
	if t.isClosed() {
		return nil, ErrClosed
	}
	first := t.firstBlock(c, at)
	var list []SeqSpan
	for shard, spans := range t.seqSpans() {
		blocks := t.shards().shards[shard].blocks
		n, _ := slices.BinarySearch(blocks, first)
		for _, n := range blocks[n:] {
			info := t.Block(n)
			if info.span(c).Max < at {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			b, err := t.load(&info, false)
			if err != nil {
				return nil, err
			}
			seq, ok := firstSince(&b.Batch, c, at, info.NoSend)
			b.Release()
			if !ok {
				return nil, corrupt(&info, "time range differs from the records", nil)
			}
			list = append(list, spansFrom(slices.Clone(spans), info.Epoch, seq)...)
			break
		}
	}
	return list, nil
}

// firstSince returns the sequence of a batch's first record whose time is at or
// after at. The send times of single records are not known: where the batch has
// one it is its first record.
func firstSince(b *wire.Batch, c Clock, at wire.Nanos, noSend bool) (wire.Seq, bool) {
	if c == ClockSend && !noSend {
		return b.FirstSeq, true
	}
	for w := b.Records(); w.Next(); {
		if timeOf(w.Record(), c) >= at {
			return w.Seq(), true
		}
	}
	return 0, false
}
