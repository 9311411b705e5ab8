package merge

import (
	"fmt"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// SameError: records are on two of the tapes, so each of them would come twice.
type SameError struct {
	First, Second int // which tapes, from 0
	Span          tape.SeqSpan
}

// Error implements error.
func (e *SameError) Error() string {
	return fmt.Sprintf("merge: tapes %d and %d are of one recording and both have sequences [%d, %d) of shard %d, epoch %d",
		e.First+1, e.Second+1, e.Span.From, e.Span.To, e.Span.Shard, uint64(e.Span.Epoch))
}

// ClockError: a tape has no times of the clock, and others have.
type ClockError struct {
	Tape  int // which, from 0
	Clock tape.Clock
}

// Error implements error.
func (e *ClockError) Error() string {
	return fmt.Sprintf("merge: tape %d has no %v times, and others have", e.Tape+1, e.Clock)
}

// check refuses tapes that do not make one order.
func check(tapes []*tape.Tape, c tape.Clock) error {
	with, without := -1, -1
	for i, t := range tapes {
		switch has, any := hasTimes(t, c); {
		case !any:
		case has:
			with = i
		case without < 0:
			without = i
		}
	}
	if with >= 0 && without >= 0 {
		return &ClockError{without, c}
	}
	ids := make([]tape.ID, len(tapes))
	for i, t := range tapes {
		info, err := t.Info()
		if err != nil {
			return err
		}
		ids[i] = info.ID
		for j := range i {
			if ids[j] != ids[i] {
				continue
			}
			if span, ok := overlap(tapes[j], t); ok {
				return &SameError{j, i, span}
			}
		}
	}
	return nil
}

// hasTimes reports whether a tape has times of a clock, and whether it has any
// records.
func hasTimes(t *tape.Tape, c tape.Clock) (has, any bool) {
	for n := range t.Blocks() {
		b := t.Block(n)
		any = true
		if s := spanOf(&b, c); s != (tape.Span{}) && (c != tape.ClockSend || !b.NoSend) {
			return true, true
		}
	}
	return false, any
}

// overlap returns sequences that both tapes have.
func overlap(a, b *tape.Tape) (tape.SeqSpan, bool) {
	type stream struct {
		epoch wire.Epoch
		shard int
	}
	spans := map[stream][]tape.SeqSpan{}
	for _, x := range a.Extents() {
		k := stream{x.Epoch, x.Shard}
		spans[k] = append(spans[k], x)
	}
	for _, y := range b.Extents() {
		for _, x := range spans[stream{y.Epoch, y.Shard}] {
			if from, to := max(x.From, y.From), min(x.To, y.To); from < to {
				return tape.SeqSpan{Epoch: y.Epoch, Shard: y.Shard, From: from, To: to}, true
			}
		}
	}
	return tape.SeqSpan{}, false
}
