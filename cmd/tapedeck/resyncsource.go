package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// seqSource gives out what a stream has sent before: a recorder, a player, or a
// tape.
type seqSource interface {
	Extents() []tape.SeqSpan
	Read(ctx context.Context, epoch wire.Epoch, shard int, from, to wire.Seq, most int) (wire.Batch, func(), error)
	Find(ctx context.Context, t wire.Nanos, clock string) ([]tape.SeqSpan, error)
}

// refills is a seqSource as a resync server wants it.
type refills struct{ src seqSource }

// Extents implements resync.Refills.
func (r refills) Extents() []resync.Span { return resyncSpans(r.src.Extents()) }

// Read implements resync.Refills.
func (r refills) Read(ctx context.Context, epoch wire.Epoch, shard int, from, to wire.Seq, most int) (wire.Batch, func(), error) {
	b, release, err := r.src.Read(ctx, epoch, shard, from, to, most)
	return b, release, resyncError(err)
}

// Find implements resync.Refills.
func (r refills) Find(ctx context.Context, t wire.Nanos, clock string) ([]resync.Span, error) {
	spans, err := r.src.Find(ctx, t, clock)
	return resyncSpans(spans), resyncError(err)
}

// endedRefills are refills whose source knows where epochs have ended.
type endedRefills struct {
	refills
	ends resync.Ends
}

// End implements resync.Ends.
func (r endedRefills) End(epoch wire.Epoch, shard int) (wire.Seq, bool) {
	return r.ends.End(epoch, shard)
}

func resyncSpans(list []tape.SeqSpan) []resync.Span {
	spans := make([]resync.Span, len(list))
	for i, s := range list {
		spans[i] = resync.Span(s)
	}
	return spans
}

// resyncError says in resync's words what kept a tape from being read.
func resyncError(err error) error {
	for _, k := range []struct{ tape, resync error }{
		{tape.ErrUnknownEpoch, resync.ErrUnknownEpoch},
		{tape.ErrGone, resync.ErrGone},
		{tape.ErrNotYet, resync.ErrNotYet},
	} {
		if errors.Is(err, k.tape) {
			return fmt.Errorf("%w (%w)", k.resync, err)
		}
	}
	return err
}

// endBook is where the epochs of a stream have ended, as their publishers said it.
type endBook struct {
	mu   sync.Mutex
	ends map[endPlace]wire.Seq
}

type endPlace struct {
	epoch wire.Epoch
	shard int
}

// endsMax is how many ends are kept: whoever restarts over and over must not fill
// the memory.
const endsMax = 1 << 16

func (k *endBook) put(epoch wire.Epoch, shard int, end wire.Seq) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ends == nil {
		k.ends = map[endPlace]wire.Seq{}
	}
	if len(k.ends) < endsMax {
		k.ends[endPlace{epoch, shard}] = end
	}
}

// End implements resync.Ends.
func (k *endBook) End(epoch wire.Epoch, shard int) (wire.Seq, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	end, known := k.ends[endPlace{epoch, shard}]
	return end, known
}
