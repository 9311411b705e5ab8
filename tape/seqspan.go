package tape

import (
	"errors"
	"fmt"

	"github.com/tapedeck/tapedeck/wire"
)

// SeqSpan is sequences [From, To) of a shard in an epoch.
type SeqSpan struct {
	Epoch    wire.Epoch
	Shard    int
	From, To wire.Seq
}

// Len is the number of sequences in the span.
func (s SeqSpan) Len() uint64 {
	if s.To <= s.From {
		return 0
	}
	return uint64(s.To - s.From)
}

// Errors of reading by sequence.
var (
	// ErrUnknownEpoch: there is nothing of the epoch, or no such shard.
	ErrUnknownEpoch = errors.New("tape: unknown epoch or shard")
	// ErrGone: the sequences were removed by retention or never recorded, and will
	// not come any more.
	ErrGone = errors.New("tape: gone: removed by retention, or never recorded")
	// ErrNotYet: the sequences come after all that is there of the shard's latest
	// epoch. A tape that nobody writes any more will not get them.
	ErrNotYet = errors.New("tape: not there yet")
)

// SeqError says what kept a read by sequence from its records. It wraps
// ErrUnknownEpoch, ErrGone or ErrNotYet.
type SeqError struct {
	// SeqSpan begins at the sequence asked for. With ErrGone it ends where records
	// are there again; where nothing of the epoch follows it ends where it begins.
	SeqSpan
	// LastValues: the sequences were last values, which repeat what was sent before
	// and are never recorded. Nothing is lost.
	LastValues bool
	Err        error
}

// Error implements error.
func (e *SeqError) Error() string {
	s := fmt.Sprintf("%v (shard %d, epoch %d, sequence %d)", e.Err, e.Shard, uint64(e.Epoch), e.From)
	if e.LastValues {
		s += ": they were last values, which are not recorded"
	}
	return s
}

// Unwrap returns the kind of error.
func (e *SeqError) Unwrap() error { return e.Err }

// appendSpan adds a span to a list of one shard in stream order. It joins the
// last one where it follows it or overlaps it.
func appendSpan(list []SeqSpan, s SeqSpan) []SeqSpan {
	if s.Len() == 0 {
		return list
	}
	if n := len(list); n > 0 {
		if last := &list[n-1]; last.Epoch == s.Epoch && last.Shard == s.Shard && s.From <= last.To {
			last.To = max(last.To, s.To)
			return list
		}
	}
	return append(list, s)
}

// spansFrom cuts a shard's spans, in stream order, so that they begin at a
// sequence of an epoch.
func spansFrom(list []SeqSpan, epoch wire.Epoch, seq wire.Seq) []SeqSpan {
	for i := range list {
		if s := list[i]; s.Epoch == epoch && s.To > seq {
			list = list[i:]
			list[0].From = max(s.From, seq)
			return list
		}
	}
	return nil
}
