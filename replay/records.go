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
	for _, o := range p.next {
		p.taken = max(p.taken, o) // shards that were played by themselves
	}
	p.walked = p.least()
	w, err := p.source.Walk(tape.ReadConfig{Clock: p.cfg.Clock, From: p.cfg.From, To: p.cfg.To}, p.walked-p.ordinals.base)
	if err != nil {
		return err
	}
	defer w.Close()
	if err := p.takeAll(ctx, w); err != nil {
		return err
	}
	p.come(p.until)
	return p.flushAll(ctx)
}

// takeAll puts records into the open batches, each when it is due, and says how far
// it has come.
func (p *Player) takeAll(ctx context.Context, w Walk) error {
	var (
		now, due int64
		it       Item
	)
	// Nearly all records are in [taken, until): one look tells.
	taken := min(p.taken, p.until)
	room := p.until - taken
	for n := 0; w.Next(&it); n++ {
		rec, o := it.Record, it.Place+p.ordinals.base
		// Where nothing passes the filter, nobody else looks.
		if n%checkEvery == 0 && ctx.Err() != nil {
			p.come(o)
			return context.Cause(ctx)
		}
		if o-taken >= room {
			if o >= p.until {
				return nil
			}
			if p.wentOut(rec, it.Shard, o) {
				continue
			}
		}
		if !p.filter.Match(rec.Topic()) {
			p.report.Filtered++
			continue
		}
		due = notDue
		var err error
		if p.pace != nil {
			now, due, err = p.untilDue(ctx, p.time(rec), now)
		}
		if err == nil {
			err = p.add(ctx, p.shardOf(rec, it.Shard), rec, o, due)
		}
		if err == nil && p.cfg.Barrier > 0 {
			err = p.sendFull(ctx)
		}
		if err != nil {
			p.come(o)
			return err
		}
		if p.stepping != nil && p.lastStep(rec) {
			p.come(o + 1)
			if err := p.flushAll(ctx); err != nil {
				return err
			}
			return errStepped
		}
	}
	return w.Err()
}

// lastStep counts a step and reports whether it was the last.
func (p *Player) lastStep(rec wire.Record) bool {
	p.steps, p.stepped = p.steps-1, p.stepped+1
	p.resume = tapeTime{p.time(rec), true}
	p.progress.clock.stands(p.resume.at)
	return p.steps == 0
}

// wentOut reports whether a record before taken is behind its shard, or was left
// out.
func (p *Player) wentOut(rec wire.Record, tapeShard int, o wire.Ordinal) bool {
	return o < p.next[p.shardOf(rec, tapeShard)] || !p.filter.Match(rec.Topic())
}

// shardOf returns a record's shard in the stream. Where the tape has as many, it is
// the tape's, so that records and blocks go out on the same.
func (p *Player) shardOf(rec wire.Record, tapeShard int) int {
	if p.asTape {
		return tapeShard
	}
	return int(p.shards.Of(rec.Topic()))
}

// checkEvery is how many records pass between looks at the context.
const checkEvery = 1 << 12

// notDue is the due moment of what goes out as soon as it can.
const notDue = int64(-1)

// untilDue waits until a record of tape time t is due. The clock is read only
// when the record is not known to be due already. Before it waits, everything
// that was due goes out, but for a window that is not full.
func (p *Player) untilDue(ctx context.Context, t wire.Nanos, now int64) (int64, int64, error) {
	if !p.pace.anchored {
		start := t
		if p.resume.known {
			start = p.resume.at // play goes on where the tape's clock stood still
		}
		now = p.wait.now()
		p.pace.anchor(start, now)
		p.progress.clock.runs(p.pace.tape, p.wall+wire.Nanos(p.pace.mono))
	}
	due := p.pace.due(t)
	if due <= now {
		return now, due, nil
	}
	if now = p.wait.now(); due <= now {
		return now, due, nil
	}
	if !p.inStep() {
		if err := p.flushAll(ctx); err != nil {
			return now, due, err
		}
	}
	for now = p.wait.now(); now < due; {
		if ctx.Err() != nil {
			return now, due, context.Cause(ctx)
		}
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
		if err := p.flushFull(ctx, s); err != nil {
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
	if due != notDue {
		b.dues = append(b.dues, due)
	}
	if p.inStep() {
		p.count()
	}
	return nil
}

// flushFull makes room in a shard's batch that is full.
func (p *Player) flushFull(ctx context.Context, s int) error {
	if p.inStep() {
		return p.sendWindow(ctx)
	}
	return p.flush(ctx, s)
}

// takeBuffer returns an empty buffer, waiting while all are lent.
func (p *Player) takeBuffer(ctx context.Context, need int) (*buffer, error) {
	for {
		b, err := p.pool.take(need)
		if err != nil {
			return nil, err
		}
		if b != nil {
			b.refs.Store(1)
			return b, nil
		}
		if err := p.cfg.Publisher.Tick(ctx); err != nil {
			return nil, err
		}
		p.wait.until(p.wait.now()+int64(poolWait), poolWait)
	}
}

// flushAll sends what was gathered.
func (p *Player) flushAll(ctx context.Context) error {
	if p.inStep() {
		return p.sendWindow(ctx)
	}
	for s := range p.open {
		if err := p.flush(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// flush sends a shard's open batch. Where it returns an error, the batch did not go
// out and stays open.
func (p *Player) flush(ctx context.Context, s int) error {
	b := p.open[s]
	if b == nil {
		return nil
	}
	due := wire.Nanos(0)
	if len(b.dues) > 0 {
		due = p.wall + wire.Nanos(b.dues[0])
	}
	p.batch = b.batch(due)
	p.batch.Flags = p.flags
	// One more reference: the buffer is needed after the batch has gone out, and
	// also where it has not.
	b.refs.Add(1)
	if err := p.cfg.Publisher.Send(ctx, s, &p.batch, b); err != nil {
		return err
	}
	p.open[s] = nil
	if len(b.dues) > 0 {
		now := p.wait.now()
		p.pace.sent(b.dues, now)
		p.progress.clock.runs(p.pace.tape, p.wall+wire.Nanos(p.pace.mono))
	}
	p.sent(s, b.first, b.last, b.time)
	b.Release()
	return nil
}
