package tape

import (
	"context"
	"slices"

	"github.com/tapedeck/tapedeck/wire"
)

// LastWalk walks over every topic's last record before a moment, each topic once,
// as they are found: from the newest block back, and what no block has from the
// keyframe. Where Last first finds everything and then puts it in order of the
// topics, a walk has its first record after one block. The order is always the
// same for the same tape and moment.
//
//	for {
//		ok, err := w.Next(ctx)
//		if !ok {
//			return err
//		}
//		use(w.At(), w.Record())
//	}
//
// It belongs to one goroutine, and must be closed before the tape is.
type LastWalk struct {
	tape   *Tape
	cut    *lastCut
	topics func([]byte) bool
	stats  LastStats
	expect int // topics that there are; -1: not known

	key   *keyframe       // to be used; nil where there is none
	base  chan loadedBase // nil while it is not being loaded
	scan  *lastScan
	end   int // blocks from here on are scanned, or being scanned
	found topicNumbers

	block *lastBlock   // at hand
	list  []lastRecord // still to come of it, or of the keyframe
	last  bool         // list is of the keyframe, or empty at the end
	rec   lastRecord
	err   error
}

// loadedBase is a keyframe's records in order of their topics, or why it cannot be
// used.
type loadedBase struct {
	list    []lastRecord
	unknown int
	reason  string
}

// WalkLastBeforeOrdinal is LastBeforeOrdinal as a walk.
func (t *Tape) WalkLastBeforeOrdinal(epoch wire.Epoch, ordinal wire.Ordinal, topics func(topic []byte) bool) (*LastWalk, error) {
	cut, err := t.cutAtOrdinal(epoch, ordinal)
	if err != nil {
		return nil, err
	}
	return t.walkLast(cut, topics)
}

func (t *Tape) walkLast(cut *lastCut, topics func([]byte) bool) (*LastWalk, error) {
	if t.isClosed() {
		return nil, ErrClosed
	}
	w := &LastWalk{
		tape: t, cut: cut, topics: topics, stats: LastStats{Keyframe: -1}, end: cut.end,
		expect: t.expectLast(cut, topics),
	}
	w.start(cut.keyframe)
	return w, nil
}

// start chooses the latest keyframe of block n or one before it, and begins to scan
// the blocks between it and those that are scanned already.
func (w *LastWalk) start(n int) {
	w.key = w.tape.keyframeUpTo(n, w.pass)
	first := 0
	if w.key != nil {
		first = w.key.block
	}
	var blocks []BlockInfo
	for n := w.end - 1; n >= first; n-- {
		b := w.tape.Block(n)
		if w.cut.skips(&b) {
			continue
		}
		blocks = append(blocks, b)
		w.stats.BlockBytes += int64(b.StoredSize)
	}
	w.stats.Blocks += len(blocks)
	w.tape.Prefetch(first, w.end)
	w.end = min(w.end, first)
	w.scan = newLastScan(w.tape, w.cut, w.topics, blocks)
}

// load begins to load the keyframe, where that has not begun: beside the scan, but
// not before the first block is through, which others wait for.
func (w *LastWalk) load() {
	if w.key == nil || w.base != nil {
		return
	}
	w.base = make(chan loadedBase, 1)
	go func(k *keyframe, base chan<- loadedBase) { base <- w.tape.readBase(k, w.cut, w.topics) }(w.key, w.base)
}

// pass takes note of a keyframe that cannot be used.
func (w *LastWalk) pass(p Problem) {
	if !slices.ContainsFunc(w.stats.Passed, func(q Problem) bool { return q.File == p.File }) {
		w.stats.Passed = append(w.stats.Passed, p)
	}
}

// Next moves to the next topic and reports whether there is one. Where ctx ends
// first it may be called again, with another one; after any other error not.
func (w *LastWalk) Next(ctx context.Context) (bool, error) {
	for {
		for len(w.list) > 0 {
			w.rec, w.list = w.list[0], w.list[1:]
			if w.news(w.rec.rec.Topic()) {
				return true, nil
			}
		}
		if w.last || w.err != nil {
			return false, w.err
		}
		if err := w.more(ctx); err != nil {
			return false, err
		}
	}
}

// news reports whether a topic has not come before.
func (w *LastWalk) news(topic []byte) bool {
	if w.last {
		return w.found.find(topic) < 0 // the keyframe has each topic once
	}
	_, first := w.found.put(topic)
	return first
}

