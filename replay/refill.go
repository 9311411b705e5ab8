package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// A player is a source of what it has sent, for readers that missed some of it:
// the tape has all of it, and the player's history says where. Extents, Read and
// Find may be called from any goroutine, while Run runs and after it, until Close.
// They read by way of the tape opened once more, and take no lock that play takes.

// Extents lists the sequences that Read can give, per epoch and shard, oldest epoch
// first. The list is the caller's.
func (p *Player) Extents() []tape.SeqSpan {
	var list []tape.SeqSpan
	for _, e := range p.history.all() {
		for s, t := range e.trails {
			if next := t.next.Load(); next > 0 {
				list = append(list, tape.SeqSpan{Epoch: e.epoch, Shard: s, To: wire.Seq(next)})
			}
		}
	}
	return list
}

// errEmptyRange: a read that wants nothing.
var errEmptyRange = errors.New("replay: the range of sequences is empty")

// Read returns records as they were sent: a batch whose first record has sequence
// from, of at least one record, none of them at or after to, with about max bytes
// of payload at most (one record may be larger; 0 or below means the player's
// batch size, which is the most in any case). A batch has last values only, and
// FlagSnapshotBatch, or none. Of the header, send time, due time and rolling hash
// are not set. The batch is the caller's until release, which must be called once.
//
// The error is a *tape.SeqError where the player has not sent, or does not remember,
// sequence from.
func (p *Player) Read(ctx context.Context, epoch wire.Epoch, shard int, from, to wire.Seq, max int) (wire.Batch, func(), error) {
	if err := ctx.Err(); err != nil {
		return wire.Batch{}, nil, err
	}
	if to <= from {
		return wire.Batch{}, nil, errEmptyRange
	}
	e, latest, err := p.history.find(epoch)
	if err == nil && uint(shard) >= uint(len(e.trails)) {
		err = tape.ErrUnknownEpoch
	}
	if err == nil {
		if next := wire.Seq(e.trails[shard].next.Load()); from >= next {
			if err = tape.ErrGone; latest {
				err = tape.ErrNotYet
			}
		} else if to > next {
			to = next
		}
	}
	if err != nil {
		return wire.Batch{}, nil, &tape.SeqError{SeqSpan: tape.SeqSpan{Epoch: epoch, Shard: shard, From: from, To: from}, Err: err}
	}
	if max <= 0 || max > p.cfg.BatchBytes {
		max = p.cfg.BatchBytes
	}
	return p.read(ctx, e, shard, from, to, max)
}

// read is Read for records that were sent.
func (p *Player) read(ctx context.Context, e *sentEpoch, shard int, from, to wire.Seq, max int) (b wire.Batch, release func(), err error) {
	w, err := p.rewindTo(ctx, e, shard, from)
	if err != nil {
		return b, nil, err
	}
	defer w.close()
	batch := takeSpare(max)
	end, lead := from, w.lead
	for {
		if batch.count > 0 && len(w.rec)+batch.payload > max || !batch.fits(len(w.rec)) && !batch.widen(len(w.rec)) {
			break
		}
		batch.add(w.rec, w.ordinal)
		if w.ordinal < lead {
			batch.markLast()
		}
		if end++; end == to {
			break
		}
		before := w.ordinal
		if w.next(ctx) != nil {
			break // whoever wants that record is told
		}
		if before < lead && w.ordinal >= lead {
			break // records after last values
		}
	}
	p.history.hints.put(hint{e: e, shard: shard, point: point{seq: end, ordinal: batch.last + 1}})
	b = batch.batch(0)
	if batch.first < lead {
		b.Flags = wire.FlagSnapshotBatch
	}
	b.Epoch, b.Shard, b.Shards, b.FirstSeq = e.epoch, uint16(shard), uint16(len(e.trails)), from
	b.PayloadSize, b.OrderSize = uint32(len(b.Payload)), uint32(len(b.Order))
	return b, batch.giveBack, nil
}

