package replay

import (
	"context"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// Range is a part of the tape, from a place up to another.
type Range struct{ From, To Target }

// Loop goes to a and plays what lies between a and b, [a, b), again and again. Every
// round is a new epoch of the stream, with reason "loop", that begins with every topic's
// last values before a, as after a seek. Paced, idle time before b passes in each round
// as it does on the tape, where b is a time by the player's clock. Rounds begin at
// least 10 ms apart.
//
// The loop goes on until Unloop, another Loop, or a Seek to a place outside of it. A
// round that sends nothing, because no topic in it is played, leaves the player held
// until a command changes that. A player that is paused stands still between two
// rounds, too.
//
// Loop returns when the first round's epoch has begun. The error wraps ErrBeyond where
// no record lies between a and b.
func (p *Player) Loop(ctx context.Context, a, b Target) error {
	s, err := p.resolveLoop(ctx, Range{a, b})
	if err != nil {
		return err
	}
	return p.orders.give(ctx, "loop", func(o *order) {
		p.overrule()
		s.order, p.seek = o, s
	})
}

// Unloop makes the player go on behind the loop's end, in the same epoch. Where there
// is no loop it does nothing.
func (p *Player) Unloop(ctx context.Context) error {
	return p.orders.give(ctx, "unloop", func(o *order) {
		if p.seek != nil && p.seek.loop != nil {
			p.seek.order.through(ErrOverruled)
			p.seek = nil
		}
		if p.loop != nil {
			p.loop, p.round, p.ended = nil, 0, false
		}
		p.show()
		o.through(nil)
	})
}

// roundMin is how long after a round the next one begins at the earliest: one that
// is over at once must not fill the stream with epochs.
const roundMin = 10 * time.Millisecond

// loop is a part of the tape that is played again and again. It does not change.
type loop struct {
	from, to         wire.Ordinal      // places in a pass, [from, to)
	fromTime, toTime wire.Nanos        // see State
	waits            bool              // at a pace, a round lasts until toTime
	start            wire.SessionStart // of each round
}

// rounds is how a player goes about a loop.
type rounds struct {
	loop         *loop  // nil: there is none
	loopPass     int    // that it is in
	round        uint64 // from 0
	roundBegan   int64  // by the waiter's clock
	roundWhole   bool   // it began at the loop's start, and plays what it began with
	roundRecords uint64 // what had been sent before
}

// resolveLoop finds the places of a loop.
func (p *Player) resolveLoop(ctx context.Context, r Range) (*seek, error) {
	s, err := p.resolve(ctx, r.From)
	if err != nil {
		return nil, err
	}
	s.start.Reason = "loop"
	l := &loop{from: s.place, fromTime: s.time, start: s.start}
	at, clock := p.moment(r.To)
	if l.to, err = p.source.Find(clock, at, l.from); err != nil {
		return nil, err
	}
	if l.to == l.from {
		return nil, fmt.Errorf("%w: no record from %v up to %v", ErrBeyond, s.start.At, at)
	}
	s.loop = l
	if l.to == p.ordinals.span {
		return s, nil
	}
	if l.waits = clock == p.cfg.Clock; l.waits {
		l.toTime = at
		return s, nil
	}
	l.toTime, _, err = p.timeOf(l.to)
	return s, err
}

// timeOf returns the time, by the player's clock, of the first record that is played
// at or behind a place in a pass. ok is false where there is none.
func (p *Player) timeOf(place wire.Ordinal) (t wire.Nanos, ok bool, err error) {
	w, err := p.source.Walk(tape.ReadConfig{Clock: p.cfg.Clock, From: p.cfg.From, To: p.cfg.To}, place)
	if err != nil {
		return 0, false, err
	}
	defer w.Close()
	var it Item
	if !w.Next(&it) {
		return 0, false, w.Err()
	}
	return p.time(it.Record), true, nil
}

// enter begins a round of a loop, the first one or another; pass is the one that is
// played.
func (r *rounds) enter(l *loop, again bool, pass int, now int64, records uint64) {
	if again {
		r.round++
	} else {
		r.loop, r.loopPass, r.round = l, pass, 0
	}
	r.roundBegan, r.roundWhole, r.roundRecords = now, true, records
}

// leave says that play has gone to another place, or plays other topics.
func (r *rounds) leave(place wire.Ordinal) {
	if r.loop != nil && (place < r.loop.from || place >= r.loop.to) {
		r.loop, r.round = nil, 0
	}
	r.roundWhole = false
}

// endRound waits, at a pace, until a round's end is due. Everything in it has gone out.
func (p *Player) endRound(ctx context.Context) error {
	if p.pace != nil && p.loop.waits {
		if _, _, err := p.untilDue(ctx, p.loop.toTime, 0); err != nil {
			p.standStill()
			return err
		}
		p.unanchor()
	}
	return nil
}

// nextRound is what comes at the end of a round.
func (p *Player) nextRound() error {
	if p.roundWhole && p.report.Records == p.roundRecords {
		p.ended = true // the next one would find the same
		return errMore
	}
	p.seek = &seek{start: p.loop.start, place: p.loop.from, time: p.loop.fromTime, loop: p.loop, again: true}
	return errMore
}

// betweenRounds waits until the next round may begin.
func (p *Player) betweenRounds(ctx context.Context) error {
	for {
		left := p.roundBegan + int64(roundMin) - p.wait.now()
		if left <= 0 {
			return nil
		}
		if err := p.cfg.Publisher.Tick(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p.wait.until(p.wait.now()+left, tickEvery)
	}
}
