package replay

import (
	"context"

	"github.com/tapedeck/tapedeck/wire"
)

// last is every topic's last record before the place of a seek, on its way to the
// readers.
type last struct {
	walk  LastWalk
	taken bool // its current record is still to be put into a batch
	count wire.Ordinal
}

// startLast begins to look for the last values that the epoch at hand begins with.
func (p *Player) startLast() error {
	walk, err := p.epoch.walkLast(p.source)
	if err != nil {
		return err
	}
	p.last = &last{walk: walk}
	return nil
}

// walkLast walks over the last values that an epoch begins with as they are sent:
// those of topics that are played, in an order that is always the same.
func (e *sentEpoch) walkLast(s Source) (LastWalk, error) {
	topics := e.topics.set.Match
	if e.topics.set.All() {
		topics = nil
	}
	return s.WalkLast(e.asOf.place, topics)
}

// sendLast sends last values, in batches and records that are marked as such. They
// are numbered in the order in which they are found. Where it is broken off, it goes
// on later from there.
func (p *Player) sendLast(ctx context.Context) error {
	p.flags = wire.FlagSnapshotBatch
	defer func() { p.flags = 0 }()
	l := p.last
	for {
		if err := p.sendFull(ctx); err != nil {
			return err
		}
		if !l.taken {
			if !p.inStep() && !l.walk.Ready() { // what there is need not wait for the rest
				if err := p.flushAll(ctx); err != nil {
					return err
				}
			}
			ok, err := l.walk.Next(ctx)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			l.taken = true
		}
		s := p.shardOf(l.walk.Record(), l.walk.Shard())
		if err := p.add(ctx, s, l.walk.Record(), l.count, notDue); err != nil {
			return err
		}
		p.open[s].markLast()
		l.taken, l.count = false, l.count+1
	}
	if err := p.flushAll(ctx); err != nil {
		return err
	}
	// A shard without last values, or with nothing behind them, says so by itself.
	if err := p.cfg.Publisher.(EpochPublisher).Heartbeat(ctx); err != nil {
		return err
	}
	p.stopLast()
	p.land(p.epoch.start, l.count)
	return errMore
}

// stopLast lets go of last values.
func (p *Player) stopLast() {
	if p.last != nil {
		p.last.walk.Close()
		p.last = nil
	}
}
