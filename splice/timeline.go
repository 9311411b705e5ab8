package splice

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// Bucket is what a stretch of time holds.
type Bucket struct {
	From    wire.Nanos // the bucket is [From, From + width)
	Records uint64
	Bytes   uint64 // of records, as they travel
}

// BucketsMax is how many buckets a timeline may have.
const BucketsMax = 1 << 20

// ErrBuckets: the buckets are too short for the time that the tape spans.
var ErrBuckets = errors.New("splice: too many buckets")

// Timeline counts a tape's records by one of their clocks, in buckets of equal
// width. Buckets without records are left out. A block that lies in one bucket
// counts by its index entry; the others are read, record by record, so the counts
// are exact. By the send clock a block counts where its send times begin.
func Timeline(ctx context.Context, t *tape.Tape, c tape.Clock, width time.Duration) ([]Bucket, error) {
	if width <= 0 {
		return nil, fmt.Errorf("%w: a width of %v", ErrBuckets, width)
	}
	l := line{clock: c, width: wire.Nanos(width), at: map[wire.Nanos]*Bucket{}}
	for n := range t.Blocks() {
		if err := interrupted(ctx); err != nil {
			return nil, err
		}
		info := t.Block(n)
		if err := l.block(t, n, &info); err != nil {
			return nil, err
		}
		if len(l.at) > BucketsMax {
			return nil, fmt.Errorf("%w: more than %d of %v", ErrBuckets, BucketsMax, width)
		}
	}
	list := make([]Bucket, 0, len(l.at))
	for _, b := range l.at {
		list = append(list, *b)
	}
	slices.SortFunc(list, func(a, b Bucket) int {
		if a.From < b.From {
			return -1
		}
		return 1
	})
	return list, nil
}

type line struct {
	clock tape.Clock
	width wire.Nanos
	at    map[wire.Nanos]*Bucket
	last  *Bucket
}

func (l *line) block(t *tape.Tape, n int, info *tape.BlockInfo) error {
	s := spanOf(info, l.clock)
	sent := l.clock == tape.ClockSend && !info.NoSend
	if b := l.bucket(s.Min); sent || l.start(s.Max) == b.From {
		b.Records += uint64(info.Count)
		b.Bytes += uint64(info.PayloadSize)
		return nil
	}
	b, err := t.ReadBlock(n, false)
	if err != nil {
		return err
	}
	defer b.Release()
	w := b.Records()
	for w.Next() {
		x := l.bucket(timeOf(w.Record(), l.clock))
		x.Records++
		x.Bytes += uint64(len(w.Record()))
	}
	return w.Err()
}

// start returns when the bucket begins that a time is in.
func (l *line) start(at wire.Nanos) wire.Nanos {
	rest := at % l.width
	if rest < 0 {
		rest += l.width
	}
	if at < wire.NanosMin+rest {
		return wire.NanosMin // the first bucket is cut off
	}
	return at - rest
}

func (l *line) bucket(at wire.Nanos) *Bucket {
	from := l.start(at)
	if l.last == nil || l.last.From != from {
		if l.last = l.at[from]; l.last == nil {
			l.last = &Bucket{From: from}
			l.at[from] = l.last
		}
	}
	return l.last
}

// widths are the widths that BucketWidth chooses from.
var widths = []time.Duration{
	time.Microsecond, 10 * time.Microsecond, 100 * time.Microsecond,
	time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// BucketWidth returns the shortest round width that cuts a span of times into at
// most count buckets.
func BucketWidth(s tape.Span, count int) time.Duration {
	length := uint64(s.Max) - uint64(s.Min)
	for _, w := range widths {
		if length/uint64(w) < uint64(count) {
			return w
		}
	}
	day := uint64(24 * time.Hour)
	return time.Duration((length/uint64(count)/day + 1) * day)
}
