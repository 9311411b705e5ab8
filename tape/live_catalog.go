package tape

import (
	"slices"
	"sort"
	"sync"

	"github.com/tapedeck/tapedeck/wire"
)

// liveIndexMax is how much of the indexes of closed segments a Live keeps in
// memory, bytes; at least one of them.
const liveIndexMax = 16 << 20

// catalog is where a tape that is being written has which sequences. The writer
// tells it of a block when it is sealed and when it is written, never of a
// record. Of a closed segment it keeps the sequences; the index only while it is
// in use. Its lock is the innermost of a Writer's, and is never held over I/O.
type catalog struct {
	mu       sync.Mutex
	shards   []liveShard
	epochs   []wire.Epoch // of sealed blocks, as they appeared, also those of which nothing is left
	segments []*liveSegment
	indexed  []*liveSegment // closed ones with their index in memory, the latest used at the end
	read     bool           // somebody reads: indexes are worth keeping
}

// liveShard is one shard of a catalog.
type liveShard struct {
	parts   []livePart         // in stream order; all but the last never change
	turns   map[wire.Epoch]int // of the epochs in parts, their order in the shard
	pending []*job             // sealed and not written yet, in order
	cut     wire.Epoch         // of which retention has removed blocks, the latest
}

// livePart is what a segment has of one shard in one epoch.
type livePart struct {
	segment *liveSegment
	epoch   wire.Epoch
	turn    int                         // of the epoch in the shard
	runs    []seqRun                    // without a gap each
	upTo    [len(clockNames)]wire.Nanos // greatest time by each clock
}

// seqRun is sequences [from, to).
type seqRun struct{ from, to wire.Seq }

func (p *livePart) to() wire.Seq { return p.runs[len(p.runs)-1].to }

// liveSegment is a segment of a tape that is being written. The catalog's lock
// guards its index, whose bytes never change; the segment's own lock its mapping.
type liveSegment struct {
	segment
	shards []shardBlocks // of the index; nil where that is not in memory
	gone   bool          // removed, or let go of: nothing is mapped any more; guarded by segment.mu
}

// begin takes in that a segment begins.
func (c *catalog) begin(number, first int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &liveSegment{segment: segment{number: number, index: index{first: first}}}
	s.shards = make([]shardBlocks, len(c.shards))
	c.segments = append(c.segments, s)
}

// sealed takes in that the segment that was written to is closed, and has its
// index on disk.
func (c *catalog) seal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.segments[len(c.segments)-1]
	s.sealed = true
	if c.read {
		c.keep(s)
	} else {
		s.index.entries, s.shards = nil, nil
	}
}

// keep notes that a closed segment's index is in memory and was used, and lets go
// of others.
func (c *catalog) keep(s *liveSegment) {
	if i := slices.Index(c.indexed, s); i >= 0 {
		c.indexed = slices.Delete(c.indexed, i, i+1)
	}
	c.indexed = append(c.indexed, s)
	size := 0
	for _, k := range c.indexed {
		size += len(k.index.entries)
	}
	for size > liveIndexMax && len(c.indexed) > 1 {
		old := c.indexed[0]
		size -= len(old.index.entries)
		old.index.entries, old.shards = nil, nil
		c.indexed = slices.Delete(c.indexed, 0, 1)
	}
}

// push takes in a block that is sealed and on its way to the disk.
func (c *catalog) push(j *job) {
	j.sealed.info, j.sealed.raw = j.info, j.raw[BlockHeaderSize:]
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epochs = appendEpoch(c.epochs, j.info.Epoch)
	s := &c.shards[j.info.Shard]
	s.pending = append(s.pending, j)
}

// drop takes in that a block will not be written. The lock is held.
func (s *liveShard) drop(j *job) {
	if i := slices.Index(s.pending, j); i >= 0 {
		s.pending = slices.Delete(s.pending, i, i+1)
	}
}

func (c *catalog) lost(j *job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shards[j.info.Shard].drop(j)
}

