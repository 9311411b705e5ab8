package replay

import (
	"context"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// Source is what a Player plays: records in one order, each at a place. Places
// count from 0 and rise from record to record; not every place need have one. The
// same source gives the same records at the same places, however often and from
// wherever it is read. A tape is one: see NewTapeSource.
//
// Walk, Find, WalkLast and Reopen may be called from any goroutine, until Close.
type Source interface {
	// Shards is how many shards a stream of it has where nobody says.
	Shards() int
	// Span is the place behind the last record.
	Span() wire.Ordinal
	// Walk returns a walk over the records that cfg wants, from a place on. Of cfg,
	// From, To and Clock count, to the record where the clock is one of the record's;
	// Shards counts for a tape alone.
	Walk(cfg tape.ReadConfig, from wire.Ordinal) (Walk, error)
	// Find returns the place of the first record, at or behind a place, whose time is
	// at or after at; Span where there is none.
	Find(c tape.Clock, at wire.Nanos, from wire.Ordinal) (wire.Ordinal, error)
	// WalkLast returns a walk over every topic's last record before a place. topics
	// says which topics are wanted, nil all of them; it may be called from several
	// goroutines and must not keep the topic.
	WalkLast(before wire.Ordinal, topics func(topic []byte) bool) (LastWalk, error)
	// Reopen opens the same source once more, with the same places. Both must be
	// closed.
	Reopen() (Source, error)
	// Close lets go of the source.
	Close() error
}

// Item is a record of a source.
type Item struct {
	Record wire.Record  // borrowed until the walk's next step
	Place  wire.Ordinal // in the source's one order
	Shard  int          // where the source is a tape: its shard there
}

// Walk goes from record to record, in order of their places. It belongs to one
// goroutine.
type Walk interface {
	// Next moves to the next record, puts it into it, and reports whether there is
	// one.
	Next(it *Item) bool
	// Prefetch asks the system for what lies behind the current record, and does not
	// wait for it.
	Prefetch()
	// Err returns what ended the walk early, or nil.
	Err() error
	// Close ends the walk. It must come before that of the source.
	Close() error
}

// LastWalk goes from topic to topic, in an order that is always the same for the
// same source and place. It belongs to one goroutine.
type LastWalk interface {
	// Next moves to the next topic and reports whether there is one. Where ctx ends
	// first it may be called again, with another one; after any other error not.
	Next(ctx context.Context) (bool, error)
	// Ready reports whether Next can answer at once.
	Ready() bool
	// Record returns the topic's last record, borrowed until the next call of Next or
	// Close.
	Record() wire.Record
	// Shard is, where the source is a tape, the record's shard there.
	Shard() int
	// Before reports whether the record comes before a place.
	Before(place wire.Ordinal) (bool, error)
	// Close ends the walk. It must come before that of the source.
	Close()
}
