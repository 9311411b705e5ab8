package snail

import (
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// LadderConfig is what a Ladder is made from. The zero value of a field means
// its default.
type LadderConfig struct {
	// Policy is what the reader does when it is too slow. Default PolicyWarn.
	Policy Policy
	// Shards is how many there are. At least 1.
	Shards int
	// Reader and Name are the reader's, for its squawks.
	Reader wire.ReaderID
	Name   string
	// Calm is how long a shard that is conflated must have had no record to skip
	// before it is conflated no more. Default 5 s.
	Calm time.Duration
}

const ladderCalmDefault = 5 * time.Second

// Ladder turns a reader's verdicts into what the reader does, one step at a time:
// with PolicyConflate shard by shard, with PolicySkip and PolicyDie as a whole.
// It belongs to one goroutine.
//
// While a shard is conflated its receive loop is never held up, so its lag says
// nothing about the handler. What does is whether conflation had anything to
// skip: when for a while it had not, the handler keeps up with the whole stream.
type Ladder struct {
	cfg      LadderConfig
	rungs    []rung
	skipping bool
	dead     bool
}

// rung is where a shard stands.
type rung struct {
	verdict    Verdict
	conflating bool
	skipped    uint64     // records that conflation skipped, when it last skipped any
	calm       wire.Nanos // since when it has skipped none, mono
}

// NewLadder checks cfg.
func NewLadder(cfg LadderConfig) (*Ladder, error) {
	switch {
	case cfg.Shards < 1:
		return nil, fmt.Errorf("snail: %d shards, want 1 or more", cfg.Shards)
	case int(cfg.Policy) >= len(policyWords):
		return nil, fmt.Errorf("snail: policy %v is not known", cfg.Policy)
	case cfg.Calm < 0:
		return nil, errors.New("snail: the time to be calm is negative")
	case cfg.Calm == 0:
		cfg.Calm = ladderCalmDefault
	}
	return &Ladder{cfg: cfg, rungs: make([]rung, cfg.Shards)}, nil
}

// Take takes in how a shard fares, and how many of its records conflation has
// skipped so far (0 without it). Where that changes anything it returns a squawk
// with the action to take, and true. After ActDie it says nothing more. Call it
// after each Tick of the meter.
func (l *Ladder) Take(now Instant, shard int, s Status, skipped uint64) (Squawk, bool) {
	if l.dead {
		return Squawk{}, false
	}
	r := &l.rungs[shard]
	act := l.act(r, s.Verdict)
	if act == ActNone && r.conflating && r.calmed(now.Mono, s.Verdict, skipped, l.cfg.Calm) {
		act, r.conflating = ActResume, false
	}
	if act == ActConflate {
		r.conflating, r.skipped, r.calm = true, skipped, now.Mono
	}
	if act == ActNone && s.Verdict == r.verdict {
		return Squawk{}, false
	}
	k := Squawk{
		Time: now.Wall, Reader: hexID(l.cfg.Reader), Name: l.cfg.Name, Shard: shard,
		Verdict: s.Verdict, Before: r.verdict, Cause: s.Cause, Action: act,
		LagNs: int64(s.Lag), Lost: s.Lost, SkewNs: int64(s.Skew),
	}
	r.verdict = s.Verdict
	return k, true
}

// act is what a change of verdict asks for.
func (l *Ladder) act(r *rung, v Verdict) Action {
	switch {
	case v == r.verdict || v < r.verdict && !v.Slow():
		return ActNone
	case !v.Slow():
		return ActWarn
	}
	switch l.cfg.Policy {
	case PolicyConflate:
		if !r.conflating {
			return ActConflate
		}
	case PolicySkip:
		if !l.skipping {
			l.skipping = true
			return ActSkip
		}
	case PolicyDie:
		l.dead = true
		return ActDie
	}
	if v > r.verdict {
		return ActWarn
	}
	return ActNone
}

// calmed reports whether the handler keeps up with the whole stream.
func (r *rung) calmed(now wire.Nanos, v Verdict, skipped uint64, calm time.Duration) bool {
	if skipped != r.skipped || v.Slow() {
		r.skipped, r.calm = skipped, now
	}
	return since(r.calm, now) >= calm
}

// Skipped ends what ActSkip began: the snapshot is there and the reader goes on
// behind it. What the shards' meters saw before says nothing any more: call
// Meter.Forgive as well.
func (l *Ladder) Skipped() {
	l.skipping = false
	for i := range l.rungs {
		l.rungs[i].verdict = OK
	}
}

// Conflating reports whether a shard is conflated.
func (l *Ladder) Conflating(shard int) bool { return l.rungs[shard].conflating }
