package sim

import (
	"context"
	"net"
	"time"

	"github.com/tapedeck/tapedeck/lvc"
)

// lvcWorld is what a process has for a lvc.World: a proxy runs in it as it is.
type lvcWorld struct{ p *Process }

// Now implements lvc.World.
func (o lvcWorld) Now() time.Time { return lifeBegan.Add(o.p.Now()) }

// Go implements lvc.World.
func (o lvcWorld) Go(f func()) { o.p.Go(f) }

// Sleep implements lvc.World.
func (o lvcWorld) Sleep(ctx context.Context, d time.Duration) error {
	o.p.Sleep(d, nil)
	return context.Cause(ctx)
}

// Bell implements lvc.World.
func (o lvcWorld) Bell() lvc.Bell { return &lvcBell{p: o.p} }

// Listen implements lvc.World.
func (o lvcWorld) Listen(endpoint string) (net.Listener, string, error) {
	return o.p.listen(endpoint), endpoint, nil
}

// Unsent implements lvc.World.
func (o lvcWorld) Unsent(conn net.Conn) int { return conn.(*stream).unacked }

// lvcBell is a bell in a process.
type lvcBell struct {
	p    *Process
	rung bool
}

// Ring implements lvc.Bell.
func (b *lvcBell) Ring() { b.rung = true }

// Wait implements lvc.Bell.
func (b *lvcBell) Wait() {
	if !b.rung {
		b.p.Sleep(-1, func() bool { return b.rung })
	}
	b.rung = false
}
