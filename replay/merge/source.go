package merge

import (
	"errors"
	"fmt"

	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// Source is several tapes as one. It implements replay.Source.
type Source struct {
	tapes  []*replay.TapeSource
	span   wire.Ordinal
	common *common
	own    []replay.Source // what Close closes
}

// common is what a source has in common with the same one opened once more.
type common struct {
	clock    tape.Clock
	indexes  []*index
	least    wire.Nanos // of all times
	greatest wire.Nanos
	topics   *sharedTopics
	tables   tables
	memory   memory
	ends     ends
}

// ErrNoTapes: there is nothing to play.
var ErrNoTapes = errors.New("merge: no tapes")

// New returns tapes as one source, in the order of a clock; by the send clock a
// record has the time of its block, or its receive time where none is known. The
// tapes are borrowed until Close, which leaves them open. Of closed tapes it reads
// indexes and lists of topics only.
//
// The error is a *SameError where records are on two of the tapes, a *ClockError
// where some of the tapes have no such times.
func New(tapes []*tape.Tape, clock tape.Clock) (*Source, error) {
	if len(tapes) == 0 {
		return nil, ErrNoTapes
	}
	if err := check(tapes, clock); err != nil {
		return nil, err
	}
	c := &common{clock: clock, least: wire.NanosMax, greatest: wire.NanosMin}
	s := &Source{common: c}
	for _, t := range tapes {
		source := replay.NewTapeSource(t)
		x := newIndex(source, clock)
		c.least, c.greatest = min(c.least, x.least), max(c.greatest, x.greatest())
		c.indexes = append(c.indexes, x)
		s.tapes = append(s.tapes, source)
		s.span += source.Span()
	}
	var err error
	if c.topics, err = findShared(tapes); err != nil {
		return nil, err
	}
	return s, nil
}

// Clock is the clock that orders the records.
func (s *Source) Clock() tape.Clock { return s.common.clock }

// Shards implements replay.Source: the most that one of the tapes has.
func (s *Source) Shards() int {
	n := 1
	for _, t := range s.tapes {
		n = max(n, t.Shards())
	}
	return n
}

// Span implements replay.Source.
func (s *Source) Span() wire.Ordinal { return s.span }

// errChanged: a tape is not what it was when the source was made.
var errChanged = errors.New("merge: a tape has changed since")

// Reopen implements replay.Source.
func (s *Source) Reopen() (replay.Source, error) {
	again := &Source{span: s.span, common: s.common}
	for i, t := range s.tapes {
		opened, err := t.Reopen()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("merge: tape %d: %w", i+1, err), again.Close())
		}
		again.own = append(again.own, opened)
		source := opened.(*replay.TapeSource)
		again.tapes = append(again.tapes, source)
		if !begins(source.Tape(), t.Tape()) {
			return nil, errors.Join(errChanged, again.Close())
		}
	}
	return again, nil
}

// begins reports whether a tape has the blocks of another one, and maybe more behind
// them: retention may have taken the first ones meanwhile.
func begins(t, with *tape.Tape) bool {
	n := with.Blocks()
	if n == 0 {
		return true
	}
	return t.Blocks() >= n && t.Block(0) == with.Block(0) && t.Block(n-1) == with.Block(n-1)
}

// Close implements replay.Source.
func (s *Source) Close() error {
	var errs []error
	for _, t := range s.own {
		errs = append(errs, t.Close())
	}
	s.own = nil
	return errors.Join(errs...)
}