// Find lists what was sent of the time from t on, per shard in the order in which
// it was sent: in each epoch everything from the first record on, in the tape's one
// order, whose time by that clock, "receive" or "event", is at or after t. An epoch
// that began at such a time counts with its last values. By the clock "send", t is
// when the player sent the records; then up to a thousand records, of long epochs
// more, that went before may come along. The list is the caller's.
func (p *Player) Find(ctx context.Context, t wire.Nanos, clock string) ([]tape.SeqSpan, error) {
	c, err := tape.ParseClock(clock)
	if err != nil {
		return nil, err
	}
	var list []tape.SeqSpan
	epochs := p.history.all()
	for i, e := range epochs {
		if c == tape.ClockSend {
			if i+1 == len(epochs) || epochs[i+1].began > t {
				list = append(list, e.sentFrom(t)...)
			}
			continue
		}
		spans, err := p.findIn(ctx, e, c, t)
		if err != nil {
			return nil, err
		}
		list = append(list, spans...)
	}
	slices.SortStableFunc(list, func(a, b tape.SeqSpan) int { return a.Shard - b.Shard })
	return list, nil
}

// sentFrom lists what was sent from a moment on.
func (e *sentEpoch) sentFrom(t wire.Nanos) []tape.SeqSpan {
	var list []tape.SeqSpan
	for s, trail := range e.trails {
		next := wire.Seq(trail.next.Load())
		pt, ok := trail.before(func(pt *point) bool { return pt.sent >= t })
		if ok && next > pt.seq {
			list = append(list, tape.SeqSpan{Epoch: e.epoch, Shard: s, From: pt.seq, To: next})
		}
	}
	return list
}

// findIn is Find in one epoch, by a clock of the records.
func (p *Player) findIn(ctx context.Context, e *sentEpoch, c tape.Clock, t wire.Nanos) ([]tape.SeqSpan, error) {
	place, ok, err := p.firstSince(e, c, t)
	if err != nil || !ok {
		return nil, err
	}
	var list []tape.SeqSpan
	for s, trail := range e.trails {
		span := tape.SeqSpan{Epoch: e.epoch, Shard: s, To: wire.Seq(trail.next.Load())}
		if place > e.start {
			if span.From, err = p.seqAt(ctx, e, s, place, span.To); err != nil {
				return nil, err
			}
		}
		if span.Len() > 0 {
			list = append(list, span)
		}
	}
	return list, nil
}

// firstSince returns the place of an epoch's first record whose time is at or after
// t, where it has gone out.
func (p *Player) firstSince(e *sentEpoch, c tape.Clock, t wire.Nanos) (wire.Ordinal, bool, error) {
	if p.ordinals.span == 0 {
		return 0, false, nil
	}
	src := p.history.source(p.source)
	pass, rest := p.ordinals.split(e.start)
	for range 2 { // what is not in the rest of a pass is in the next one, or in none
		found, err := src.Find(c, t, rest)
		if err != nil {
			return 0, false, err
		}
		if found < p.ordinals.span {
			place := wire.Ordinal(pass)*p.ordinals.span + found
			return place, place == e.start || place < e.furthest(), nil
		}
		pass, rest = pass+1, 0
	}
	return 0, false, nil
}

// seqAt returns the sequence of a shard's first record at or behind a place; or to,
// where that comes first.
func (p *Player) seqAt(ctx context.Context, e *sentEpoch, shard int, place wire.Ordinal, to wire.Seq) (wire.Seq, error) {
	lead := wire.Ordinal(e.lead.Load())
	pt, ok := e.trails[shard].before(func(pt *point) bool { return pt.ordinal > lead+place })
	if !ok || pt.seq >= to {
		return to, nil
	}
	w, err := p.rewindTo(ctx, e, shard, pt.seq)
	if err != nil {
		return 0, fmt.Errorf("replay: find: %w", err)
	}
	defer w.close()
	seq := pt.seq
	for w.ordinal < lead+place {
		if seq++; seq == to {
			break
		}
		if err := w.next(ctx); err != nil {
			return 0, fmt.Errorf("replay: find: %w", err)
		}
	}
	return seq, nil
}
