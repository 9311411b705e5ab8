package subscriber

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// worker calls one handler. One goroutine owns it while Run runs.
type worker struct {
	number  int
	all     *Workers
	handler WorkerHandler
	queue   chan *lease
	share   Share // of the batch at hand; a variable would be moved to the heap for the handler

	batches, records atomic.Uint64
	_                [64]byte // keep neighbours off each other's cache line
}

// errGoexit: a handler ended its goroutine.
var errGoexit = errors.New("subscriber: a worker's handler called runtime.Goexit")

// run handles the queue until it is closed. After an error it discards: whatever
// is queued must be let go of, or the loops would wait for ever. It does so as a
// deferred call, for a handler may end the goroutine.
func (w *worker) run(fail func(error)) {
	err := errGoexit
	defer func() {
		if err != nil {
			fail(err)
		}
		for l := range w.queue {
			w.discard(l)
		}
	}()
	err = w.serve()
}

func (w *worker) serve() (err error) {
	if cpu := w.all.cpu(w.number); cpu != zsock.NoCPU {
		unpin, err := zsock.PinThread(cpu)
		if err != nil {
			return fmt.Errorf("subscriber: worker %d: %w", w.number, err)
		}
		defer unpin()
	}
	var held *lease
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Worker: w.number, Value: v, Stack: debug.Stack()}
		}
		if held != nil {
			w.discard(held)
		}
	}()
	for l := range w.queue {
		if w.all.stopped.Load() {
			w.discard(l)
			continue
		}
		held = l
		if err := w.handle(l); err != nil {
			return err
		}
		held = nil
		l.drop()
	}
	return nil
}

func (w *worker) handle(l *lease) error {
	h, n, shard := w.handler, &l.note, int(l.batch.Shard)
	switch l.kind {
	case leaseGap:
		h.HandleGap(shard, n.epoch, n.from, n.to)
	case leaseSession:
		h.HandleSession(shard, n.epoch, n.session)
	case leaseEnd:
		h.HandleEnd(shard, n.epoch, n.complete)
	case leaseNotice:
		if h, ok := h.(NoticeHandler); ok {
			h.HandleNotice(shard, n.notice)
		}
	default:
		w.share = NewShare(&l.batch, l.skip)
		if w.all.byTopic() {
			w.share = Share{batch: &l.batch, places: l.lists[w.number]}
		}
		w.share.refill = l.refill
		if err := h.HandleShare(&w.share); err != nil {
			return fmt.Errorf("worker %d, shard %d, batch at sequence %d: %w", w.number, shard, l.batch.FirstSeq, err)
		}
		w.batches.Add(1)
		w.records.Add(uint64(w.share.Len()))
	}
	return nil
}

// discard lets go of what is not handled. A batch that several workers discard
// counts once.
func (w *worker) discard(l *lease) {
	if l.kind == leaseBatch && !l.lost.Swap(true) {
		w.all.discarded.Add(1)
	}
	l.drop()
}