// wrote takes in a block that is written: entries is the segment's index with it,
// size how much of the segment is used.
func (c *catalog) wrote(j *job, entries []byte, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, s := &j.info, c.segments[len(c.segments)-1]
	s.index.entries, s.index.segmentSize = entries, size
	s.shards[b.Shard].add(b.Number, b.Epoch)
	shard := &c.shards[b.Shard]
	shard.drop(j)
	shard.extend(s, b)
}

// extend takes one more written block into the parts. The lock is held.
func (s *liveShard) extend(in *liveSegment, b *BlockInfo) {
	n := len(s.parts) - 1
	if n < 0 || s.parts[n].segment != in || s.parts[n].epoch != b.Epoch {
		turn, ok := s.turns[b.Epoch]
		if !ok {
			if s.turns == nil {
				s.turns = map[wire.Epoch]int{}
			}
			if n >= 0 {
				turn = s.parts[n].turn + 1
			}
			s.turns[b.Epoch] = turn
		}
		p := livePart{segment: in, epoch: b.Epoch, turn: turn, runs: []seqRun{{b.FirstSeq, b.FirstSeq}}}
		for c := range p.upTo {
			p.upTo[c] = wire.NanosMin
		}
		s.parts, n = append(s.parts, p), n+1
	}
	p := &s.parts[n]
	if run := &p.runs[len(p.runs)-1]; run.to == b.FirstSeq {
		run.to = b.Next()
	} else {
		p.runs = append(p.runs, seqRun{b.FirstSeq, b.Next()})
	}
	for c := range p.upTo {
		p.upTo[c] = max(p.upTo[c], b.span(Clock(c)).Max)
	}
}

// seed takes over the closed segments of a tape that is opened again.
func (c *catalog) seed(t *Tape) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epochs = slices.Clone(t.Epochs())
	for _, from := range t.segments {
		s := &liveSegment{segment: segment{number: from.number, sealed: true}}
		s.index.first, s.index.segmentSize = t.base+from.index.first, from.index.segmentSize
		c.segments = append(c.segments, s)
		for i := range from.index.blocks() {
			b := from.index.info(i)
			c.shards[b.Shard].extend(s, &b)
		}
	}
	for i := range c.shards {
		if s := &c.shards[i]; t.base > 0 && len(s.parts) > 0 {
			s.cut = s.parts[0].epoch
		}
	}
}

// retain takes in that the segments before one were removed, and returns them.
func (c *catalog) retain(first int) []*liveSegment {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for n < len(c.segments) && c.segments[n].number < first {
		n++
	}
	if n == 0 {
		return nil
	}
	gone := slices.Clone(c.segments[:n])
	c.segments = slices.Clone(c.segments[n:])
	c.indexed = slices.DeleteFunc(c.indexed, func(s *liveSegment) bool { return s.number < first })
	for i := range c.shards {
		s := &c.shards[i]
		k := 0
		for k < len(s.parts) && s.parts[k].segment.number < first {
			s.cut = s.parts[k].epoch
			k++
		}
		// A new list: whoever has the old one goes on with it.
		s.parts = slices.Clone(s.parts[k:])
		for epoch, turn := range s.turns {
			if len(s.parts) == 0 || turn < s.parts[0].turn {
				delete(s.turns, epoch)
			}
		}
	}
	return gone
}

// pendingAt returns the first block that is on its way and ends behind a sequence.
// The lock is held.
func (s *liveShard) pendingAt(epoch wire.Epoch, seq wire.Seq) *job {
	for _, j := range s.pending {
		if b := &j.sealed.info; b.Epoch == epoch && b.Next() > seq {
			return j
		}
	}
	return nil
}

// partAt returns the first part that ends behind a sequence, or nil. The lock is
// held.
func (s *liveShard) partAt(epoch wire.Epoch, seq wire.Seq) *livePart {
	turn, ok := s.turns[epoch]
	if !ok {
		return nil
	}
	i := sort.Search(len(s.parts), func(i int) bool {
		p := &s.parts[i]
		return p.turn > turn || p.turn == turn && p.to() > seq
	})
	if i == len(s.parts) || s.parts[i].turn != turn {
		return nil
	}
	return &s.parts[i]
}
