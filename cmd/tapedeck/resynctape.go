package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// followedTape is a tape that another process may be writing. What an open tape
// shows stays as it was at the opening, so it is opened again where somebody wants
// what may have come since. It is a seqSource; its methods may be called
// concurrently.
type followedTape struct {
	dir string

	mu     sync.RWMutex // held for reading by every read: then the tape stays open
	tape   *tape.Tape
	opened time.Time     // when it was last opened
	took   time.Duration // to open it
}

// A tape that is being written is opened again at most this often, and never for
// more than a tenth of the time.
const (
	reopenEvery = 100 * time.Millisecond
	reopenPart  = 10
	// reopenIdle is how long it stays open though nobody wants more: an open tape
	// keeps its writer from removing old segments.
	reopenIdle = 5 * time.Second
)

// follow returns a followed tape; t is the tape as it was opened just now.
func follow(t *tape.Tape) *followedTape {
	return &followedTape{dir: t.Dir(), tape: t, opened: time.Now()}
}

// renew opens the tape again where the last time is long enough ago, and reports
// whether it did. Where it cannot be opened, what there was goes on to be served.
func (f *followedTape) renew() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.opened) < max(reopenEvery, reopenPart*f.took) {
		return false
	}
	start := time.Now()
	t, err := f.tape.Reopen()
	f.opened, f.took = time.Now(), time.Since(start)
	if err != nil {
		return false
	}
	_ = f.tape.Close() // it was open for reading
	f.tape = t
	return true
}

// written reports whether the tape, as it was opened last, has a writer, or had one
// that died.
func (f *followedTape) written() bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.tape.Recovered().Unclosed
}

// Extents implements seqSource. Who asks wants to know where the tape ends.
func (f *followedTape) Extents() []tape.SeqSpan {
	f.renew()
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.tape.Extents()
}

// Read implements seqSource. What a tape lacks that is closed will not come.
func (f *followedTape) Read(ctx context.Context, epoch wire.Epoch, shard int, from, to wire.Seq, most int) (wire.Batch, func(), error) {
	b, release, err := f.read(ctx, epoch, shard, from, to, most)
	if (errors.Is(err, tape.ErrNotYet) || errors.Is(err, tape.ErrUnknownEpoch)) && f.renew() {
		b, release, err = f.read(ctx, epoch, shard, from, to, most)
	}
	var lacks *tape.SeqError
	if errors.As(err, &lacks) && lacks.Err == tape.ErrNotYet && !f.written() {
		gone := *lacks
		gone.Err = tape.ErrGone
		err = &gone
	}
	return b, release, err
}

func (f *followedTape) read(ctx context.Context, epoch wire.Epoch, shard int, from, to wire.Seq, most int) (wire.Batch, func(), error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.tape.ReadSeq(ctx, epoch, shard, from, to, most)
}

// Find implements seqSource.
func (f *followedTape) Find(ctx context.Context, t wire.Nanos, clock string) ([]tape.SeqSpan, error) {
	c, err := tape.ParseClock(clock)
	if err != nil {
		return nil, err
	}
	f.renew()
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.tape.FindSpans(ctx, c, t)
}

// now opens the tape as it is now.
func (f *followedTape) now(context.Context) (*tape.Tape, error) { return tape.Open(f.dir) }

// run opens the tape again and again until the context ends, though nobody asks, as
// long as it is being written.
func (f *followedTape) run(ctx context.Context) {
	tick := time.NewTicker(reopenIdle)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if f.written() {
				f.renew()
			}
		}
	}
}

// close closes the tape. Nobody may read any more.
func (f *followedTape) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tape.Close()
}
