package replay

import (
	"context"
	"fmt"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// seek is a seek whose place was found.
type seek struct {
	order *order
	start wire.SessionStart
	place wire.Ordinal // of the first record to be played, in a pass
	time  wire.Nanos   // its time by the player's clock
	loop  *loop        // that begins there, or nil
	again bool         // with its next round
}

// resolve finds the place of a target. It runs beside play, which may still go on
// undisturbed where there is no such place.
func (p *Player) resolve(ctx context.Context, to Target) (*seek, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if p.ordinals.span == 0 {
		return nil, fmt.Errorf("%w: the tape is empty", ErrBeyond)
	}
	at, clock := p.moment(to)
	place, err := p.placeOf(clock, at)
	if err != nil {
		return nil, err
	}
	w, err := p.source.Walk(tape.ReadConfig{Clock: p.cfg.Clock, From: p.cfg.From, To: p.cfg.To}, place)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	var first Item
	if !w.Next(&first) {
		if w.Err() != nil {
			return nil, w.Err()
		}
		return nil, fmt.Errorf("%w: nothing at or after %v", ErrBeyond, at)
	}
	w.Prefetch()
	return &seek{
		start: wire.SessionStart{Reason: "seek", At: at, Clock: clock.String(), Snapshot: !p.cfg.NoSnapshot},
		place: first.Place, time: p.time(first.Record),
	}, nil
}

// moment is the time that a target means, and the clock that it is by.
func (p *Player) moment(to Target) (wire.Nanos, tape.Clock) {
	if to.Relative {
		return later(p.from(), wire.Nanos(to.Offset)), p.cfg.Clock
	}
	return to.Time, to.Clock
}

// placeOf returns the place of the first record in the tape's one order that comes
// neither before a time nor before the start of what is played.
func (p *Player) placeOf(clock tape.Clock, at wire.Nanos) (wire.Ordinal, error) {
	place := wire.Ordinal(0)
	bounds := []struct {
		clock tape.Clock
		at    wire.Nanos
	}{{p.cfg.Clock, p.cfg.From}, {clock, at}}
	if p.cfg.From == 0 {
		bounds = bounds[1:]
	}
	for _, b := range bounds {
		var err error
		if place, err = p.source.Find(b.clock, b.at, place); err != nil {
			return 0, err
		}
		if place == p.ordinals.span {
			return 0, fmt.Errorf("%w: nothing at or after %v", ErrBeyond, b.at)
		}
	}
	return place, nil
}

// from is the tape time that a relative target counts from.
func (p *Player) from() wire.Nanos {
	if t := p.progress.Time.Load(); t != 0 {
		return wire.Nanos(t)
	}
	if p.cfg.From != 0 {
		return p.cfg.From
	}
	w, err := p.source.Walk(tape.ReadConfig{}, 0)
	if err != nil {
		return 0 // whoever reads on is told why
	}
	defer w.Close()
	var first Item
	if !w.Next(&first) {
		return 0 // likewise
	}
	return p.time(first.Record)
}

// later adds two times; where the sum does not fit, it is as far as can be.
func later(t, d wire.Nanos) wire.Nanos {
	sum := t + d
	switch {
	case d > 0 && sum < t:
		return wire.NanosMax
	case d < 0 && sum > t:
		return wire.NanosMin
	}
	return sum
}

// begin begins the epoch of a seek.
func (p *Player) begin(ctx context.Context) error {
	pub, ok := p.cfg.Publisher.(EpochPublisher)
	if !ok {
		if p.seek.order == nil {
			return ErrNoEpochs // Config.Loop
		}
		p.seek.order.through(ErrNoEpochs)
		p.seek = nil
		return errMore
	}
	if p.seek.again {
		if err := p.betweenRounds(ctx); err != nil {
			return err
		}
	}
	if err := pub.Begin(ctx, p.seek.start); err != nil {
		return err
	}
	s := p.seek
	p.seek = nil
	p.stopLast()
	p.drop()
	pass := p.passNow()
	switch {
	case s.loop != nil:
		p.enter(s.loop, s.again, pass, p.wait.now(), p.report.Records)
		p.report.Rounds++
	default:
		p.leave(s.place)
		p.report.Seeks++
	}
	p.startEpoch(s.place+wire.Ordinal(pass)*p.ordinals.span, lastPlace{place: s.place, known: !p.cfg.NoSnapshot})
	p.status.lanesAre(false)
	p.ended, p.resume = false, tapeTime{}
	p.progress.clock.stands(0)
	p.progress.Time.Store(int64(s.time))
	return p.begun(pub.Epoch(), s.order)
}

// begun says that the epoch at hand has begun, and how it is called.
func (p *Player) begun(epoch wire.Epoch, o *order) error {
	defer p.because(o)()
	p.nameEpoch(epoch)
	var err error
	if p.epoch.asOf.known {
		err = p.startLast()
	}
	o.through(err)
	if err != nil {
		return err
	}
	return errMore
}

// passNow is the pass that is being played; after the last one, the last.
func (p *Player) passNow() int {
	if p.loop != nil {
		return p.loopPass
	}
	pass, _ := p.ordinals.split(p.standing())
	if p.cfg.Passes >= 0 {
		pass = min(pass, p.cfg.Passes-1)
	}
	return pass
}
