package subscriber

import (
	"context"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// Between stands between the receive loops and the workers and may hold back what
// comes: one that fills gaps, for example. It calls the Handler that it was given:
// for one shard never concurrently, from any goroutine, while Run runs or from a
// call of a receive loop.
//
// A batch that it hands on while the loop that brought it waits goes to the workers
// without a copy; others are copied. The Handler it was given also has a method
// HandleRefill, like HandleBatch, for batches that do not come live: a Share tells
// them apart. Where Between is no MarkHandler or NoticeHandler, marks and notices go
// nowhere.
type Between interface {
	Handler
	// Run does what there is to do beside the receive loops until ctx ends. It
	// returns ctx's cause, or an error that ends the run.
	Run(ctx context.Context) error
	// Settle waits, once the loops have ended, until nothing is held back any more,
	// or until ctx ends.
	Settle(ctx context.Context) error
}

// lender is the receive loops' side of a Between. It is a keeper, so that what is
// handed on at once keeps its message.
type lender struct {
	Between
	marks   MarkHandler   // Between, where it takes them
	notices NoticeHandler // Between, where it takes them
	workers *Workers
}

// loan is the batch at hand of one shard's loop, while that waits, and the message
// that it lies in.
type loan struct {
	batch   atomic.Pointer[wire.Batch]
	message *zsock.Message // of who has the batch
}

func newLender(b Between, w *Workers) *lender {
	l := &lender{Between: b, workers: w}
	l.marks, _ = b.(MarkHandler)
	l.notices, _ = b.(NoticeHandler)
	return l
}

// keep implements keeper.
func (l *lender) keep(b *wire.Batch, skip uint32, m *zsock.Message) (*zsock.Message, error) {
	at := &l.workers.loans[b.Shard]
	at.message = m
	at.batch.Store(b)
	err := l.HandleBatch(b, skip)
	at.batch.Store(nil)
	m, at.message = at.message, nil
	return m, err
}

// settle implements keeper.
func (l *lender) settle(shard int) { l.workers.pools[shard].settle() }

// HandleMark implements MarkHandler.
func (l *lender) HandleMark(shard int, h *wire.Header) {
	if l.marks != nil {
		l.marks.HandleMark(shard, h)
	}
}

// HandleNotice implements NoticeHandler.
func (l *lender) HandleNotice(shard int, r wire.Record) {
	if l.notices != nil {
		l.notices.HandleNotice(shard, r)
	}
}

// receive runs the receive loops, and what stands behind them, until the stream has
// ended and everything has been handed over.
func (w *Workers) receive(ctx context.Context) error {
	if w.between == nil {
		return w.sub.Run(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cancel(w.between.Run(ctx))
	}()
	// Whoever hands over must have stopped when the queues are closed.
	defer func() { <-ended }()
	defer cancel(nil)
	if err := w.sub.Run(ctx); err != nil {
		return err
	}
	return w.between.Settle(ctx)
}
