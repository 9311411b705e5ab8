package tape

import (
	"bytes"
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// lastScan looks for last records in blocks, from the newest back, several blocks
// at once, and hands on what each block adds in the order of the blocks: the
// newest comes at once, whatever there is behind it.
type lastScan struct {
	tape   *Tape
	cut    *lastCut
	topics func([]byte) bool
	blocks []BlockInfo // from the newest back

	next atomic.Int64       // place in blocks that the next worker takes
	free chan *lastBlock    // a worker needs one to take a block, so only so many are underway
	done chan *lastBlock    // in the order in which workers are through
	stop chan struct{}      // closed when nobody wants more
	wait sync.WaitGroup     // for the workers
	held map[int]*lastBlock // done before their turn
	turn int                // place in blocks of the next one to be handed on
}

// lastBlock is what one block adds: of each topic that its worker has met in no
// newer block the block's last record. A topic may come again in an older block
// that another worker has.
type lastBlock struct {
	at      int // place in lastScan.blocks
	block   *Block
	list    []lastRecord // borrowed from block
	records uint64
	err     error
}

// newLastScan starts scanning.
func newLastScan(t *Tape, cut *lastCut, topics func([]byte) bool, blocks []BlockInfo) *lastScan {
	workers := min(runtime.GOMAXPROCS(0), 8, len(blocks))
	underway := min(4*workers, len(blocks))
	s := &lastScan{
		tape: t, cut: cut, topics: topics, blocks: blocks, held: map[int]*lastBlock{},
		free: make(chan *lastBlock, underway), done: make(chan *lastBlock, underway), stop: make(chan struct{}),
	}
	for range underway {
		s.free <- &lastBlock{}
	}
	for range workers {
		w := &lastWorker{scan: s}
		s.wait.Go(w.run)
	}
	return s
}

// take returns what the next block adds, or nil behind the last one. Where ctx
// ends first it may be called again.
func (s *lastScan) take(ctx context.Context) (*lastBlock, error) {
	if s.turn == len(s.blocks) {
		return nil, nil
	}
	for s.held[s.turn] == nil {
		select {
		case b := <-s.done:
			s.held[b.at] = b
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	b := s.held[s.turn]
	delete(s.held, s.turn)
	s.turn++
	return b, b.err
}

// ready reports whether take has something to return, or an end, without waiting.
func (s *lastScan) ready() bool {
	for len(s.done) > 0 {
		b := <-s.done
		s.held[b.at] = b
	}
	return s.turn == len(s.blocks) || s.held[s.turn] != nil
}

// enough makes the workers begin no more blocks.
func (s *lastScan) enough() { s.next.Store(int64(len(s.blocks))) }

// giveBack ends the use of what take returned.
func (s *lastScan) giveBack(b *lastBlock) {
	b.drop()
	s.free <- b
}

func (b *lastBlock) drop() {
	if b.block != nil {
		b.block.Release()
	}
	*b = lastBlock{list: b.list[:0]}
}

// close ends the scan. What take returned must have been given back.
func (s *lastScan) close() {
	close(s.stop)
	s.wait.Wait()
	for len(s.done) > 0 {
		(<-s.done).drop()
	}
	for _, b := range s.held {
		b.drop()
	}
	s.held, s.turn = nil, len(s.blocks)
}

// lastWorker scans blocks. It meets its blocks from the newest back, so what it has
// met already is newer.
type lastWorker struct {
	scan   *lastScan
	topics topicNumbers
	met    []metTopic // by number
	last   int32      // topic of the record before in the block
	name   []byte     // that topic; empty at the start of a block
}

// metTopic is where a worker met a topic last.
type metTopic struct {
	block int32 // the block's place in lastScan.blocks, counted from 1; 0: the topic is not wanted
	index int32 // place in the block's list
}

func (w *lastWorker) run() {
	for {
		var b *lastBlock
		select {
		case b = <-w.scan.free:
		case <-w.scan.stop:
			return
		}
		if b.at = int(w.scan.next.Add(1)) - 1; b.at >= len(w.scan.blocks) {
			return
		}
		b.err = w.block(b)
		w.scan.done <- b
	}
}

// block takes in one block.
func (w *lastWorker) block(out *lastBlock) error {
	info := &w.scan.blocks[out.at]
	b, err := w.scan.tape.load(info, false)
	if err != nil {
		return err
	}
	out.block = b
	whole := w.scan.cut.takes(info)
	w.name = nil
	ordinals, i := b.Ordinals(), 0
	walk := b.Records()
	for ; walk.Next(); i++ {
		rec, ordinal := walk.Record(), ordinals.Next()
		if !whole && !w.scan.cut.wants(rec, i, ordinal) {
			continue
		}
		if index := w.index(rec.Topic(), out); index >= 0 {
			out.list[index] = lastRecord{rec: rec, place: place{epoch: info.Epoch, seq: walk.Seq(), ordinal: ordinal, shard: info.Shard}}
		}
	}
	out.records = uint64(i)
	if err := walk.Err(); err != nil {
		return corrupt(info, err.Error(), err)
	}
	return nil
}

// index returns where in the block's list a topic's record goes, or -1 where it is
// not wanted, or there is a newer one.
func (w *lastWorker) index(topic []byte, out *lastBlock) int32 {
	if !bytes.Equal(w.name, topic) { // runs of one topic are common
		number, first := w.topics.put(topic)
		if first {
			m := metTopic{}
			if w.scan.topics == nil || w.scan.topics(topic) {
				m = metTopic{block: int32(out.at + 1), index: int32(len(out.list))}
				out.list = append(out.list, lastRecord{})
			}
			w.met = append(w.met, m)
		}
		w.last, w.name = number, topic
	}
	if m := w.met[w.last]; int(m.block) == out.at+1 {
		return m.index
	}
	return -1
}
