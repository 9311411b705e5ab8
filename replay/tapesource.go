package replay

import (
	"context"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// TapeSource is a tape as a Source. Its places go on through all epochs of the
// tape, in the order in which they appear.
type TapeSource struct {
	tape    *tape.Tape
	numbers *numbering
	own     bool // Close closes the tape
}

// NewTapeSource returns a tape as a Source. The tape is borrowed until Close, which
// leaves it open.
func NewTapeSource(t *tape.Tape) *TapeSource {
	return &TapeSource{tape: t, numbers: newNumbering(t)}
}

// Tape is the tape.
func (s *TapeSource) Tape() *tape.Tape { return s.tape }

// Shards implements Source.
func (s *TapeSource) Shards() int { return s.tape.Shards() }

// Span implements Source.
func (s *TapeSource) Span() wire.Ordinal { return s.numbers.span }

// Place returns the place of an ordinal on the tape. ok is false where the tape did
// not have it when the source was made.
func (s *TapeSource) Place(epoch wire.Epoch, ordinal wire.Ordinal) (place wire.Ordinal, ok bool) {
	offset, known := s.numbers.offsets[epoch]
	place = ordinal + offset
	return place, known && place < s.numbers.span
}

// OnTape returns the epoch and the ordinal of a place, which is below Span.
func (s *TapeSource) OnTape(place wire.Ordinal) (wire.Epoch, wire.Ordinal) {
	return s.numbers.onTape(place)
}

// Walk implements Source.
func (s *TapeSource) Walk(cfg tape.ReadConfig, from wire.Ordinal) (Walk, error) {
	return s.Records(cfg, from)
}

// Records is Walk by the walk's own type.
func (s *TapeSource) Records(cfg tape.ReadConfig, from wire.Ordinal) (*TapeWalk, error) {
	w := &TapeWalk{source: s}
	if from >= s.numbers.span {
		return w, nil
	}
	epoch, ordinal := s.numbers.onTape(from)
	var err error
	if w.records, err = s.tape.RecordsFrom(cfg, epoch, ordinal); err != nil {
		return nil, err
	}
	return w, nil
}

// Find implements Source.
func (s *TapeSource) Find(c tape.Clock, at wire.Nanos, from wire.Ordinal) (wire.Ordinal, error) {
	span := s.numbers.span
	if from >= span {
		return span, nil
	}
	epoch, ordinal := s.numbers.onTape(from)
	pos, err := s.tape.FindFrom(c, at, epoch, ordinal)
	if err != nil || pos.Block == s.tape.Blocks() {
		return span, err
	}
	if place, ok := s.Place(pos.Epoch, pos.Ordinal); ok {
		return place, nil
	}
	return span, nil
}

// WalkLast implements Source.
func (s *TapeSource) WalkLast(before wire.Ordinal, topics func(topic []byte) bool) (LastWalk, error) {
	if s.numbers.span == 0 {
		return noLast{}, nil
	}
	walk, err := s.Last(before, topics)
	if err != nil {
		return nil, err
	}
	return &tapeLast{LastWalk: walk, source: s}, nil
}

// Last is WalkLast by the tape's own walk. Span must not be 0.
func (s *TapeSource) Last(before wire.Ordinal, topics func(topic []byte) bool) (*tape.LastWalk, error) {
	epoch, ordinal := s.numbers.onTape(min(before, s.numbers.span-1))
	if before >= s.numbers.span {
		ordinal++
	}
	return s.tape.WalkLastBeforeOrdinal(epoch, ordinal, topics)
}

// Reopen implements Source. What the tape got since the source was made is not
// seen.
func (s *TapeSource) Reopen() (Source, error) {
	t, err := s.tape.Reopen()
	if err != nil {
		return nil, err
	}
	return &TapeSource{tape: t, numbers: s.numbers, own: true}, nil
}

// Close implements Source.
func (s *TapeSource) Close() error {
	if s.own {
		return s.tape.Close()
	}
	return nil
}

// TapeWalk is a Walk over a tape.
type TapeWalk struct {
	source  *TapeSource
	records *tape.Records // nil where there is nothing
	epoch   wire.Epoch    // of the record before
	offset  wire.Ordinal  // its
	known   bool          // it is one of the source's
}

// prefetchBlocks is how many blocks behind a place are asked for before play goes
// there.
const prefetchBlocks = 16

// Next implements Walk.
func (w *TapeWalk) Next(it *Item) bool {
	if w.records == nil {
		return false
	}
	for w.records.Next() {
		at := w.records.At()
		if at.Epoch != w.epoch || !w.known {
			w.epoch = at.Epoch
			w.offset, w.known = w.source.numbers.offsets[at.Epoch]
		}
		it.Record, it.Place, it.Shard = w.records.Record(), at.Ordinal+w.offset, at.Shard
		if w.known && it.Place < w.source.numbers.span {
			return true
		}
		// The tape was opened once more and got it meanwhile.
	}
	return false
}

// Block returns the block that the current record is in, borrowed until the next
// step.
func (w *TapeWalk) Block() *tape.Block { return w.records.Block() }

// Prefetch implements Walk.
func (w *TapeWalk) Prefetch() {
	n := w.records.Block().Info.Number
	w.source.tape.Prefetch(n, n+prefetchBlocks)
}

// Err implements Walk.
func (w *TapeWalk) Err() error {
	if w.records == nil {
		return nil
	}
	return w.records.Err()
}

// Close implements Walk.
func (w *TapeWalk) Close() error {
	if w.records == nil {
		return nil
	}
	return w.records.Close()
}

// tapeLast is a LastWalk over a tape.
type tapeLast struct {
	*tape.LastWalk
	source *TapeSource
}

// Shard implements LastWalk.
func (w *tapeLast) Shard() int { return w.At().Shard }

// Before implements LastWalk.
func (w *tapeLast) Before(place wire.Ordinal) (bool, error) {
	at := w.At()
	// What retention has removed is before all places.
	own, ok := w.source.Place(at.Epoch, at.Ordinal)
	return !ok || own < place, nil
}

// noLast is the LastWalk over nothing.
type noLast struct{}

func (noLast) Next(context.Context) (bool, error) { return false, nil }
func (noLast) Ready() bool                        { return true }
func (noLast) Record() wire.Record                { return nil }
func (noLast) Shard() int                         { return 0 }
func (noLast) Before(wire.Ordinal) (bool, error)  { return false, nil }
func (noLast) Close()                             {}
