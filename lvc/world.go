package lvc

import (
	"context"
	"net"
	"time"

	"github.com/tapedeck/tapedeck/internal/zmtp"
)

// World is what a Proxy stands on: a clock, goroutines that wait for each other and for
// the time, and connections. All that a proxy decides it decides from these and from its
// methods' arguments; so it runs in a made-up world as it is. What a World does not have
// are multicast endpoints and TryClientsWay, which are the system's always.
type World interface {
	// Now is a clock that is never set. Only differences of its times mean anything.
	Now() time.Time
	// Go runs f beside the caller.
	Go(f func())
	// Sleep returns nil when d has passed, or earlier why ctx has ended.
	Sleep(ctx context.Context, d time.Duration) error
	// Bell returns a bell that has not been rung.
	Bell() Bell
	// Listen binds an endpoint of tcp or ipc, and returns it with its wildcards
	// resolved. Close of the listener makes Accept fail with net.ErrClosed.
	Listen(endpoint string) (l net.Listener, bound string, err error)
	// Unsent is how many bytes that were written to a connection have not been sent or
	// acknowledged; 0 where nobody knows.
	Unsent(conn net.Conn) int
}

// Bell is how one goroutine wakes another. Ring never waits, and is remembered, once,
// until Wait has returned. One goroutine waits, any may ring.
type Bell interface {
	Ring()
	Wait()
}

// system is the World of the operating system.
type system struct{}

func (system) Now() time.Time                                       { return time.Now() }
func (system) Go(f func())                                          { go f() }
func (system) Bell() Bell                                           { return make(bell, 1) }
func (system) Listen(endpoint string) (net.Listener, string, error) { return zmtp.Listen(endpoint) }
func (system) Unsent(conn net.Conn) int                             { return zmtp.Unsent(conn) }
func (system) Sleep(ctx context.Context, d time.Duration) (err error) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// bell is the system's Bell.
type bell chan struct{}

func (b bell) Ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

func (b bell) Wait() { <-b }
