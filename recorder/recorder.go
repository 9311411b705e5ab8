package recorder

import (
	"sync"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// Recorder writes a stream to a tape. Its Handle methods take what a subscriber
// hands over and may be called from one goroutine per shard. What it has recorded
// can be read meanwhile, from any number of goroutines: see Extents, Read and Find.
type Recorder struct {
	w     *tape.Writer
	live  func() *tape.Live // made at the first read
	reads chan struct{}     // full while as many read as may

	gaps, lost atomic.Uint64
	ends       atomic.Int64
	complete   atomic.Int64

	mu      sync.Mutex // guards what follows
	session wire.Epoch
	err     error // of describing the tape
}

// New returns a recorder that writes to w. Closing w remains the caller's. Where
// something was read of the recording, the recorder must be closed, too.
func New(w *tape.Writer) *Recorder {
	return &Recorder{w: w, live: sync.OnceValue(w.Live), reads: make(chan struct{}, readsAtOnce())}
}

// HandleBatch writes the records of a batch, without the first skip of them,
// which have come before. It copies what it keeps. The error is the writer's.
func (r *Recorder) HandleBatch(b *wire.Batch, skip uint32) error {
	if skip == 0 || b.Flags&wire.FlagSnapshotBatch != 0 {
		return r.w.AppendBatch(b) // of last values it takes note
	}
	at := tape.At{Shard: int(b.Shard), Epoch: b.Epoch, Seq: b.FirstSeq, Send: b.Send}
	ordinals := b.Ordinals()
	w := b.Records()
	for ; w.Next(); at.Seq++ {
		at.Ordinal = ordinals.Next()
		if skip > 0 {
			skip--
			continue
		}
		if err := r.w.Append(at, w.Record()); err != nil {
			return err
		}
	}
	return w.Err()
}

// HandleGap counts a gap. The tape shows it by the sequences of its blocks.
func (r *Recorder) HandleGap(_ int, _ wire.Epoch, from, to wire.Seq) {
	r.gaps.Add(1)
	r.lost.Add(uint64(to - from))
}

// HandleSession notes on the tape how the bodies are to be read.
func (r *Recorder) HandleSession(_ int, epoch wire.Epoch, s *wire.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session == epoch {
		return
	}
	r.session = epoch
	if err := r.w.Describe(s.Encodings, s.Sources); err != nil && r.err == nil {
		r.err = err
	}
}

// Err returns the first error that could not be returned elsewhere.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// HandleEnd counts a shard's end.
func (r *Recorder) HandleEnd(_ int, _ wire.Epoch, complete bool) {
	r.ends.Add(1)
	if complete {
		r.complete.Add(1)
	}
}

// Gaps returns how many gaps the recording has and how many records are missing
// in them.
func (r *Recorder) Gaps() (gaps, lost uint64) { return r.gaps.Load(), r.lost.Load() }
