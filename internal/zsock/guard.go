package zsock

import (
	"errors"
	"sync"
)

// guard is a goroutine of a context with a lock. It answers who may connect, and hears
// of connections that came to nothing.
type guard struct {
	waiter  *Waiter
	answers bool // a zap is there; the context's lock guards it
	stop    chan struct{}
	ended   chan struct{}

	mu    sync.Mutex
	fresh []guarded // for run to take over
	err   error     // of closing them
}

// guarded is a socket that a guard attends to.
type guarded interface {
	of() *Socket
	// attend takes what waits; false ends it.
	attend() (goesOn bool)
}

// guarding returns the context's guard.
func (c *Context) guarding() (*guard, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.guard != nil {
		return c.guard, nil
	}
	w, err := NewWaiter()
	if err != nil {
		return nil, err
	}
	c.guard = &guard{waiter: w, stop: make(chan struct{}), ended: make(chan struct{})}
	go c.guard.run()
	return c.guard, nil
}

// add hands a socket over: from now on it is the guard's.
func (g *guard) add(s guarded) {
	g.mu.Lock()
	g.fresh = append(g.fresh, s)
	g.mu.Unlock()
	g.waiter.Wake()
}

// run attends to the sockets until close.
func (g *guard) run() {
	var (
		all   []guarded
		ready []int
	)
	defer close(g.ended)
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, s := range append(all, g.fresh...) {
			g.err = errors.Join(g.err, s.of().Close())
		}
	}()
	for {
		select {
		case <-g.stop:
			return
		default:
		}
		all = g.takeOver(all)
		var err error
		if ready, err = g.waiter.Wait(ready[:0], Forever); err != nil {
			return // the context has ended
		}
		for i := len(ready) - 1; i >= 0; i-- {
			at := ready[i]
			if all[at].attend() {
				continue
			}
			g.release(all[at])
			all = append(all[:at], all[at+1:]...)
			g.watch(all)
		}
	}
}

// takeOver adds what add was given to all.
func (g *guard) takeOver(all []guarded) []guarded {
	g.mu.Lock()
	fresh := g.fresh
	g.fresh = nil
	g.mu.Unlock()
	if len(fresh) == 0 {
		return all
	}
	all = append(all, fresh...)
	g.watch(all)
	return all
}

func (g *guard) watch(all []guarded) {
	sockets := make([]*Socket, len(all))
	for i, s := range all {
		sockets[i] = s.of()
	}
	g.waiter.Watch(sockets...)
}

func (g *guard) release(s guarded) {
	err := s.of().Close()
	g.mu.Lock()
	g.err = errors.Join(g.err, err)
	g.mu.Unlock()
}

func (g *guard) close() error {
	close(g.stop)
	g.waiter.Wake()
	<-g.ended
	return errors.Join(g.err, g.waiter.Close())
}
