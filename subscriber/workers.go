package subscriber

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// Dispatch says which worker gets what.
type Dispatch uint8

// The kinds of dispatch.
const (
	// ByTopic gives a topic always to the same worker, WorkerOf, so that the
	// order within a topic is kept. It is the default.
	ByTopic Dispatch = iota
	// Any gives each batch as a whole to the next free worker: for workers that
	// are alike. There is no order between batches.
	Any
)

var dispatchNames = []string{"by-topic", "any"}

// String returns "by-topic" or "any".
func (d Dispatch) String() string {
	if int(d) < len(dispatchNames) {
		return dispatchNames[d]
	}
	return fmt.Sprintf("dispatch %d", uint8(d))
}

// ParseDispatch reads what String writes.
func ParseDispatch(s string) (Dispatch, error) {
	if i := slices.Index(dispatchNames, s); i >= 0 {
		return Dispatch(i), nil
	}
	return 0, fmt.Errorf("subscriber: dispatch %q, want by-topic or any", s)
}

// WorkerHandler takes what one worker is given. Its methods are called by the
// worker's goroutine alone. With ByTopic a shard's batches and what lies between
// them come in the order of the shard, and gaps, sessions, ends and notices go to
// every worker. With Any each goes to one, whichever is free, so that an end may come
// while others still have batches in hand.
type WorkerHandler interface {
	// HandleShare takes the worker's part of a batch, borrowed until return. It
	// is not called for an empty part. An error ends the run.
	HandleShare(s *Share) error
	// HandleGap takes note that the sequences [from, to) did not arrive.
	HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq)
	// HandleSession takes the description of a session, shared with the other
	// workers. It may come several times.
	HandleSession(shard int, epoch wire.Epoch, s *wire.Session)
	// HandleEnd takes note that a shard's stream has ended and whether all of it
	// was received.
	HandleEnd(shard int, epoch wire.Epoch, complete bool)
}

// WorkersConfig is what is behind the receive loops. The zero value of a field
// means its default.
type WorkersConfig struct {
	// Workers is how many there are. At least 1.
	Workers int
	// Dispatch says which worker gets what. Default ByTopic.
	Dispatch Dispatch
	// CPUs pins each worker; nil pins none, zsock.NoCPU one not.
	CPUs []int
	// PoolBatches bounds how many batches of a shard the workers hold, those
	// that wait for them included. Default 256.
	PoolBatches int
	// PoolBytes bounds them in bytes. One batch is always let through. Default
	// 4 MiB: what the loop has checked a worker should still find in the cache,
	// and bursts wait in libzmq's queue. A pool of 32 MiB took a third of the
	// speed.
	PoolBytes int64
	// Between makes what stands between the receive loops and the workers: it calls
	// next for what they shall have. Default: nothing does.
	Between func(next Handler) (Between, error)
}

const (
	poolBatchesDefault = 256
	poolBytesDefault   = 4 << 20
)

// PanicError: a worker's handler panicked.
type PanicError struct {
	Worker int
	Value  any    // what it panicked with
	Stack  []byte // of the worker, as debug.Stack writes it
}

// Error implements error.
func (e *PanicError) Error() string {
	return fmt.Sprintf("subscriber: worker %d panicked: %v\n%s", e.Worker, e.Value, e.Stack)
}

// WorkersSummary is what a Subscriber and its workers have seen.
type WorkersSummary struct {
	Summary
	// Workers is what each was given and has handled.
	Workers []WorkerSummary
	// Discarded is how many batches were received and not handled, wholly or by
	// some workers, because the run was stopped or failed.
	Discarded uint64
	// PoolWaits is how often a receive loop waited for workers, PoolWaited how
	// long, over all shards.
	PoolWaits  uint64
	PoolWaited time.Duration
}

// WorkerSummary is what one worker has handled.
type WorkerSummary struct {
	Batches uint64 // of which it had a share
	Records uint64
}

// Workers are a Subscriber with workers behind its receive loops. Every worker
// is attached to every shard. A batch is handed over by reference: it stays
// where it was received until the last worker has let go of it.
//
// The loops wait when the workers hold as much as the pools allow; then messages
// wait in libzmq's queues, and in the end the publisher waits, or drops.
//
// When a stream has ended, its publisher is told so by the loops: what it hears
// is that everything was received, not that it was handled.
type Workers struct {
	sub    *Subscriber
	cfg    WorkersConfig
	pools  []*pool       // one per shard
	queues []chan *lease // ByTopic: one per worker, otherwise one for all
	work   []worker

	between Between // nil: the loops hand over by themselves
	loans   []loan  // one per shard, with a Between

	drain   atomic.Pointer[context.CancelCauseFunc] // ends the loops, while Run runs
	drained atomic.Bool
	stop    chan struct{} // closed when what is queued shall not be handled
	stopped atomic.Bool   // the same

	discarded atomic.Uint64
}

