package main

import (
	"context"
	"fmt"

	"github.com/tapedeck/tapedeck/internal/prefix"
	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// tapeSnapshots are the last values of a tape as of any moment.
type tapeSnapshots struct {
	// open returns the tape as it is now; whoever called closes it.
	open func(ctx context.Context) (*tape.Tape, error)
}

// Snapshot implements resync.Snapshots.
func (s *tapeSnapshots) Snapshot(ctx context.Context, q resync.Query) (resync.Snapshot, error) {
	t, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	cut, err := cutOf(t, q)
	if err != nil {
		return nil, err
	}
	if q.Epoch != 0 && q.Epoch != cut.epoch {
		return nil, fmt.Errorf("%w: the tape is in epoch %d at that time", resync.ErrUnknownEpoch, cut.epoch)
	}
	var topics func([]byte) bool
	if set := prefix.New(q.Prefixes); !set.All() {
		topics = set.Match
	}
	snap := &tapeSnapshot{}
	if snap.at, err = cut.positions(t); err != nil {
		return nil, err
	}
	if cut.end {
		snap.last, err = t.LastBefore(ctx, tape.Position{Block: t.Blocks()}, topics)
	} else {
		snap.last, err = t.LastBeforeOrdinal(ctx, cut.epoch, cut.ordinal, topics)
	}
	return snap, err
}

// tapeCut is a place in a tape's one order over all shards: what lies before it
// counts.
type tapeCut struct {
	epoch   wire.Epoch
	ordinal wire.Ordinal
	end     bool // behind everything
}

// cutOf returns the place before the first record, in the one order, that is later
// than a query wants.
func cutOf(t *tape.Tape, q resync.Query) (tapeCut, error) {
	epochs := t.Epochs()
	if len(epochs) == 0 {
		return tapeCut{}, fmt.Errorf("%w: the tape is empty", resync.ErrNotYet)
	}
	end := tapeCut{epoch: epochs[len(epochs)-1], end: true}
	if q.Clock == "" || q.At == wire.NanosMax {
		return end, nil
	}
	clock, err := tape.ParseClock(q.Clock)
	if err != nil {
		return tapeCut{}, err
	}
	pos, err := t.FindFrom(clock, q.At+1, epochs[0], 0)
	if err != nil {
		return tapeCut{}, err
	}
	if pos.Block >= t.Blocks() {
		return end, nil
	}
	return tapeCut{epoch: pos.Epoch, ordinal: pos.Ordinal}, nil
}

// positions are where each shard goes on behind the cut.
func (c *tapeCut) positions(t *tape.Tape) ([]resync.Span, error) {
	at := make([]resync.Span, t.Shards())
	for i := range at {
		at[i] = resync.Span{Epoch: c.epoch, Shard: i}
	}
	for _, s := range t.Extents() {
		if s.Epoch == c.epoch {
			at[s.Shard].To = max(at[s.Shard].To, s.To)
		}
	}
	if c.end {
		return at, nil
	}
	for i := range at {
		next, err := c.next(t, i)
		if err != nil {
			return nil, err
		}
		if next.Epoch == c.epoch {
			at[i].To = next.Seq
		}
	}
	return at, nil
}

// next is the place of a shard's first record behind the cut; its zero value where
// there is none.
func (c *tapeCut) next(t *tape.Tape, shard int) (tape.At, error) {
	r, err := t.RecordsFrom(tape.ReadConfig{Shards: []int{shard}}, c.epoch, c.ordinal)
	if err != nil {
		return tape.At{}, err
	}
	defer r.Close()
	if !r.Next() {
		return tape.At{}, r.Err()
	}
	return r.At(), nil
}

// tapeSnapshot is a snapshot that was taken from a tape. It has bytes of its own.
type tapeSnapshot struct {
	last *tape.Last
	at   []resync.Span
}

// Positions implements resync.Snapshot.
func (s *tapeSnapshot) Positions() []resync.Span { return s.at }

// Entries implements resync.Snapshot.
func (s *tapeSnapshot) Entries() uint64 { return uint64(s.last.Len()) }

// Next implements resync.Snapshot.
func (s *tapeSnapshot) Next() (wire.Record, resync.Span, bool) {
	if !s.last.Next() {
		return nil, resync.Span{}, false
	}
	at := s.last.At()
	return s.last.Record(), resync.Span{Epoch: at.Epoch, Shard: at.Shard, From: at.Seq}, true
}

// Err implements resync.Snapshot.
func (s *tapeSnapshot) Err() error { return nil }

// Close implements resync.Snapshot.
func (s *tapeSnapshot) Close() {}
