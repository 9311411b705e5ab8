package tape

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// liveViewTries is how often a view is begun anew because retention removed what it
// was to show.
const liveViewTries = 100

// Tape opens a view of all that was appended before the call, for what reading by
// sequence does not do: last values, and records in the one order over all
// shards. It syncs the tape first. The view does not change any more and is to be
// closed; until then it keeps retention from removing segments, as every open tape
// does. It takes as long as Open, without the look through the last segment.
func (l *Live) Tape(ctx context.Context) (*Tape, error) {
	if l.closed.Load() {
		return nil, ErrClosed
	}
	err := l.w.Sync(ctx)
	if errors.Is(err, ErrClosed) {
		return OpenFS(l.view.fs, l.view.dir) // all is written
	}
	if err != nil {
		return nil, err
	}
	for range liveViewTries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var t *Tape
		if t, err = l.viewNow(); err == nil {
			return t, nil
		}
	}
	return nil, err
}

// viewNow makes a view of what is written.
func (l *Live) viewNow() (*Tape, error) {
	w, c := l.w, l.catalog
	w.metaMu.Lock()
	meta := w.meta
	c.mu.Lock()
	segments := slices.Clone(c.segments)
	open := make([]index, len(segments)) // those in memory
	sealed := make([]bool, len(segments))
	for i, s := range segments {
		open[i], sealed[i] = s.index, s.sealed
	}
	c.mu.Unlock()
	w.metaMu.Unlock()
	meta.Closed, meta.Totals, meta.Digest, meta.Segments = false, nil, nil, nil
	start := meta.start()
	t := &Tape{fs: l.view.fs, dir: l.view.dir, meta: &meta, first: start.Segment, base: start.Blocks, resident: newResident(l.view.fs)}
	t.found.Unclosed = true
	if err := t.takeLease(); err != nil {
		return nil, err
	}
	for i, s := range segments {
		if s.number < t.first {
			continue
		}
		if err := t.addSegment(s.number, open[i], sealed[i]); err != nil {
			return nil, errors.Join(err, t.dropLease())
		}
	}
	return t, nil
}

// addSegment takes in the next segment; its index is loaded where x has no entries.
func (t *Tape) addSegment(number int, x index, sealed bool) error {
	s := &segment{number: number, index: x, sealed: sealed}
	if sealed && len(x.entries) == 0 {
		if reason := t.loadIndex(s); reason != "" {
			return &CorruptError{File: indexName(number), Reason: reason}
		}
	}
	s.index.first -= t.base
	if s.index.first != t.blocks || number != t.first+len(t.segments) {
		return fmt.Errorf("tape: segment %d does not follow the one before", number)
	}
	if n := s.index.blocks(); n > 0 {
		last := s.index.info(n - 1)
		s.digest, s.end = last.Chain, last.end()
	}
	t.segments = append(t.segments, s)
	t.blocks += s.index.blocks()
	return nil
}
