package replay

import (
	"context"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// Phase is what a player is doing.
type Phase int

// The phases.
const (
	Waiting Phase = iota // for readers, or for Run
	Playing
	Paused
	Held     // at the end of the tape, see Config.Hold; or in a loop that has nothing to play
	Finished // Run has nothing more to play
)

var phaseNames = [...]string{Waiting: "waiting", Playing: "playing", Paused: "paused", Held: "held", Finished: "finished"}

// String returns the phase's name.
func (p Phase) String() string {
	if uint(p) < uint(len(phaseNames)) {
		return phaseNames[p]
	}
	return "unknown"
}

// State is where a player is.
type State struct {
	// Version is one greater after each change of anything but Time, Ordinal, Pass,
	// Records and Squeezed, which go on by themselves.
	Version uint64
	Phase   Phase
	Speed   Speed
	Epoch   wire.Epoch // of the stream; 0 where the publisher does not say
	Pass    int        // over the tape, from 0
	// Time is the tape time of the latest record that went out, by the player's
	// clock; after a seek, of the next one.
	Time wire.Nanos
	// Ordinal is a place in the tape's one order, counted from 0 through all of its
	// epochs: everything before it has gone out. At full speed, when each shard is
	// played by itself, some of what follows has, too.
	Ordinal wire.Ordinal
	Records uint64 // sent so far, over all passes, last values not counted

	Looping  bool       // what follows is set
	LoopFrom wire.Nanos // time of its first record, by the player's clock
	// LoopTo is where it ends: as it was given or, where that was by another clock,
	// the time of the first record behind it. 0 where nothing lies behind it.
	LoopTo wire.Nanos
	Round  uint64 // of the loop, from 0

	Topics   []string      // prefixes of what is played; none: everything. Not to be changed
	Squeeze  time.Duration // what longer idle stretches last; 0: they last what they last
	Squeezed time.Duration // idle tape time that was left out so far
}

// view is what others see of a player. It is comparable, and what it points to does
// not change.
type view struct {
	phase   Phase
	speed   Speed
	loop    *loop
	round   uint64
	topics  *topics
	squeeze time.Duration
	epoch   *sentEpoch // nil before the first
	named   wire.Epoch // its number, once it has one
}

// status is what State says. The player writes it when something changes that is
// not a matter of every batch.
type status struct {
	mu      sync.Mutex
	view    view
	version uint64
	lanes   bool          // each shard is played by itself
	changed chan struct{} // closed at the next change; nil where nobody waits for it
}

// State returns where the player is. Any goroutine may call it.
func (p *Player) State() State {
	p.status.mu.Lock()
	defer p.status.mu.Unlock()
	return p.state()
}

// Wait returns where the player is as soon as its version is another than since, which
// may be at once. Where no change can come any more, it returns ErrFinished with the
// state. Any goroutine may call it.
func (p *Player) Wait(ctx context.Context, since uint64) (State, error) {
	for {
		p.status.mu.Lock()
		st := p.state()
		if st.Version != since || st.Phase == Finished {
			p.status.mu.Unlock()
			if st.Version == since {
				return st, ErrFinished
			}
			return st, nil
		}
		if p.status.changed == nil {
			p.status.changed = make(chan struct{})
		}
		changed := p.status.changed
		p.status.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return st, context.Cause(ctx)
		}
	}
}

// state is State for who holds the lock.
func (p *Player) state() State {
	v := &p.status.view
	st := State{
		Version: p.status.version, Phase: v.phase, Speed: v.speed, Time: wire.Nanos(p.progress.Time.Load()),
		Records: p.progress.Records.Load(), Round: v.round, Topics: v.topics.prefixes,
		Squeeze: v.squeeze, Squeezed: time.Duration(p.progress.Squeezed.Load()),
	}
	if v.loop != nil {
		st.Looping, st.LoopFrom, st.LoopTo = true, v.loop.fromTime, v.loop.toTime
	}
	if e := v.epoch; e != nil {
		st.Epoch = e.epoch
		st.Pass, st.Ordinal = p.ordinals.split(e.reached(p.status.lanes))
		if p.cfg.Passes > 0 && st.Pass >= p.cfg.Passes {
			st.Pass, st.Ordinal = p.cfg.Passes-1, p.ordinals.span
		}
	}
	return st
}

// set shows another view and reports whether it is another.
func (s *status) set(v view) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v == s.view {
		return false
	}
	s.view = v
	s.version++
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
	return true
}

func (s *status) lanesAre(on bool) {
	s.mu.Lock()
	s.lanes = on
	s.mu.Unlock()
}

// split takes a place that counts through all passes apart.
func (o *ordinals) split(place wire.Ordinal) (pass int, rest wire.Ordinal) {
	if o.span == 0 {
		return 0, 0
	}
	return int(place / o.span), place % o.span
}
