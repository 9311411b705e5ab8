package main

import (
	"context"

	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// box is a subscriber, with workers behind it or without.
type box struct {
	run       func(context.Context) error
	summary   func() subscriber.Summary
	workers   func(*subSummary)                // adds what the workers did
	detail    func() subscriber.WorkersSummary // the same; nil without workers
	healing   *healing                         // nil: what is missing stays missing
	positions func() []resync.Span
}

// boxConfig is what a box is made from.
type boxConfig struct {
	in       subscriber.Config
	cpus     []int // of workers; none: the loops do the work
	dispatch subscriber.Dispatch
	watch    *slowWatch // may be nil
	catchUp  *catchUp   // may be nil
}

// newBox makes a box around a handler. What stands between the receive loops and the
// handler makes the stream whole first, and watches how it fares then.
func newBox(cfg boxConfig, h *subHandler) (*box, error) {
	h.told = cfg.catchUp != nil
	if len(cfg.cpus) > 0 {
		return newWorkersBox(cfg, h)
	}
	var (
		handler subscriber.Handler = h
		b                          = &box{workers: func(*subSummary) {}}
		err     error
	)
	if cfg.watch != nil {
		if handler, err = cfg.watch.handler(h); err != nil {
			return nil, err
		}
	}
	if cfg.catchUp != nil {
		if b.healing, err = cfg.catchUp.heal(len(cfg.in.Endpoints), handler); err != nil {
			return nil, err
		}
		handler, b.positions = b.healing, b.healing.Positions
	}
	s, err := subscriber.New(cfg.in, handler)
	if err != nil {
		return nil, err
	}
	if cfg.watch != nil {
		cfg.watch.report = s.Report
	}
	b.run, b.summary = s.Run, s.Summary
	if b.healing != nil {
		b.run = func(ctx context.Context) error { return b.healing.receive(ctx, s.Run) }
	}
	return b, nil
}

func newWorkersBox(cfg boxConfig, h *subHandler) (*box, error) {
	b := &box{}
	wc := subscriber.WorkersConfig{Workers: len(cfg.cpus), Dispatch: cfg.dispatch, CPUs: cfg.cpus}
	if cfg.catchUp != nil {
		wc.Between = func(next subscriber.Handler) (_ subscriber.Between, err error) {
			b.healing, err = cfg.catchUp.heal(len(cfg.in.Endpoints), next)
			return b.healing, err
		}
	}
	w, err := subscriber.NewWorkers(cfg.in, wc, func(i int) subscriber.WorkerHandler {
		worker := &subWorker{h, &h.tallies[i], i == 0 || cfg.dispatch == subscriber.Any}
		if cfg.watch != nil {
			return &slowWorker{worker, cfg.watch, i}
		}
		return worker
	})
	if err != nil {
		return nil, err
	}
	if cfg.watch != nil {
		cfg.watch.report = w.Report
	}
	b.run, b.positions = w.Run, func() []resync.Span { return handledBy(w) }
	b.summary, b.detail = func() subscriber.Summary { return w.Summary().Summary }, w.Summary
	b.workers = func(sum *subSummary) {
		s := w.Summary()
		sum.Dispatch, sum.Discarded = cfg.dispatch.String(), s.Discarded
		sum.PoolWaits, sum.PoolWaited = s.PoolWaits, int64(s.PoolWaited)
		for _, one := range s.Workers {
			sum.Workers = append(sum.Workers, workerSummary(one))
		}
	}
	return b, nil
}

// handledBy is how far workers are. What the healer has handed over some of them
// may still have in hand.
func handledBy(w *subscriber.Workers) []resync.Span {
	var list []resync.Span
	for _, p := range w.Handled() {
		list = append(list, resync.Span{Epoch: p.Epoch, Shard: p.Shard, To: p.Next})
	}
	return list
}

// outcome is what the box has seen and done so far, and why that is not complete.
func (b *box) outcome() (subscriber.Summary, *healSummary, string) {
	in := b.summary()
	if b.healing == nil {
		return in, nil, in.Why()
	}
	return b.healing.outcome(in)
}

// workerSummary is what one worker handled.
type workerSummary struct {
	Batches uint64 `json:"batches"`
	Records uint64 `json:"records"`
}

// subWorker is one worker of a subHandler.
type subWorker struct {
	*subHandler
	tally *tally
	tells bool // it says what all workers hear
}

// HandleShare implements subscriber.WorkerHandler.
func (w *subWorker) HandleShare(s *subscriber.Share) error { return w.tally.visit(s, !s.Refill()) }

// HandleGap implements subscriber.WorkerHandler.
func (w *subWorker) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	if w.tells {
		w.subHandler.HandleGap(shard, epoch, from, to)
	}
}

// HandleEnd implements subscriber.WorkerHandler.
func (w *subWorker) HandleEnd(shard int, epoch wire.Epoch, complete bool) {
	if w.tells {
		w.subHandler.HandleEnd(shard, epoch, complete)
	}
}
