package resync

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// each asks one server after the other until one answers, the best first, round after
// round with growing pauses, and returns the last error when all rounds were in vain.
// Servers that refuse, or have removed what is wanted, are not asked again.
func (c *Client) each(ctx context.Context, ask func(server int) error) error {
	hopeless := make([]bool, len(c.servers))
	pause := c.cfg.Backoff
	var last error
	for round := range c.cfg.Attempts {
		if round > 0 {
			if slices.Index(hopeless, false) < 0 {
				break
			}
			if err := c.sleep(ctx, pause); err != nil {
				return errors.Join(err, last)
			}
			pause = min(2*pause, c.cfg.BackoffMax)
		}
		for left := slices.Clone(hopeless); slices.Contains(left, false); {
			i := choice{c}.Pick(c.since(), func(i int) bool { return left[i] })
			left[i] = true
			err := ask(i)
			var final *finalError
			if err == nil || ctx.Err() != nil || errors.Is(err, ErrClosed) || errors.As(err, &final) {
				if err == nil {
					c.ended(i, nil)
				}
				return err
			}
			c.ended(i, err)
			last = err
			var answer *RequestError
			if errors.As(err, &answer) {
				r := reasonOf(answer.Code)
				hopeless[i] = r == ReasonRefused || r == ReasonGone
			}
		}
	}
	return last
}

// finalError is one that asking again does not mend.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }
func (e *finalError) Unwrap() error { return e.err }

func (c *Client) sleep(ctx context.Context, d time.Duration) error {
	if c.world != nil {
		c.world.Sleep(d, nil)
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Find asks which spans hold the records from time t on by a clock; wire.NanosMin
// asks for everything there is. The first server that answers is believed. It
// blocks; ctx ends it.
func (c *Client) Find(ctx context.Context, t wire.Nanos, clock string) ([]Span, error) {
	if _, err := AppendFind(nil, &FindRequest{ID: 1, Time: t, Clock: clock}); err != nil {
		return nil, err
	}
	var spans []Span
	err := c.each(ctx, func(server int) error {
		s := c.beginFind(server, t, clock)
		defer s.close()
		var err error
		spans, err = s.spans(ctx)
		return err
	})
	return spans, err
}

// Refill asks for the records of a span and hands them over in order, each once.
// The batch is borrowed until return; an error of take ends the refill and is
// returned. When a server fails the next one goes on where it stopped.
//
// next is how far it came. A span whose To is Open ends where what the server has
// ends; ended then says that this is the epoch's end. An error that is ErrGone is a
// *RequestError, whose Skip says where what can be had begins again.
func (c *Client) Refill(ctx context.Context, span Span, take func(b *wire.Batch) error) (next wire.Seq, ended bool, err error) {
	if span.Epoch == 0 || span.From >= span.To || span.Shard < 0 || span.Shard > 1<<16-1 {
		return span.From, false, bad(reasonSpan)
	}
	for {
		from := span.From
		err := c.each(ctx, func(server int) (err error) {
			span.From, ended, err = c.refillFrom(ctx, server, span, take)
			if err != nil && span.From > from {
				return &finalError{err} // of this round of attempts: it has come further
			}
			return err
		})
		var last *lastError
		if err == nil || span.From == from || ctx.Err() != nil || errors.Is(err, ErrClosed) || errors.As(err, &last) {
			return span.From, ended, err
		}
	}
}

// lastError is one that a refill ends with, wherever it has come.
type lastError struct{ err error }

func (e *lastError) Error() string { return e.err.Error() }
func (e *lastError) Unwrap() error { return e.err }

// refillFrom is Refill from one server, once.
func (c *Client) refillFrom(ctx context.Context, server int, span Span, take func(b *wire.Batch) error) (wire.Seq, bool, error) {
	s := c.refill(server, span)
	defer s.close()
	for {
		st, err := s.await(ctx)
		switch {
		case err != nil:
			return s.next, false, err
		case st == broken:
			return s.next, false, s.err
		case st == through:
			if err := s.checked(); err != nil && s.next > span.From {
				return s.next, false, &finalError{&lastError{err}} // what was handed over cannot be taken back
			} else if err != nil {
				return s.next, false, err
			}
			if span.To != Open && s.next != span.To || s.end.Next != s.next {
				return s.next, false, bad(reasonShort)
			}
			return s.next, s.end.Ended, nil
		}
		b, err := s.chunk()
		if err != nil {
			return s.next, false, err
		}
		if err := take(b); err != nil {
			return s.next, false, &finalError{&lastError{err}}
		}
	}
}

// Snapshot asks for last values. It blocks until the first of them has arrived, and
// asks one server after the other until one has. The reader must be closed.
func (c *Client) Snapshot(ctx context.Context, q Query) (*SnapshotReader, error) {
	if _, _, err := AppendSnapshot(nil, nil, &SnapshotRequest{ID: 1, Query: q}); err != nil {
		return nil, err
	}
	var r *SnapshotReader
	err := c.each(ctx, func(server int) error {
		r = &SnapshotReader{ctx: ctx, stream: c.begin(server, CommandEntries, func(id RequestID) ([][]byte, error) {
			h, p, err := AppendSnapshot(nil, nil, &SnapshotRequest{ID: id, Query: q, Credit: uint64(c.cfg.WindowBytes),
				Deadline: c.cfg.Deadline, ChunkBytes: uint32(c.cfg.ChunkBytes)})
			return [][]byte{h, p}, err
		})}
		if r.fetch(); r.err != nil {
			r.Close()
			return r.err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// SnapshotReader is a snapshot that arrives. It is a Snapshot; Positions and Entries
// are known when Next has returned false and Err returns nil: only then has all of
// it come, as it was sent. It belongs to one goroutine.
type SnapshotReader struct {
	ctx     context.Context // of the call that made it: a snapshot is read within one
	stream  *stream
	entries Entries
	through bool
	err     error
}

// fetch takes the next message, or finds out why there is none.
func (r *SnapshotReader) fetch() {
	s := r.stream
	st, err := s.await(r.ctx)
	switch {
	case err != nil:
		r.err = err
	case st == broken:
		r.err = s.err
	case st == through:
		r.through, r.err = true, s.checked()
	default:
		m := s.current
		if r.entries, r.err = ParseEntries(m.Frame(0), m.Frame(1), m.Frame(2)); r.err == nil {
			s.digest.Add(r.entries.Count, r.entries.CRC, r.entries.Size())
		}
	}
}

// Next implements Snapshot.
func (r *SnapshotReader) Next() (wire.Record, Span, bool) {
	for r.err == nil {
		if rec, at, ok := r.entries.Next(); ok {
			return rec, at, true
		}
		if r.through {
			break
		}
		r.fetch()
	}
	return nil, Span{}, false
}

// Err implements Snapshot.
func (r *SnapshotReader) Err() error { return r.err }

// Positions implements Snapshot. The slice is the caller's.
func (r *SnapshotReader) Positions() []Span {
	if !r.through {
		return nil
	}
	return slices.Clone(r.stream.end.Positions)
}

// Entries implements Snapshot.
func (r *SnapshotReader) Entries() uint64 {
	if !r.through {
		return 0
	}
	return r.stream.end.Digest.Records
}

// Close implements Snapshot. A snapshot that has not come through is cancelled.
func (r *SnapshotReader) Close() {
	r.entries = Entries{}
	r.stream.close()
}

var _ Snapshot = (*SnapshotReader)(nil)
