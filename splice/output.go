package splice

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/shard"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// checkEvery is how many records pass between looks at the context.
const checkEvery = 1 << 14

// Progress is how far a piece of work is, in records of the input. Other
// goroutines may read it meanwhile.
type Progress struct{ Done, Total atomic.Uint64 }

func (p *Progress) begin(total uint64) {
	if p != nil {
		p.Total.Store(total)
	}
}

func (p *Progress) add(n uint64) {
	if p != nil {
		p.Done.Add(n)
	}
}

// Report is what went into a new tape.
type Report struct {
	Records      uint64 // in the new tape
	LeftOut      uint64 // records looked at that are not
	BlocksKept   uint64 // blocks whose stored bytes were taken as they were
	BlocksCoded  uint64 // blocks kept whole and stored with another codec
	Marks        int    // marks carried over
	MarksLeftOut int    // marks outside the range
}

// create opens a writer for a tape that gets its name only when it is closed.
func create(dir string, cfg tape.Config) (*tape.Writer, error) {
	cfg.Temporary, cfg.SyncInterval = true, -1
	return tape.Create(dir, cfg)
}

// largestBlock is the size of buffers that hold every block of a tape, so that
// none has to grow for one block and be thrown away.
func largestBlock(t *tape.Tape) int {
	size := tape.BlockSizeDefault
	for n := range t.Blocks() {
		b := t.Block(n)
		size = max(size, int(b.PayloadSize))
	}
	return min(size, tape.BlockSizeMax)
}

// newEpoch is the epoch of a tape that is numbered anew.
func newEpoch(e wire.Epoch) wire.Epoch {
	if e == 0 {
		return wire.Epoch(time.Now().UnixNano())
	}
	return e
}

// interrupted returns why the work has to stop, or nil.
func interrupted(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// numbering gives records places in a new epoch: sequences from 0 on each shard,
// ordinals from 0 over all.
type numbering struct {
	epoch   wire.Epoch
	shards  shard.Map
	next    []wire.Seq
	ordinal wire.Ordinal
}

func newNumbering(shards int, epoch wire.Epoch) (*numbering, error) {
	m, err := shard.NewMap(shards)
	if err != nil {
		return nil, err
	}
	return &numbering{epoch: newEpoch(epoch), shards: m, next: make([]wire.Seq, shards)}, nil
}

// place returns the place of the next record, which must then be stored.
func (n *numbering) place(topic []byte, send wire.Nanos) tape.At {
	s := 0
	if len(n.next) > 1 {
		s = int(n.shards.Of(topic))
	}
	at := tape.At{Shard: s, Epoch: n.epoch, Seq: n.next[s], Ordinal: n.ordinal, Send: send}
	n.next[s]++
	n.ordinal++
	return at
}

// timeOf is a record's time by a clock; a record's own send time is not known.
func timeOf(r wire.Record, c tape.Clock) wire.Nanos {
	if c == tape.ClockEvent {
		return r.Event()
	}
	return r.Receive()
}

// spanOf is a block's range of times by a clock.
func spanOf(b *tape.BlockInfo, c tape.Clock) tape.Span {
	switch c {
	case tape.ClockEvent:
		return b.Event
	case tape.ClockSend:
		return b.Send
	}
	return b.Receive
}