// NewWorkers checks the configurations and makes the handler of each worker.
// Nothing is opened and no goroutine started before Run.
func NewWorkers(cfg Config, wc WorkersConfig, handler func(worker int) WorkerHandler) (*Workers, error) {
	if wc.Workers < 1 {
		return nil, fmt.Errorf("subscriber: %d workers, want 1 or more", wc.Workers)
	}
	if wc.CPUs != nil && len(wc.CPUs) != wc.Workers {
		return nil, fmt.Errorf("subscriber: %d CPUs for %d workers", len(wc.CPUs), wc.Workers)
	}
	if int(wc.Dispatch) >= len(dispatchNames) {
		return nil, fmt.Errorf("subscriber: %v is not known", wc.Dispatch)
	}
	if wc.PoolBatches < 0 || wc.PoolBytes < 0 {
		return nil, errors.New("subscriber: a size of the pool is negative")
	}
	if wc.PoolBatches == 0 {
		wc.PoolBatches = poolBatchesDefault
	}
	if wc.PoolBytes == 0 {
		wc.PoolBytes = poolBytesDefault
	}
	wc.CPUs = slices.Clone(wc.CPUs)
	w := &Workers{cfg: wc, stop: make(chan struct{})}
	if err := w.connect(cfg); err != nil {
		return nil, err
	}
	shards, queues := len(cfg.Endpoints), 1
	if w.byTopic() {
		queues = wc.Workers
	}
	for range shards {
		w.pools = append(w.pools, newPool(wc.PoolBatches, wc.PoolBytes, queues))
	}
	for range queues {
		// Every lease fits, so that handing over never waits: the pools alone do.
		w.queues = append(w.queues, make(chan *lease, shards*wc.PoolBatches))
	}
	if cfg.LockStep {
		if err := w.waitForWorkers(); err != nil {
			return nil, err
		}
	}
	w.work = make([]worker, wc.Workers)
	for i := range w.work {
		w.work[i] = worker{number: i, all: w, handler: handler(i), queue: w.queues[min(i, queues-1)]}
	}
	return w, nil
}

// connect makes the receive loops, and puts between them and the dispatcher what
// shall be there.
func (w *Workers) connect(cfg Config) (err error) {
	var front Handler = (*dispatcher)(w)
	if w.cfg.Between != nil {
		w.loans = make([]loan, len(cfg.Endpoints))
		if w.between, err = w.cfg.Between(front); err != nil {
			return err
		}
		front = newLender(w.between, w)
	}
	w.sub, err = New(cfg, front)
	return err
}

// byTopic reports whether batches are split. One worker gets everything anyway.
func (w *Workers) byTopic() bool { return w.cfg.Dispatch == ByTopic && w.cfg.Workers > 1 }

// errDrain ends the loops when Drain was called.
var errDrain = errors.New("subscriber: drained")

// Run receives and handles until every shard has ended and everything is
// handled, until Drain, until the context ends, or an error. It blocks and leaves
// no goroutine behind. It may be called once.
//
// When the context ends, or a handler fails or panics, what is queued is
// discarded and counted; a handler that is at work is waited for. The context's
// error is returned when the context ended the run, and nil after Drain.
func (w *Workers) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if !w.drain.CompareAndSwap(nil, &cancel) {
		return errors.New("subscriber: Run was called twice")
	}
	if w.drained.Load() {
		return nil // Drain came first
	}
	defer context.AfterFunc(ctx, func() {
		if !errors.Is(context.Cause(ctx), errDrain) {
			w.halt()
		}
	})()
	for _, p := range w.pools {
		p.open()
		defer p.close()
	}
	var (
		wg    sync.WaitGroup
		once  sync.Once
		first error
	)
	fail := func(err error) {
		once.Do(func() { first = err })
		w.halt()
		cancel(err)
	}
	for i := range w.work {
		wg.Go(func() { w.work[i].run(fail) })
	}
	err := w.receive(ctx)
	for _, q := range w.queues {
		close(q)
	}
	if err != nil && !errors.Is(err, errDrain) {
		w.halt()
	}
	wg.Wait()
	switch {
	case first != nil:
		return first
	case errors.Is(err, errDrain):
		return nil
	case errors.Is(err, errStopped):
		return context.Cause(ctx) // what the loop was stopped by
	}
	return err
}

// halt makes workers discard what is queued, and loops not wait for them.
func (w *Workers) halt() {
	if w.stopped.CompareAndSwap(false, true) {
		close(w.stop)
	}
}

// Drain makes Run receive no more, handle what has been received, and return
// nil. It does not wait. To stop at once, end Run's context.
func (w *Workers) Drain() {
	w.drained.Store(true)
	if cancel := w.drain.Load(); cancel != nil {
		(*cancel)(errDrain)
	}
}

// Summary returns what was seen so far. It may be called while Run runs.
func (w *Workers) Summary() WorkersSummary {
	sum := WorkersSummary{Summary: w.sub.Summary(), Discarded: w.discarded.Load(), Workers: make([]WorkerSummary, len(w.work))}
	for i := range w.work {
		sum.Workers[i] = WorkerSummary{Batches: w.work[i].batches.Load(), Records: w.work[i].records.Load()}
	}
	for _, p := range w.pools {
		sum.PoolWaits += p.waits.Load()
		sum.PoolWaited += time.Duration(p.waited.Load())
	}
	return sum
}

// Report says how the reader fares on a shard: see Subscriber.Report.
func (w *Workers) Report(shard int, r wire.ReaderReport) { w.sub.Report(shard, r) }

// cpu returns the CPU of a worker, or none.
func (w *Workers) cpu(i int) int {
	if w.cfg.CPUs == nil {
		return zsock.NoCPU
	}
	return w.cfg.CPUs[i]
}
