package tape

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// Live is a tape that this process is writing, for reading by sequence: closed
// segments, the one that is written to, the blocks on their way to the disk, and
// the records of the open blocks, synced or not. A record can be read as soon as
// Append has returned. Its methods may be called from any number of goroutines;
// they do not hold up the writer, and neither do they keep retention from removing
// segments. It holds no lock in the file system.
//
// It goes on after Writer.Close, which ends that of a temporary tape; Abort ends it.
// Close it after the last read.
type Live struct {
	w       *Writer
	catalog *catalog
	view    Tape // decodes and keeps blocks; it has no segments of its own
	closed  atomic.Bool
}

// Live returns the tape as it is being written. It is the same one at every call.
func (w *Writer) Live() *Live {
	if !w.live.closed.Load() {
		w.live.catalog.mu.Lock()
		w.live.catalog.read = true
		w.live.catalog.mu.Unlock()
	}
	return w.live
}

func newLive(w *Writer, fsx fsys.FS, dir string, shards int) *Live {
	return &Live{w: w, catalog: &catalog{shards: make([]liveShard, shards)},
		view: Tape{fs: fsx, dir: dir, resident: newResident(fsx)}}
}

// Close lets go of what was read. Batches that were not released stay valid until
// they are. Further calls do nothing.
func (l *Live) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	c := l.catalog
	c.mu.Lock()
	segments := c.segments
	for _, s := range c.indexed {
		s.index.entries, s.shards = nil, nil
	}
	c.indexed, c.read = nil, false
	c.mu.Unlock()
	l.view.recent.close()
	l.forget(segments)
	l.view.decode.close()
	return nil
}

// forget lets go of segments' mappings for good.
func (l *Live) forget(list []*liveSegment) {
	for _, s := range list {
		l.view.recent.forget(&s.segment)
		s.mu.Lock()
		s.gone = true
		if s.file != nil {
			_ = s.file.release() // unmapping what was mapped does not fail
			s.file = nil
		}
		s.mu.Unlock()
	}
}

// ReadSeq is Tape.ReadSeq for a tape that is being written. Where the writer has
// stopped for an error, sequences that did not get to the disk give that error.
// Batches of blocks that are not written yet lie in Go's memory, others outside.
func (l *Live) ReadSeq(ctx context.Context, epoch wire.Epoch, shard int, from, to wire.Seq, most int) (b wire.Batch, release func(), err error) {
	switch {
	case ctx.Err() != nil:
		return b, nil, ctx.Err()
	case l.closed.Load():
		return b, nil, ErrClosed
	case to <= from:
		return b, nil, errEmptyRange
	case uint(shard) >= uint(len(l.w.shard)):
		return b, nil, seqError(ErrUnknownEpoch, epoch, shard, from)
	}
	r := liveRead{live: l, epoch: epoch, shard: shard, from: from, to: to, most: most}
	if b, release, err = r.sealed(); !errors.Is(err, errNotSealed) {
		return b, release, err
	}
	// A block goes from open to on its way to written, never back: what is not open
	// now, and is not found behind it in a second look, is not there.
	o := l.w.shard[shard].look(epoch, from, len(l.w.shard))
	if o.has {
		return r.unwritten(&o.batch)
	}
	if b, release, err = r.sealed(); !errors.Is(err, errNotSealed) {
		return b, release, err
	}
	return b, nil, r.missing(&o)
}

// Reasons to look elsewhere.
var (
	errNotSealed = errors.New("tape: no sealed block ends behind the sequence")
	errRemoved   = errors.New("tape: segment was removed while it was looked at")
)

// liveRead is one read by sequence.
type liveRead struct {
	live     *Live
	epoch    wire.Epoch
	shard    int
	from, to wire.Seq
	most     int
}

// sealed reads from the blocks that are written or on their way there.
func (r *liveRead) sealed() (b wire.Batch, release func(), err error) {
	for {
		b, release, err = r.look()
		switch {
		case !errors.Is(err, errRemoved):
			return b, release, err
		case r.live.closed.Load():
			return b, nil, ErrClosed
		}
	}
}

// look is one look at the catalog. Sequences increase along a shard, so where a
// block ends behind the wanted one and does not have it, no block has.
func (r *liveRead) look() (b wire.Batch, release func(), err error) {
	c := r.live.catalog
	c.mu.Lock()
	shard := &c.shards[r.shard]
	if p := shard.partAt(r.epoch, r.from); p != nil {
		s, first, cut := p.segment, p == &shard.parts[0], shard.cut == r.epoch
		c.mu.Unlock()
		b, release, err = r.written(s, first && cut)
		if errors.Is(err, errRemoved) && !r.live.removed(s) {
			err = seqError(ErrGone, r.epoch, r.shard, r.from) // not by retention
		}
		return b, release, err
	}
	j := shard.pendingAt(r.epoch, r.from)
	switch {
	case j == nil:
		err = errNotSealed
	case j.sealed.info.FirstSeq > r.from:
		err = shard.gap(&j.sealed.info, r.from)
	default:
		b = j.lend(len(c.shards))
	}
	c.mu.Unlock()
	if err != nil {
		return b, nil, err
	}
	return r.unwritten(&b)
}

// gap is the error for a sequence in the gap before a block that is not written
// yet. The lock is held.
func (s *liveShard) gap(next *BlockInfo, seq wire.Seq) error {
	e := gapError(next, seq)
	e.LastValues = next.LastValues && s.cut != next.Epoch
	return e
}

