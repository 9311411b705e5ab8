package replay

import (
	"context"
	"errors"
	"sync"
)

// Errors of commands.
var (
	// ErrBeyond: there is nothing to play at or behind that place.
	ErrBeyond = errors.New("replay: beyond what there is to play")
	// ErrFinished: the player plays no more.
	ErrFinished = errors.New("replay: finished")
	// ErrOverruled: another command came before this one was through.
	ErrOverruled = errors.New("replay: overruled by a later command")
	// ErrStopped is what Run returns after Stop.
	ErrStopped = errors.New("replay: stopped")
	// ErrNoEpochs: the publisher is no EpochPublisher, so the stream can only go
	// on where it is.
	ErrNoEpochs = errors.New("replay: the publisher cannot begin another epoch")
)

// errOrder is why what plays is broken off: an order has come. What did not go out
// is taken back, the order carried out between two stretches of play, and play goes
// on from where it stands. So nothing that plays looks for orders: it looks at its
// context, as it must in any case.
var errOrder = errors.New("replay: an order has come")

// order is a command on its way to the player's goroutine.
type order struct {
	name  string         // of the command
	apply func(o *order) // called between two stretches of play
	reply chan error     // takes one; whoever applied the order sees to it
}

// through tells who gave the order that it is through.
func (o *order) through(err error) {
	if o != nil {
		o.reply <- err
	}
}

// orders are the commands that wait for the player.
type orders struct {
	mu      sync.Mutex
	waiting []*order
	cancel  context.CancelCauseFunc // ends the stretch that plays now
	stop    context.CancelCauseFunc // ends the run
	waiter  *waiter                 // to be woken, while there is one
	over    error                   // what orders get once the run is over
	ended   chan struct{}           // closed when Run has returned
	once    sync.Once
}

func newOrders() *orders { return &orders{ended: make(chan struct{})} }

// open begins a run and returns the context that Stop ends.
func (o *orders) open(ctx context.Context, w *waiter) context.Context {
	o.mu.Lock()
	defer o.mu.Unlock()
	ctx, o.stop = context.WithCancelCause(ctx)
	o.waiter = w
	if o.over != nil {
		o.stop(o.over)
	}
	return ctx
}

// renew is open for a run that goes on though it was stopped.
func (o *orders) renew(ctx context.Context) context.Context {
	o.mu.Lock()
	defer o.mu.Unlock()
	ctx, o.stop = context.WithCancelCause(ctx)
	return ctx
}

// next begins a stretch: it returns the orders that have come, and the context
// that the next one ends.
func (o *orders) next(ctx context.Context) (context.Context, []*order) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cancel != nil {
		o.cancel(nil)
	}
	ctx, o.cancel = context.WithCancelCause(ctx)
	if o.waiter != nil {
		o.waiter.rest()
	}
	list := o.waiting
	o.waiting = nil
	return ctx, list
}

// come reports whether a stretch was broken off by an order alone.
func (o *orders) come(stretch, run context.Context) bool {
	return stretch.Err() != nil && run.Err() == nil && context.Cause(stretch) == errOrder
}

// give hands an order over and waits until it is through.
func (o *orders) give(ctx context.Context, name string, apply func(o *order)) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// The order may be through after its giver has gone.
	order := &order{name: name, apply: apply, reply: make(chan error, 1)}
	o.mu.Lock()
	if o.over != nil {
		defer o.mu.Unlock()
		return o.over
	}
	o.waiting = append(o.waiting, order)
	if o.cancel != nil {
		o.cancel(errOrder)
	}
	if o.waiter != nil {
		o.waiter.wake()
	}
	o.mu.Unlock()
	select {
	case err := <-order.reply:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// end ends the run, or one that is still to come, for a reason.
func (o *orders) end(reason error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stop == nil {
		o.over = reason
		return
	}
	o.stop(reason)
	if o.waiter != nil {
		o.waiter.wake()
	}
}

// close says that play is over: orders that wait, and later ones, get the reason.
// The waiter is the caller's again.
func (o *orders) close(reason error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cancel != nil {
		o.cancel(nil)
	}
	o.over, o.waiter, o.cancel = reason, nil, nil
	for _, order := range o.waiting {
		order.through(reason)
	}
	o.waiting = nil
}

// finish says that the run is over.
func (o *orders) finish() {
	o.close(ErrFinished)
	o.once.Do(func() { close(o.ended) })
}
