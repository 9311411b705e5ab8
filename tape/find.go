package tape

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/tapedeck/tapedeck/wire"
)

// searchTables make a search by time a binary search though times may go back:
// for each clock the greatest time up to each block, and the least from it on.
type searchTables struct {
	once [len(clockNames)]sync.Once
	upTo [len(clockNames)][]wire.Nanos
	from [len(clockNames)][]wire.Nanos
}

func (t *Tape) buildSearch(c Clock) {
	upTo, from := make([]wire.Nanos, t.blocks), make([]wire.Nanos, t.blocks)
	n, greatest := 0, wire.NanosMin
	for _, s := range t.segments {
		for i := range s.index.blocks() {
			span := s.index.span(i, c)
			greatest = max(greatest, span.Max)
			upTo[n], from[n] = greatest, span.Min
			n++
		}
	}
	for i := t.blocks - 2; i >= 0; i-- {
		from[i] = min(from[i], from[i+1])
	}
	t.search.upTo[c], t.search.from[c] = upTo, from
}

// span returns the i-th block's times by one clock, without taking the whole
// header apart.
func (x *index) span(i int, c Clock) Span {
	off := blkReceiveOff
	switch c {
	case ClockEvent:
		off = blkEventOff
	case ClockSend:
		off = blkSendOff
	}
	return getSpan(x.entries[i*indexEntrySize+8+off:])
}

// stream returns the i-th block's shard and epoch, likewise.
func (x *index) stream(i int) (shard uint16, epoch wire.Epoch) {
	h := x.entries[i*indexEntrySize+8:][:BlockHeaderSize]
	return binary.LittleEndian.Uint16(h[blkShardOff:]), wire.Epoch(binary.LittleEndian.Uint64(h[blkEpochOff:]))
}

// firstBlock returns the first block that holds a record at or after at.
func (t *Tape) firstBlock(c Clock, at wire.Nanos) int {
	t.search.once[c].Do(func() { t.buildSearch(c) })
	n, _ := slices.BinarySearch(t.search.upTo[c], at)
	return n
}

// endBlock returns the block from which on no record is before at.
func (t *Tape) endBlock(c Clock, at wire.Nanos) int {
	t.search.once[c].Do(func() { t.buildSearch(c) })
	n, _ := slices.BinarySearch(t.search.from[c], at)
	return n
}

// Position is a record's place in a tape.
type Position struct {
	Block   int // number of the block; Blocks() at the end of the tape
	Index   int // place of the record in the block, from 0
	Shard   int
	Epoch   wire.Epoch
	Seq     wire.Seq
	Ordinal wire.Ordinal
}

// Find returns the position of the first record in tape order whose time is at
// or after at, or the end of the tape. It reads one block. By the send clock it
// finds the block, since a block keeps the range of its send times only.
func (t *Tape) Find(c Clock, at wire.Nanos) (Position, error) {
	n := t.firstBlock(c, at)
	if n == t.blocks {
		return Position{Block: n}, nil
	}
	b, err := t.ReadBlock(n, false)
	if err != nil {
		return Position{}, err
	}
	defer b.Release()
	ordinals, i := b.Ordinals(), 0
	for w := b.Records(); w.Next(); i++ {
		ordinal := ordinals.Next()
		if c == ClockSend && !b.Info.NoSend || timeOf(w.Record(), c) >= at {
			return Position{Block: n, Index: i, Shard: int(b.Shard), Epoch: b.Epoch, Seq: w.Seq(), Ordinal: ordinal}, nil
		}
	}
	return Position{}, corrupt(&b.Info, "time range differs from the records", nil)
}

func timeOf(r wire.Record, c Clock) wire.Nanos {
	if c == ClockEvent {
		return r.Event()
	}
	return r.Receive()
}

// shardTables list each shard's blocks in order, and its runs of one epoch.
type shardTables struct {
	once   sync.Once
	shards []shardBlocks
	epochs []wire.Epoch // in order of appearance
}

type shardBlocks struct {
	blocks []int
	runs   []epochRun
}

// epochRun is the part of a shard's blocks that one epoch has.
type epochRun struct {
	epoch      wire.Epoch
	start, end int // in shardBlocks.blocks
}

func (t *Tape) shards() *shardTables {
	t.shardMap.once.Do(func() {
		t.shardMap.shards = make([]shardBlocks, t.meta.Shards)
		for _, s := range t.segments {
			for i := range s.index.blocks() {
				shard, epoch := s.index.stream(i)
				t.shardMap.epochs = appendEpoch(t.shardMap.epochs, epoch)
				if int(shard) < len(t.shardMap.shards) {
					t.shardMap.shards[shard].add(s.index.first+i, epoch)
				}
			}
		}
	})
	return &t.shardMap
}

func (s *shardBlocks) add(n int, epoch wire.Epoch) {
	if k := len(s.runs); k == 0 || s.runs[k-1].epoch != epoch {
		s.runs = append(s.runs, epochRun{epoch: epoch, start: len(s.blocks)})
	}
	s.blocks = append(s.blocks, n)
	s.runs[len(s.runs)-1].end = len(s.blocks)
}

// run returns the blocks of a shard in an epoch.
func (s *shardBlocks) run(epoch wire.Epoch) []int {
	for _, r := range s.runs {
		if r.epoch == epoch {
			return s.blocks[r.start:r.end]
		}
	}
	return nil
}

// FindSeq returns the position of the record with a sequence, or of the next
// one where that sequence is in a gap. The error wraps ErrNoSeq where the tape
// has no such record. It reads one block.
func (t *Tape) FindSeq(epoch wire.Epoch, shard int, seq wire.Seq) (Position, error) {
	if uint(shard) >= uint(t.meta.Shards) {
		return Position{}, ErrShard
	}
	run := t.shards().shards[shard].run(epoch)
	i := sort.Search(len(run), func(i int) bool {
		b := t.Block(run[i])
		return b.Next() > seq
	})
	if i == len(run) {
		return Position{}, fmt.Errorf("%w: %d in shard %d of epoch %d", ErrNoSeq, seq, shard, uint64(epoch))
	}
	b, err := t.ReadBlock(run[i], false)
	if err != nil {
		return Position{}, err
	}
	defer b.Release()
	seq = max(seq, b.FirstSeq)
	pos := Position{Block: run[i], Index: int(seq - b.FirstSeq), Shard: shard, Epoch: epoch, Seq: seq}
	ordinals := b.Ordinals()
	for range pos.Index + 1 {
		pos.Ordinal = ordinals.Next()
	}
	return pos, nil
}
