package recorder

import (
	"context"
	"runtime"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// A recorder is a source of what its stream has sent before: its tape as far as
// it is written, and behind that what waits for the disk. Whoever asks takes
// nothing from the recording but the time of a few processors: no more reads run
// at once than half of them, the others wait.

// readsAtOnce is how many reads may run at the same time.
func readsAtOnce() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// enter waits for its turn to read. The error is ctx's.
func (r *Recorder) enter(ctx context.Context) (leave func(), err error) {
	select {
	case r.reads <- struct{}{}:
		return func() { <-r.reads }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Extents lists what can be read now: epochs in the order in which they appeared,
// in each the shards, in each the runs of sequences without a gap. What a batch
// holds can be read as soon as HandleBatch has returned.
func (r *Recorder) Extents() []tape.SeqSpan { return r.live().Extents() }

// Read returns one batch whose first record has sequence from: at least that one
// record, none at or after to, and at most `most` payload bytes (one record may
// be larger; 0 or below is no limit). Records, sequences and ordinals are as they
// came; how they lie in batches is not. The batch is borrowed until release,
// which must be called once. The error wraps tape.ErrUnknownEpoch, tape.ErrGone or
// tape.ErrNotYet where the records are not there; it is then a *tape.SeqError.
func (r *Recorder) Read(ctx context.Context, epoch wire.Epoch, shard int, from, to wire.Seq, most int) (b wire.Batch, release func(), err error) {
	leave, err := r.enter(ctx)
	if err != nil {
		return b, nil, err
	}
	defer leave()
	return r.live().ReadSeq(ctx, epoch, shard, from, to, most)
}

// Find lists, for one shard after the other in stream order, the sequences from the
// first record on whose time by that clock ("receive", "event" or "send") is at or
// after t. See tape.Live.FindSpans.
func (r *Recorder) Find(ctx context.Context, t wire.Nanos, clock string) ([]tape.SeqSpan, error) {
	c, err := tape.ParseClock(clock)
	if err != nil {
		return nil, err
	}
	leave, err := r.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return r.live().FindSpans(ctx, c, t)
}

// Tape opens a view of all that was handed over before the call, for last values
// and for records in the one order over all shards. The caller closes it; until
// then retention removes nothing. See tape.Live.Tape.
func (r *Recorder) Tape(ctx context.Context) (*tape.Tape, error) { return r.live().Tape(ctx) }

// Close ends reading. The tape's writer remains the caller's, and may be closed
// before: what was recorded can be read until then.
func (r *Recorder) Close() error { return r.live().Close() }
