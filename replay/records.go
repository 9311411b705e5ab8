package replay

import (
	"context"
	"time"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// playRecords sends records one by one into the open batches: paced, filtered,
// or with another number of shards than the tape has.
func (p *Player) playRecords(ctx context.Context) error {
	r := p.cfg.Tape.Records(tape.ReadConfig{Clock: p.cfg.Clock, From: p.cfg.From, To: p.cfg.To})
	defer r.Close()
	var now int64
	for n := 0; r.Next(); n++ {
		// Where nothing passes the filter, nobody else looks.
		if n%checkEvery == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		rec, at := r.Record(), r.At()
		if !p.filter.Match(rec.Topic()) {
			p.report.Filtered++
			continue
		}
		due := int64(0)
		if p.pace != nil {
			var err error
			if now, due, err = p.untilDue(ctx, p.time(rec), now); err != nil {
				return err
			}
		}
		s := int(p.shards.Of(rec.Topic()))
		if err := p.add(ctx, s, rec, p.ordinals.of(at.Epoch, at.Ordinal), due); err != nil {
			return err
		}
	}
	if err := r.Err(); err != nil {
		return err
	}
	return p.flushAll(ctx)
}

// checkEvery is how many records pass between looks at the context.
const checkEvery = 1 << 12

// untilDue waits until a record of tape time t is due. The clock is read only
// when the record is not known to be due already. Before it waits, everything
// that was due goes out.
func (p *Player) untilDue(ctx context.Context, t wire.Nanos, now int64) (int64, int64, error) {
	if !p.pace.anchored {
		now = p.wait.now()
		p.pace.anchor(t, now)
	}
	due := p.pace.due(t)
	if due <= now {
		return now, due, nil
	}
	if now = p.wait.now(); due <= now {
		return now, due, nil
	}
	if err := p.flushAll(ctx); err != nil {
		return now, due, err
	}
	for now = p.wait.now(); now < due; {
		if due-now > int64(time.Millisecond) {
			// There is time to look after readers and heartbeats.
			if err := p.cfg.Publisher.Tick(ctx); err != nil {
				return now, due, err
			}
		}
		now = p.wait.until(due, tickEvery)
	}
	return now, due, nil
}

// add puts a record into its shard's open batch.
func (p *Player) add(ctx context.Context, s int, r wire.Record, o wire.Ordinal, due int64) error {
	b := p.open[s]
	if b != nil && !b.fits(len(r)) {
		if err := p.flush(ctx, s); err != nil {
			return err
		}
		b = nil
	}
	if b == nil {
		var err error
		if b, err = p.takeBuffer(ctx, len(r)); err != nil {
			return err
		}
		p.open[s] = b
	}
	b.add(r, o)
	b.time = p.time(r)
	if p.pace != nil {
		b.dues = append(b.dues, due)
	}
	return nil
}

// takeBuffer returns an empty buffer, waiting while all are lent.
func (p *Player) takeBuffer(ctx context.Context, need int) (*buffer, error) {
	for {
		b, err := p.pool.take(need)
		if b != nil || err != nil {
			return b, err
		}
		if err := p.cfg.Publisher.Tick(ctx); err != nil {
			return nil, err
		}
		p.wait.until(p.wait.now()+int64(poolWait), poolWait)
	}
}

func (p *Player) flushAll(ctx context.Context) error {
	for s := range p.open {
		if err := p.flush(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// flush sends a shard's open batch.
func (p *Player) flush(ctx context.Context, s int) error {
	b := p.open[s]
	if b == nil {
		return nil
	}
	p.open[s] = nil
	due := wire.Nanos(0)
	if p.pace != nil {
		due = p.wall + wire.Nanos(b.dues[0])
	}
	p.batch = b.batch(due)
	// One more reference: the due times are read after the batch has gone out.
	b.refs.Store(2)
	defer b.Release()
	if err := p.cfg.Publisher.Send(ctx, s, &p.batch, b); err != nil {
		return err
	}
	if p.pace != nil {
		now := p.wait.now()
		for _, d := range b.dues {
			p.pace.sent(d, now)
		}
	}
	p.sent(&p.batch, b.time)
	return nil
}
