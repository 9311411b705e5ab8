package replay

import (
	"context"
	"runtime"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// playBlocks sends stored blocks as they are. Blocks at the borders of the range
// go record by record.
func (p *Player) playBlocks(ctx context.Context) error {
	// The reader at the other end checks the same CRC, so plain blocks are not
	// read here at all.
	blocks := newBlocks(ctx, p.cfg.Tape, p.wants, p.decoders(), !p.checked)
	defer blocks.close()
	for {
		b, err := blocks.next(ctx)
		if b == nil || err != nil {
			return err
		}
		if p.whole(&b.Info) {
			err = p.sendBlock(ctx, b)
		} else {
			err = p.sendPart(ctx, b)
			b.Release()
		}
		if err != nil {
			return err
		}
	}
}

// wants reports whether this lane plays some of a block's records.
func (p *Player) wants(b *tape.BlockInfo) bool {
	return (p.lane == allShards || p.lane == int(b.Shard)) && p.overlaps(b)
}

// decoders is how many goroutines decode blocks ahead for this lane: all lanes
// together about as many as there are processors.
func (p *Player) decoders() int {
	n := runtime.GOMAXPROCS(0)
	if p.lane != allShards {
		n = (n + p.cfg.Shards - 1) / p.cfg.Shards
	}
	return min(n, aheadMax)
}

// overlaps reports whether some of a block's records may lie in the range.
func (p *Player) overlaps(b *tape.BlockInfo) bool {
	s := spanOf(b, p.cfg.Clock)
	return (p.cfg.From == 0 || s.Max >= p.cfg.From) && (p.cfg.To == 0 || s.Min < p.cfg.To)
}

// whole reports whether all of a block's records lie in the range. Send times are
// kept per block, so by them a block is in the range or not.
func (p *Player) whole(b *tape.BlockInfo) bool {
	if p.cfg.Clock == tape.ClockSend {
		return true
	}
	s := spanOf(b, p.cfg.Clock)
	return (p.cfg.From == 0 || s.Min >= p.cfg.From) && (p.cfg.To == 0 || s.Max < p.cfg.To)
}

// spanOf returns the range of a block's times by one clock.
func spanOf(b *tape.BlockInfo, c tape.Clock) tape.Span {
	switch c {
	case tape.ClockEvent:
		return b.Event
	case tape.ClockSend:
		return b.Send
	}
	return b.Receive
}

// sendBlock sends a block whole and gives its reference to the publisher.
func (p *Player) sendBlock(ctx context.Context, b *tape.Block) error {
	p.batch = b.Batch
	p.batch.FirstOrdinal = p.ordinals.of(b.Epoch, b.FirstOrdinal)
	p.batch.Due = 0
	now := spanOf(&b.Info, p.cfg.Clock).Max
	if err := p.sendWhole(ctx, b); err != nil {
		return err
	}
	p.sent(&p.batch, now)
	return nil
}

// sendWhole sends the batch at hand, which is all of a block.
func (p *Player) sendWhole(ctx context.Context, b *tape.Block) error {
	shard := int(b.Shard)
	if pub, ok := p.cfg.Publisher.(StoredPublisher); ok {
		var stored bool
		if p.stored, stored = b.Reference(); stored {
			return pub.SendStored(ctx, shard, &p.batch, &p.stored, b)
		}
	}
	return p.cfg.Publisher.Send(ctx, shard, &p.batch, b)
}

// sendPart sends those records of a block that lie in the range. They go out
// under a checksum of their own, so the block's is checked first: a block that
// goes out whole leaves that to the reader.
func (p *Player) sendPart(ctx context.Context, unchecked *tape.Block) error {
	b, err := p.cfg.Tape.ReadBlock(unchecked.Info.Number, false)
	if err != nil {
		return err
	}
	defer b.Release()
	ordinals := b.Ordinals()
	w := b.Records()
	for w.Next() {
		r, o := w.Record(), ordinals.Next()
		if t := p.time(r); p.cfg.From != 0 && t < p.cfg.From || p.cfg.To != 0 && t >= p.cfg.To {
			continue
		}
		if err := p.add(ctx, int(b.Shard), r, p.ordinals.of(b.Epoch, o), 0); err != nil {
			return err
		}
	}
	if err := w.Err(); err != nil {
		return err
	}
	return p.flush(ctx, int(b.Shard))
}

// time returns the record's time by the player's clock. A block's send time is
// not kept per record, so by the send clock the receive time stands in.
func (p *Player) time(r wire.Record) wire.Nanos {
	if p.cfg.Clock == tape.ClockEvent {
		return r.Event()
	}
	return r.Receive()
}

// sent takes note of a batch that went out.
func (p *Player) sent(b *wire.Batch, now wire.Nanos) {
	p.report.Records += uint64(b.Count)
	p.report.Bytes += uint64(len(b.Payload))
	p.report.Batches++
	p.progress.note(b, now)
}