// unwritten returns what is wanted of a block that is not written yet.
func (r *liveRead) unwritten(from *wire.Batch) (wire.Batch, func(), error) {
	b, err := cutBatch(from, r.from, r.to, r.most, false, nil)
	if err != nil {
		return b, nil, err
	}
	return b, func() {}, nil
}

// written returns what is wanted of a block in a segment. With cut set, what came
// before the segment's first block of the epoch was removed.
func (r *liveRead) written(s *liveSegment, cut bool) (b wire.Batch, release func(), err error) {
	x, run, err := r.live.run(s, r.shard, r.epoch)
	if err != nil {
		return b, nil, err
	}
	info, ok := seekSeq(run, func(n int) BlockInfo { return s.block(&x, n) }, r.from)
	if !ok {
		return b, nil, &CorruptError{File: indexName(s.number), Reason: "index lacks blocks that were written"}
	}
	if info.FirstSeq > r.from {
		e := gapError(&info, r.from)
		e.LastValues = info.LastValues && (info.Number != run[0] || !cut)
		return b, nil, e
	}
	view := &r.live.view
	b, release, err = view.readPart(&s.segment, &info, r.from, r.to, r.most, func() (*Block, error) {
		m, err := r.live.mapped(s, info.end(), x.segmentSize)
		if err != nil {
			return nil, err
		}
		return view.view(&s.segment, m, &info, false)
	})
	if s.isGone() {
		view.recent.forget(&s.segment) // else its file would be kept for nobody
	}
	return b, release, err
}

// block returns block n of a segment by its index.
func (s *liveSegment) block(x *index, n int) BlockInfo {
	b := x.info(n - x.first)
	b.Segment = s.number
	return b
}

// run returns a segment's index, and which of its blocks are of a shard in an
// epoch. The index of a closed segment is loaded where it is not in memory.
func (l *Live) run(s *liveSegment, shard int, epoch wire.Epoch) (index, []int, error) {
	c := l.catalog
	c.mu.Lock()
	if s.shards == nil {
		c.mu.Unlock()
		x, shards, err := l.load(s)
		if err != nil {
			return x, nil, err
		}
		c.mu.Lock()
		if s.shards == nil {
			s.index, s.shards = x, shards
		}
	}
	defer c.mu.Unlock()
	if s.sealed && slices.Contains(c.segments, s) {
		c.keep(s)
	}
	return s.index, s.shards[shard].run(epoch), nil
}

// load reads a closed segment's index.
func (l *Live) load(s *liveSegment) (index, []shardBlocks, error) {
	from := segment{number: s.number}
	if reason := l.view.loadIndex(&from); reason != "" {
		if reason == reasonNoIndex || l.removed(s) {
			return index{}, nil, errRemoved
		}
		return index{}, nil, &CorruptError{File: indexName(s.number), Reason: reason}
	}
	shards := make([]shardBlocks, len(l.w.shard))
	for i := range from.index.blocks() {
		if shard, epoch := from.index.stream(i); int(shard) < len(shards) {
			shards[shard].add(from.index.first+i, epoch)
		}
	}
	return from.index, shards, nil
}

// removed reports whether retention has removed a segment.
func (l *Live) removed(s *liveSegment) bool {
	l.catalog.mu.Lock()
	defer l.catalog.mu.Unlock()
	return !slices.Contains(l.catalog.segments, s)
}

func (s *liveSegment) isGone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone
}

// mapped returns a mapping of the segment that has at least its first end bytes,
// with one more reference. written is how much of the segment is used; what is
// mapped is never cut off.
func (l *Live) mapped(s *liveSegment, end, written int64) (*mapping, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return nil, errRemoved
	}
	if s.file == nil || int64(len(s.file.data)) < end {
		m, err := l.view.mapFile(s.number, written)
		if errors.Is(err, fs.ErrNotExist) {
			err = errRemoved
		}
		if err != nil {
			return nil, err
		}
		if s.file != nil {
			_ = s.file.release() // unmapping what was mapped does not fail
		}
		s.file = m
	}
	s.file.retain()
	return s.file, nil
}

// missing says why there is no block with the sequence, nor one behind it that is
// sealed; o is what was open before that was looked at.
func (r *liveRead) missing(o *openBlock) error {
	l := r.live
	switch {
	case o.epoch == r.epoch && r.from >= o.next:
		return seqError(ErrNotYet, r.epoch, r.shard, r.from)
	case o.epoch == r.epoch && o.ok && o.info.Epoch == r.epoch && o.info.FirstSeq > r.from:
		l.catalog.mu.Lock()
		defer l.catalog.mu.Unlock()
		return l.catalog.shards[r.shard].gap(&o.info, r.from)
	case o.epoch == r.epoch && l.w.failed() != nil:
		return l.w.failed() // the block was dropped
	case o.epoch == r.epoch || o.over:
		return seqError(ErrGone, r.epoch, r.shard, r.from)
	}
	return seqError(missingKind(l.epochs(), r.epoch, o.epoch), r.epoch, r.shard, r.from)
}

// epochs returns all epochs there are, in the order in which they appeared.
func (l *Live) epochs() []wire.Epoch {
	l.catalog.mu.Lock()
	list := slices.Clone(l.catalog.epochs)
	l.catalog.mu.Unlock()
	for i := range l.w.shard {
		if e := l.w.shard[i].current(); e != 0 {
			list = appendEpoch(list, e)
		}
	}
	return list
}
