package main

import (
	"context"

	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// box is a subscriber, with workers behind it or without.
type box struct {
	run     func(context.Context) error
	summary func() subscriber.Summary
	workers func(*subSummary) // adds what the workers did
}

// newBox makes a box; without CPUs of workers, the loops do the work. It is watched
// where there is a watch.
func newBox(cfg subscriber.Config, cpus []int, d subscriber.Dispatch, h *subHandler, watch *slowWatch) (*box, error) {
	if len(cpus) == 0 {
		var handler subscriber.Handler = h
		if watch != nil {
			var err error
			if handler, err = watch.handler(h); err != nil {
				return nil, err
			}
		}
		s, err := subscriber.New(cfg, handler)
		if err != nil {
			return nil, err
		}
		if watch != nil {
			watch.report = s.Report
		}
		return &box{s.Run, s.Summary, func(*subSummary) {}}, nil
	}
	w, err := subscriber.NewWorkers(cfg, subscriber.WorkersConfig{Workers: len(cpus), Dispatch: d, CPUs: cpus},
		func(i int) subscriber.WorkerHandler {
			worker := &subWorker{h, &h.tallies[i], i == 0 || d == subscriber.Any}
			if watch != nil {
				return &slowWorker{worker, watch, i}
			}
			return worker
		})
	if err != nil {
		return nil, err
	}
	if watch != nil {
		watch.report = w.Report
	}
	return &box{
		run:     w.Run,
		summary: func() subscriber.Summary { return w.Summary().Summary },
		workers: func(sum *subSummary) {
			s := w.Summary()
			sum.Dispatch, sum.Discarded = d.String(), s.Discarded
			sum.PoolWaits, sum.PoolWaited = s.PoolWaits, int64(s.PoolWaited)
			for _, one := range s.Workers {
				sum.Workers = append(sum.Workers, workerSummary(one))
			}
		},
	}, nil
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
func (w *subWorker) HandleShare(s *subscriber.Share) error { return w.tally.visit(s) }

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
