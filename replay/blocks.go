package replay

import (
	"context"
	"runtime"
	"slices"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// playBlocks sends stored blocks as they are. Blocks at the borders of the range
// go record by record.
func (p *Player) playBlocks(ctx context.Context) error {
	// The reader at the other end checks the same CRC, so plain blocks are not
	// read here at all.
	first, wanted := p.wanted()
	blocks := newBlocks(ctx, p.cfg.Tape, first, wanted, p.decoders(), !p.checked)
	defer blocks.close()
	for {
		b, err := blocks.next(ctx)
		if b == nil || err != nil {
			return err
		}
		if p.inRange(&b.Info) && p.ordinals.of(b.Epoch, b.FirstOrdinal) >= p.next[b.Shard] && p.ordinals.of(b.Epoch, b.Info.LastOrdinal) < p.until {
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

// sendsBlocks reports whether stored blocks go out as they are.
func (p *Player) sendsBlocks() bool {
	return p.speed == Max && !p.inStep() && p.stepping == nil && p.asTape && p.ordinals.ordered && p.filter.All()
}

// wanted returns the first block that this lane may have to play of the pass at
// hand, and whether it plays some of a block's records. The answer does not change
// with where the shards stand, and may be had on another goroutine.
func (p *Player) wanted() (first int, wanted func(b *tape.BlockInfo) bool) {
	ordinals, until := p.ordinals, p.until
	if place := p.least() - ordinals.base; place > 0 {
		// The epoch is one of the tape's.
		first, _ = p.cfg.Tape.BlockFrom(ordinals.onTape(place))
	}
	if p.lane != allShards {
		from := p.next[p.lane]
		return first, func(b *tape.BlockInfo) bool {
			return int(b.Shard) == p.lane && ordinals.of(b.Epoch, b.LastOrdinal) >= from && ordinals.of(b.Epoch, b.FirstOrdinal) < until && p.overlaps(b)
		}
	}
	next := slices.Clone(p.next)
	return first, func(b *tape.BlockInfo) bool {
		return int(b.Shard) < len(next) && ordinals.of(b.Epoch, b.LastOrdinal) >= next[b.Shard] && ordinals.of(b.Epoch, b.FirstOrdinal) < until && p.overlaps(b)
	}
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

// inRange reports whether all of a block's records lie in the range. Send times are
// kept per block, so by them a block is in the range or not.
func (p *Player) inRange(b *tape.BlockInfo) bool {
	if p.cfg.Clock == tape.ClockSend && !b.NoSend {
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
	// Once it is sent the block is the publisher's.
	shard, last, now := int(b.Shard), p.ordinals.of(b.Epoch, b.Info.LastOrdinal), spanOf(&b.Info, p.cfg.Clock).Max
	if err := p.sendWhole(ctx, b); err != nil {
		return err
	}
	p.sent(shard, p.batch.FirstOrdinal, last, now)
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

// sendPart sends those records of a block that lie in the range and have not gone
// out. They go out under a checksum of their own, so the block's is checked first:
// a block that goes out whole leaves that to the reader.
func (p *Player) sendPart(ctx context.Context, unchecked *tape.Block) error {
	b, err := p.cfg.Tape.ReadBlock(unchecked.Info.Number, false)
	if err != nil {
		return err
	}
	defer b.Release()
	ordinals, inRange, from := b.Ordinals(), p.inRange(&b.Info), p.next[b.Shard]
	w := b.Records()
	for w.Next() {
		r, o := w.Record(), p.ordinals.of(b.Epoch, ordinals.Next())
		if t := p.time(r); o < from || o >= p.until || !inRange && (p.cfg.From != 0 && t < p.cfg.From || p.cfg.To != 0 && t >= p.cfg.To) {
			continue
		}
		if err := p.add(ctx, int(b.Shard), r, o, notDue); err != nil {
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

// sent takes note of the batch at hand, which went out with ordinals from first to
// last. now is the tape time of its last record.
func (p *Player) sent(s int, first, last wire.Ordinal, now wire.Nanos) {
	b := &p.batch
	p.next[s] = last + 1
	p.trails[s].sent(first, last, b.Count)
	p.pass(last)
	p.report.Batches++
	p.report.Bytes += uint64(len(b.Payload))
	if b.Flags&wire.FlagSnapshotBatch != 0 {
		p.report.LastValues += uint64(b.Count)
		return
	}
	p.report.Records += uint64(b.Count)
	p.progress.note(b, now)
}
