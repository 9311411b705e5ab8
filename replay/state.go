package replay

import (
	"sync"

	"github.com/tapedeck/tapedeck/wire"
)

// Phase is what a player is doing.
type Phase int

// The phases.
const (
	Waiting Phase = iota // for readers, or for Run
	Playing
	Paused
	Held     // at the end of the tape; see Config.Hold
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
	Phase Phase
	Speed Speed
	Epoch wire.Epoch // of the stream; 0 where the publisher does not say
	Pass  int        // from 0
	// Time is the tape time of the latest record that went out, by the player's
	// clock; after a seek, of the next one.
	Time wire.Nanos
	// Ordinal is a place in the tape's one order, counted from 0 through all of its
	// epochs: everything before it has gone out. At full speed, when each shard is
	// played by itself, some of what follows has, too.
	Ordinal wire.Ordinal
}

// status is what State says. The player writes it when something changes that is
// not a matter of every batch.
type status struct {
	mu    sync.Mutex
	phase Phase
	speed Speed
	epoch *sentEpoch // nil before the first
	lanes bool       // each shard is played by itself
}

// State returns where the player is. Any goroutine may call it.
func (p *Player) State() State {
	p.status.mu.Lock()
	defer p.status.mu.Unlock()
	st := State{Phase: p.status.phase, Speed: p.status.speed, Time: wire.Nanos(p.progress.Time.Load())}
	if e := p.status.epoch; e != nil {
		st.Epoch = e.epoch
		st.Pass, st.Ordinal = p.ordinals.split(e.reached(p.status.lanes))
		if p.cfg.Passes > 0 && st.Pass >= p.cfg.Passes {
			st.Pass, st.Ordinal = p.cfg.Passes-1, p.ordinals.span
		}
	}
	return st
}

func (s *status) set(phase Phase, speed Speed) {
	s.mu.Lock()
	s.phase, s.speed = phase, speed
	s.mu.Unlock()
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