// more gets the next list: of the next block or, behind the last one, of the
// keyframe.
func (w *LastWalk) more(ctx context.Context) error {
	w.list = nil
	if w.block != nil {
		w.scan.giveBack(w.block)
		w.block = nil
	}
	if w.found.len() == w.expect {
		w.scan.enough()
		w.last = true
		return nil
	}
	b, err := w.scan.take(ctx)
	if err != nil && b == nil {
		return err // ctx has ended
	}
	w.load()
	switch {
	case b != nil:
		w.block, w.err = b, err
		w.stats.Records += b.records
		if err == nil {
			w.list = b.list
		}
		return err
	case w.key == nil:
		w.last = true
		return nil
	}
	select {
	case base := <-w.base:
		w.takeBase(base)
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// takeBase takes over a keyframe, or goes on with the one before it and the blocks
// between the two.
func (w *LastWalk) takeBase(base loadedBase) {
	k := w.key
	w.base = nil
	if base.reason == "" {
		w.last, w.list = true, base.list
		w.stats.Keyframe, w.stats.KeyframeBytes, w.stats.Unknown = k.block, int64(k.storedSize), base.unknown
		return
	}
	p := keyProblem(k.segment.number, base.reason)
	p.Offset, p.Bytes = k.offset, int64(k.storedSize)
	w.pass(p)
	w.scan.close()
	w.start(k.block - 1)
}

// Ready reports whether Next can answer at once. Where it cannot, blocks or the
// keyframe are still being read.
func (w *LastWalk) Ready() bool {
	if len(w.list) > 0 || w.last || w.err != nil || w.found.len() == w.expect {
		return true
	}
	return w.scan.ready() && (w.scan.turn < len(w.scan.blocks) || w.key == nil || len(w.base) > 0)
}

// Record returns the current topic's last record, borrowed until the next call of
// Next or Close.
func (w *LastWalk) Record() wire.Record { return w.rec.rec }

// At returns the current record's place; Send is not known.
func (w *LastWalk) At() At { return w.rec.place.at() }

// Stats say what it took so far.
func (w *LastWalk) Stats() LastStats { return w.stats }

// Close ends the walk. Further calls do nothing.
func (w *LastWalk) Close() {
	if w.scan == nil {
		return
	}
	if w.block != nil {
		w.scan.giveBack(w.block)
		w.block = nil
	}
	w.scan.close()
	if w.base != nil {
		<-w.base // it reads the tape's files
	}
	w.scan, w.list, w.last = nil, nil, true
}

// readBase reads one keyframe. Where the tape's first segments were removed, the
// first keyframe stands for them, and may then hold records that are not wanted.
func (t *Tape) readBase(k *keyframe, cut *lastCut, topics func([]byte) bool) (base loadedBase) {
	raw, reason := t.loadKeyframe(k)
	if reason != "" {
		return loadedBase{reason: reason}
	}
	head := cut.upTo != nil && !cut.upTo(&k.keyEntry)
	base.list = make([]lastRecord, 0, k.topics)
	base.reason = k.walk(raw, t.meta.Shards, func(rec wire.Record, p place) {
		switch {
		case topics != nil && !topics(rec.Topic()):
		case head && !cut.wantsHead(rec):
			base.unknown++
		default:
			base.list = append(base.list, lastRecord{rec: rec, place: p})
		}
	})
	return base
}

// cutAtOrdinal is the moment before an ordinal of an epoch, in the one order over
// all shards.
func (t *Tape) cutAtOrdinal(epoch wire.Epoch, ordinal wire.Ordinal) (*lastCut, error) {
	epochs := t.shards().epochs
	rank, err := t.rankOf(epoch)
	if err != nil {
		return nil, err
	}
	// side is below zero for a block wholly before the ordinal, above for one
	// wholly behind it.
	side := func(b *BlockInfo) int {
		r := rank
		if b.Epoch != epoch {
			r = slices.Index(epochs, b.Epoch)
		}
		switch {
		case r < rank || r == rank && b.LastOrdinal < ordinal:
			return -1
		case r > rank || b.FirstOrdinal >= ordinal:
			return 1
		}
		return 0
	}
	cut := &lastCut{keyframe: t.blocks}
	for n := range t.blocks {
		b := t.Block(n)
		s := side(&b)
		if s >= 0 && cut.keyframe == t.blocks {
			cut.keyframe = n
		}
		if s <= 0 {
			cut.end = n + 1
		}
	}
	cut.whole = func(b *BlockInfo) bool { return side(b) < 0 }
	cut.skip = func(b *BlockInfo) bool { return side(b) > 0 }
	cut.wants = func(_ wire.Record, _ int, o wire.Ordinal) bool { return o < ordinal }
	cut.begun = func(topic *TopicInfo) bool {
		if topic.FirstBlock < t.base {
			return true
		}
		b := t.Block(topic.FirstBlock - t.base)
		s := side(&b)
		return s < 0 || s == 0 && topic.FirstOrdinal < ordinal
	}
	return cut, nil
}

// expectMax is the number of topics up to which it pays to look first how many
// there are. Of many topics some are rare, and all blocks are read in any case.
const expectMax = 1 << 14

// expectLast returns how many topics have a last record, where the tape's list of
// topics tells, or -1. With that, a scan that has met all of them can end.
func (t *Tape) expectLast(cut *lastCut, topics func([]byte) bool) int {
	if cut.begun == nil {
		return -1
	}
	list, n := t.listedTopics(), 0
	if list == nil || len(list) > expectMax {
		return -1
	}
	for i := range list {
		if (topics == nil || topics([]byte(list[i].Topic))) && cut.begun(&list[i]) {
			n++
		}
	}
	return n
}
