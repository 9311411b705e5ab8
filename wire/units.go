package wire

import (
	"math"
	"time"
)

// Nanos is a time: nanoseconds since the Unix epoch, UTC.
type Nanos int64

// NanosMax and NanosMin bound every time.
const (
	NanosMax Nanos = math.MaxInt64
	NanosMin Nanos = math.MinInt64
)

// Time converts n to a time.Time in UTC.
func (n Nanos) Time() time.Time { return time.Unix(0, int64(n)).UTC() }

// String formats n as RFC 3339 with nanoseconds.
func (n Nanos) String() string { return n.Time().Format("2006-01-02T15:04:05.000000000Z07:00") }

// NanosOf converts t to Nanos. Times outside the years 1678 to 2262 have no
// such value; t must lie within them.
func NanosOf(t time.Time) Nanos { return Nanos(t.UnixNano()) }

// Seq is a sequence number: per shard, +1 per record, starting at 0 in each
// epoch.
type Seq uint64

// Epoch is the identity of one run of one publisher. Sequences are comparable
// only within an epoch. Zero is never a valid epoch.
type Epoch uint64

// Ordinal is the place of a record in the publisher's one order over all of its
// shards. It strictly increases within an epoch and need not be dense.
type Ordinal uint64
