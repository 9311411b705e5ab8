package main

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/resync"
)

// resumeEvery is how often a reader's positions are saved: whoever is killed gets
// again what it handled since.
const resumeEvery = time.Second

// resume keeps a reader's positions in a file. A nil one does nothing.
type resume struct {
	path  string
	out   *output
	from  []resync.Span // where this run began; none for a file that is not there yet
	now   func() []resync.Span
	saved []resync.Span
}

// openResume reads the file; "" is none.
func openResume(path string, out *output) (*resume, error) {
	if path == "" {
		return nil, nil
	}
	r := &resume{path: path, out: out}
	var err error
	r.from, err = resync.LoadResume(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r, nil
	case err != nil:
		return nil, err
	}
	r.saved = slices.Clone(r.from)
	return r, nil
}

// positions are where the reader is; of a shard of which it has had nothing yet,
// where it would go on.
func (r *resume) positions() []resync.Span {
	at := r.now()
	for _, p := range r.from {
		if !slices.ContainsFunc(at, func(q resync.Span) bool { return q.Shard == p.Shard }) {
			at = append(at, p)
		}
	}
	slices.SortFunc(at, func(a, b resync.Span) int { return a.Shard - b.Shard })
	return at
}

// save writes the positions where they have changed.
func (r *resume) save() error {
	if r == nil {
		return nil
	}
	at := r.positions()
	if len(at) == 0 || slices.Equal(at, r.saved) {
		return nil
	}
	if err := resync.SaveResume(r.path, at); err != nil {
		return err
	}
	r.saved = at
	return nil
}

// during saves again and again while a run goes on. A disk that refuses ends the
// run: going on would promise what is not kept.
func (r *resume) during(ctx context.Context, run func(context.Context) error) error {
	if r == nil {
		return run(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan error, 1)
	go func() {
		tick := time.NewTicker(resumeEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				ended <- nil
				return
			case <-tick.C:
			}
			if err := r.save(); err != nil {
				cancel(err)
				ended <- err
				return
			}
		}
	}()
	err := run(ctx)
	cancel(nil)
	if failed := <-ended; failed != nil {
		return failed
	}
	if failed := r.save(); failed != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return failed
	}
	return err
}
