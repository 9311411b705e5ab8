package tape

import (
	"slices"

	"github.com/tapedeck/tapedeck/wire"
)

// Records walks over records in the one order over all shards: epochs in the
// order in which they appear, within an epoch by ordinal.
//
//	r := t.Records(cfg)
//	defer r.Close()
//	for r.Next() {
//		use(r.At(), r.Record())
//	}
//	return r.Err()
//
// It holds one block of each shard at a time. It belongs to one goroutine.
type Records struct {
	tape    *Tape
	cfg     ReadConfig
	first   int // blocks before it and from end on hold nothing wanted
	end     int
	epochs  []wire.Epoch // still to come
	from    wire.Ordinal // in the first of them
	cursors []cursor
	heap    []*cursor // by ordinal; the top holds the current record
	err     error
}

// cursor walks over one shard's records in one epoch.
type cursor struct {
	blocks   []int // still to come
	block    *Block
	walk     wire.Walk
	ordinals wire.OrderWalk
	ordinal  wire.Ordinal
}

// Records returns a walk over the records that cfg wants; of From, To and Clock
// it holds to the record, by the send clock to the block. The caller must Close
// it.
func (t *Tape) Records(cfg ReadConfig) *Records {
	r := &Records{tape: t, cfg: cfg, first: max(cfg.Block, 0), end: t.blocks}
	if cfg.From != 0 {
		r.first = max(r.first, t.firstBlock(cfg.Clock, cfg.From))
	}
	if cfg.To != 0 {
		r.end = t.endBlock(cfg.Clock, cfg.To)
	}
	r.epochs = t.shards().epochs
	r.cursors = make([]cursor, t.meta.Shards)
	return r
}

// Next moves to the next record and reports whether there is one.
func (r *Records) Next() bool {
	for r.step() {
		if r.wanted(r.heap[0].walk.Record()) {
			return true
		}
	}
	return false
}

// step moves to the next record, wanted or not.
func (r *Records) step() bool {
	if r.err != nil {
		return false
	}
	if len(r.heap) > 0 {
		r.replaceTop()
	}
	for len(r.heap) == 0 && r.err == nil && len(r.epochs) > 0 {
		r.startEpoch()
	}
	return len(r.heap) > 0 && r.err == nil
}

func (r *Records) wanted(rec wire.Record) bool {
	if r.cfg.From == 0 && r.cfg.To == 0 || r.cfg.Clock == ClockSend && !r.heap[0].block.Info.NoSend {
		return true
	}
	at := timeOf(rec, r.cfg.Clock)
	return (r.cfg.From == 0 || at >= r.cfg.From) && (r.cfg.To == 0 || at < r.cfg.To)
}

// startEpoch sets a cursor on each shard that has records in the next epoch.
func (r *Records) startEpoch() {
	tables := r.tape.shards()
	for i := range r.cursors {
		if r.cfg.Shards != nil && !slices.Contains(r.cfg.Shards, i) {
			continue
		}
		c := &r.cursors[i]
		c.blocks = tables.shards[i].run(r.epochs[0])
		if r.from > 0 {
			c.blocks = r.tape.blocksFrom(c.blocks, r.from)
		}
		some := r.advance(c)
		for some && c.ordinal < r.from {
			some = r.advance(c)
		}
		if some {
			r.heap = append(r.heap, c)
			r.up(len(r.heap) - 1)
		}
	}
	r.epochs, r.from = r.epochs[1:], 0
}

// replaceTop moves the top cursor on and puts it where it belongs.
func (r *Records) replaceTop() {
	c := r.heap[0]
	if r.advance(c) {
		r.down()
		return
	}
	n := len(r.heap) - 1
	r.heap[0], r.heap = r.heap[n], r.heap[:n]
	r.down()
}

// advance moves a cursor to its next record, into its next wanted block where
// need be, and reports whether there is one.
func (r *Records) advance(c *cursor) bool {
	for c.block == nil || !c.walk.Next() {
		if c.block != nil {
			r.err = c.walk.Err()
			c.drop()
		}
		if r.err != nil || !r.open(c) {
			return false
		}
	}
	c.ordinal = c.ordinals.Next()
	return true
}

// open moves a cursor to its next wanted block.
func (r *Records) open(c *cursor) bool {
	for len(c.blocks) > 0 {
		n := c.blocks[0]
		c.blocks = c.blocks[1:]
		if n < r.first || n >= r.end {
			continue
		}
		info := r.tape.Block(n)
		if !r.cfg.wants(&info) {
			continue
		}
		c.block, r.err = r.tape.load(&info, r.cfg.Unchecked)
		if r.err != nil {
			return false
		}
		c.walk, c.ordinals = c.block.Records(), c.block.Ordinals()
		return true
	}
	return false
}

func (c *cursor) drop() {
	if c.block != nil {
		c.block.Release()
		c.block = nil
	}
}

// up and down keep the heap: the least ordinal on top.
func (r *Records) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if r.heap[parent].ordinal <= r.heap[i].ordinal {
			return
		}
		r.heap[parent], r.heap[i] = r.heap[i], r.heap[parent]
		i = parent
	}
}

func (r *Records) down() {
	h := r.heap
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].ordinal < h[least].ordinal {
				least = child
			}
		}
		if least == i {
			return
		}
		h[least], h[i] = h[i], h[least]
		i = least
	}
}

// Record returns the current record, borrowed until the next step.
func (r *Records) Record() wire.Record { return r.heap[0].walk.Record() }

// At returns the current record's place. Send is the send time of its block.
func (r *Records) At() At {
	c := r.heap[0]
	return At{Shard: int(c.block.Shard), Epoch: c.block.Epoch, Seq: c.walk.Seq(), Ordinal: c.ordinal, Send: c.block.Send}
}

// Block returns the block that the current record is in, borrowed until the
// next step.
func (r *Records) Block() *Block { return r.heap[0].block }

// Err returns what ended the walk early, or nil.
func (r *Records) Err() error { return r.err }

// Close lets go of the blocks. It returns nil.
func (r *Records) Close() error {
	for i := range r.cursors {
		r.cursors[i].drop()
	}
	r.heap, r.epochs = nil, nil
	return nil
}
