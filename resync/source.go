package resync

import (
	"context"
	"errors"

	"github.com/tapedeck/tapedeck/wire"
)

// Span is sequences [From, To) of a shard in an epoch.
type Span struct {
	Epoch    wire.Epoch
	Shard    int
	From, To wire.Seq
}

// Len is the number of sequences in the span.
func (s Span) Len() uint64 {
	if s.To <= s.From {
		return 0
	}
	return uint64(s.To - s.From)
}

// Errors of a source, and of a server that answers for one.
var (
	// ErrUnknownEpoch: the source has nothing of the epoch, or not of the shard.
	ErrUnknownEpoch = errors.New("resync: unknown epoch or shard")
	// ErrGone: the sequences were removed by retention, or never recorded. They
	// will not come back.
	ErrGone = errors.New("resync: gone: removed by retention, or never recorded")
	// ErrNotYet: the source does not have the sequences yet. Ask again later.
	ErrNotYet = errors.New("resync: not there yet")
)

// Refills is a source of what a stream has sent before: a recorder's or a
// player's tape. Its methods may be called concurrently.
type Refills interface {
	// Extents lists what can be had now, per epoch and shard, oldest epoch first.
	Extents() []Span
	// Read returns one batch whose first record has sequence from: at least one
	// record, at most about max payload bytes (one record may be larger), none at
	// or after to. Header, payload and order are as docs/WIRE.md says; count,
	// sizes, checksum and ordinals are those of this batch. The batch is the
	// caller's until release. Errors: ErrUnknownEpoch, ErrGone, ErrNotYet.
	Read(ctx context.Context, epoch wire.Epoch, shard int, from, to wire.Seq, max int) (b wire.Batch, release func(), err error)
	// Find lists, per shard in stream order, the spans that hold the records from
	// time t on by that clock: "receive", "event" or "send".
	Find(ctx context.Context, t wire.Nanos, clock string) ([]Span, error)
}

// Snapshots is a source of last values. Its method may be called concurrently.
type Snapshots interface {
	// Snapshot returns the last values that q asks for. The caller closes it.
	Snapshot(ctx context.Context, q Query) (Snapshot, error)
}

// Query says which last values are wanted.
type Query struct {
	// Prefixes of topics; none, or an empty one, is every topic.
	Prefixes []string
	// At is the time as of which the values shall be. 0: now.
	At wire.Nanos
	// Clock that At is by: "receive", "event" or "send"; "" where At is 0.
	Clock string
	// Epoch that the values must be of. 0: whichever the source is in.
	Epoch wire.Epoch
}

// Snapshot is the last record of every topic asked for, consistent as of
// Positions. It belongs to one goroutine.
type Snapshot interface {
	// Positions is where the live stream goes on, per shard: the epoch, and in To
	// the next sequence after what is in the snapshot. From is unused.
	Positions() []Span
	// Entries is how many records the snapshot has.
	Entries() uint64
	// Next returns the next record and its epoch, shard and, in From, sequence
	// (To is unused). ok is false at the end and after an error. The record is
	// borrowed until the next call.
	Next() (r wire.Record, at Span, ok bool)
	// Err returns what ended the snapshot early, or nil.
	Err() error
	// Close lets go of the snapshot. It may be called more than once.
	Close()
}
