package tape

import (
	"bytes"
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/wire"
)

// lastScan looks for the last records in blocks, from the newest back, several
// blocks at once.
type lastScan struct {
	tape   *Tape
	cut    *lastCut
	topics func([]byte) bool
	base   []lastRecord // by topic; what the keyframe has
	blocks []BlockInfo  // from the newest back

	known   map[string]int32 // topics of base
	workers []*lastWorker
}

// lastWorker has what one worker found.
type lastWorker struct {
	scan    *lastScan
	found   []foundRecord    // first the base's topics, then new ones
	fresh   map[string]int32 // new topics: their places in found
	touched []int32          // by the current block
	last    int32            // topic of the record before in the block
	name    []byte           // that topic; empty at the start of a block
	records uint64
	arena   []byte
}

// foundRecord is the last record of a topic among the blocks that a worker had.
type foundRecord struct {
	rec   wire.Record // copied once its block is done
	place place
	block int // counted from 1; 0 where there is none yet
}

// run scans the blocks.
func (s *lastScan) run(ctx context.Context) error {
	s.index()
	n := min(runtime.GOMAXPROCS(0), 8, len(s.blocks))
	errs := make([]error, n)
	var next atomic.Int64
	var group sync.WaitGroup
	for i := range n {
		w := &lastWorker{scan: s, found: make([]foundRecord, len(s.base)), fresh: map[string]int32{}}
		s.workers = append(s.workers, w)
		group.Go(func() {
			for errs[i] == nil {
				at := int(next.Add(1)) - 1
				if at >= len(s.blocks) {
					return
				}
				if errs[i] = ctx.Err(); errs[i] == nil {
					errs[i] = w.block(&s.blocks[at])
				}
			}
		})
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// index makes the look-up of the base's topics. Their names are one string, so
// that it costs one allocation.
func (s *lastScan) index() {
	if len(s.blocks) == 0 {
		return
	}
	size := 0
	for i := range s.base {
		size += len(s.base[i].rec.Topic())
	}
	buf := make([]byte, 0, size)
	for i := range s.base {
		buf = append(buf, s.base[i].rec.Topic()...)
	}
	names := string(buf)
	s.known = make(map[string]int32, len(s.base))
	for i := range s.base {
		n := len(s.base[i].rec.Topic())
		s.known[names[:n]] = int32(i)
		names = names[n:]
	}
}

// block takes in one block. A worker meets its blocks from the newest back, so
// what it has already is newer.
func (w *lastWorker) block(info *BlockInfo) error {
	b, err := w.scan.tape.load(info, false)
	if err != nil {
		return err
	}
	defer b.Release()
	whole := w.scan.cut.takes(info)
	w.touched, w.name = w.touched[:0], nil
	ordinals, i := b.Ordinals(), 0
	walk := b.Records()
	for ; walk.Next(); i++ {
		rec, ordinal := walk.Record(), ordinals.Next()
		if !whole && !w.scan.cut.wants(rec, i, ordinal) {
			continue
		}
		f := w.topic(rec.Topic(), info.Number)
		if f == nil {
			continue
		}
		f.rec = rec
		f.place = place{epoch: info.Epoch, seq: walk.Seq(), ordinal: ordinal, shard: info.Shard}
	}
	w.records += uint64(i)
	if err := walk.Err(); err != nil {
		return corrupt(info, err.Error(), err)
	}
	for _, id := range w.touched {
		w.found[id].rec = w.copy(w.found[id].rec)
	}
	return nil
}

// topic returns where a block's record of a topic goes, or nil where it is not
// wanted.
func (w *lastWorker) topic(topic []byte, block int) *foundRecord {
	id := w.last
	if !bytes.Equal(w.name, topic) { // runs of one topic are common
		var ok bool
		if id, ok = w.look(topic); !ok {
			return nil
		}
		w.last, w.name = id, topic
	}
	f := &w.found[id]
	switch f.block {
	case block + 1:
		return f
	case 0:
		f.block = block + 1
		w.touched = append(w.touched, id)
		return f
	}
	return nil // there is a newer one
}

// look returns a wanted topic's place in found.
func (w *lastWorker) look(topic []byte) (int32, bool) {
	if id, ok := w.scan.known[string(topic)]; ok {
		return id, true
	}
	if id, ok := w.fresh[string(topic)]; ok {
		return id, true
	}
	if w.scan.topics != nil && !w.scan.topics(topic) {
		return 0, false
	}
	id := int32(len(w.found))
	w.found = append(w.found, foundRecord{})
	w.fresh[string(topic)] = id
	return id, true
}

// arenaSize is how much room for copies is made at once, bytes.
const arenaSize = 1 << 20

func (w *lastWorker) copy(rec wire.Record) wire.Record {
	if cap(w.arena)-len(w.arena) < len(rec) {
		w.arena = make([]byte, 0, max(arenaSize, len(rec)))
	}
	at := len(w.arena)
	w.arena = append(w.arena, rec...)
	return wire.Record(w.arena[at:len(w.arena):len(w.arena)])
}

// result puts together what keyframe and workers have, in order of the topics.
func (s *lastScan) result() (list []lastRecord, records uint64) {
	list = s.base
	fresh := map[string]*foundRecord{}
	for i := range list {
		if best := s.best(i); best != nil {
			list[i] = lastRecord{rec: best.rec, place: best.place}
		}
	}
	for _, w := range s.workers {
		records += w.records
		for topic, id := range w.fresh {
			f := &w.found[id]
			if o := fresh[topic]; f.block > 0 && (o == nil || f.block > o.block) {
				fresh[topic] = f
			}
		}
	}
	if len(fresh) == 0 {
		return list, records
	}
	for _, f := range fresh {
		list = append(list, lastRecord{rec: f.rec, place: f.place})
	}
	slices.SortFunc(list, func(a, b lastRecord) int { return bytes.Compare(a.rec.Topic(), b.rec.Topic()) })
	return list, records
}

// best returns the newest record that a worker found of a topic of the base.
func (s *lastScan) best(i int) (best *foundRecord) {
	for _, w := range s.workers {
		if f := &w.found[i]; f.block > 0 && (best == nil || f.block > best.block) {
			best = f
		}
	}
	return best
}
