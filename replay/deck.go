package replay

import (
	"context"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// A player takes commands while Run runs, from any goroutine, and before it runs;
// those given before are carried out when it does. Each returns when it has taken
// effect, or with an error and no effect, except that a command whose context
// ends may still take effect later. Commands of one goroutine are carried out in
// order.
//
// A command acts on what the publisher is given. What it was given before, and
// readers have not yet taken from their queues, they still get.

// Target is the place that a seek goes to.
type Target struct {
	Time     wire.Nanos    // by Clock, where the target is not relative
	Clock    tape.Clock    // of Time
	Offset   time.Duration // from the latest record that went out, by the player's clock
	Relative bool          // Offset counts, Time and Clock do not
}

// ToTime is the first record, in the tape's one order, whose time is at or after t.
// A time before all that is played means its start.
func ToTime(t wire.Nanos, c tape.Clock) Target { return Target{Time: t, Clock: c} }

// By is d further on, or back where d is negative.
func By(d time.Duration) Target { return Target{Offset: d, Relative: true} }

// Seek goes to a place of the tape. The publisher begins a new epoch; then come
// every topic's last values before the place, unless Config.NoSnapshot says no, and
// then the records from the place on, the first of them without delay, at the
// pace that was set. A player that is paused sends the last values and stays
// paused; one that is held at the tape's end plays on. Passes that are behind are
// not played again.
//
// Seek returns when the new epoch has begun. The error wraps ErrBeyond where
// nothing is left to play there.
func (p *Player) Seek(ctx context.Context, to Target) error {
	s, err := p.resolve(ctx, to)
	if err != nil {
		return err
	}
	return p.orders.give(ctx, "seek", func(o *order) {
		p.overrule()
		s.order, p.seek = o, s
	})
}

// Pause makes the player stand still. What it has gathered and not sent it will
// send when it goes on. A player that is paused stays so.
func (p *Player) Pause(ctx context.Context) error {
	return p.orders.give(ctx, "pause", func(o *order) {
		p.overruleSteps()
		p.paused = true
		p.show()
		o.through(nil)
	})
}

// Resume makes a paused player go on. Paced, it waits as long for the next record
// as it would have had to when it was paused.
func (p *Player) Resume(ctx context.Context) error {
	return p.orders.give(ctx, "resume", func(o *order) {
		p.overruleSteps()
		p.paused = false
		p.show()
		o.through(nil)
	})
}

// Step pauses the player and sends the next n records in the tape's one order,
// whatever their time, and returns when they have been sent. Where the tape ends
// before, it returns what Run would end with: nil, or ErrBeyond where there was no
// record at all.
func (p *Player) Step(ctx context.Context, n int) error {
	if n < 1 {
		return fmt.Errorf("replay: %d steps, want 1 or more", n)
	}
	return p.orders.give(ctx, "step", func(o *order) {
		p.overruleSteps()
		p.paused, p.stepping, p.steps, p.stepped = true, o, n, 0
		p.show()
	})
}

// SetSpeed changes the pace from here on.
func (p *Player) SetSpeed(ctx context.Context, s Speed) error {
	if err := s.check(); err != nil {
		return err
	}
	return p.orders.give(ctx, "speed", func(o *order) {
		p.setSpeed(s)
		p.show()
		o.through(nil)
	})
}

// SetSqueeze sets Config.Squeeze from here on; 0 leaves idle stretches as they are.
func (p *Player) SetSqueeze(ctx context.Context, d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("replay: idle stretches of %v", d)
	}
	return p.orders.give(ctx, "squeeze", func(o *order) {
		p.setSqueeze(d)
		p.show()
		o.through(nil)
	})
}

// Stop ends play where it is and returns when Run has returned: with ErrStopped, or
// where the player is held at the tape's end as if it had not been held.
func (p *Player) Stop(ctx context.Context) error {
	p.orders.end(ErrStopped)
	select {
	case <-p.orders.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// overrule makes way for a seek.
func (p *Player) overrule() {
	p.overruleSteps()
	if p.seek != nil {
		p.seek.order.through(ErrOverruled)
		p.seek = nil
	}
}

func (p *Player) overruleSteps() {
	p.stepping.through(ErrOverruled)
	p.stepping, p.steps = nil, 0
}

func (p *Player) setSpeed(s Speed) {
	p.speed, p.pace = s, nil
	if s == Max {
		p.resume = tapeTime{}
		return
	}
	if p.pacer == nil {
		p.pacer = newPacer(s)
		p.pacer.left = &p.progress.Squeezed
		p.pacer.late = p.late
	}
	p.pacer.speed, p.pacer.squeeze, p.pace = s, wire.Nanos(p.squeeze), p.pacer
}

func (p *Player) setSqueeze(d time.Duration) {
	p.squeeze = d
	if p.pacer != nil {
		p.pacer.squeeze = wire.Nanos(d)
	}
}
