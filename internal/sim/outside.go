package sim

import (
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// outside is what a process has for a zsock.World: rooms that use sockets run in it
// as they are.
type outside struct{ p *Process }

// Context returns a context whose sockets are this process's, in this life.
func (p *Process) Context() *zsock.Context { return zsock.NewWorldContext(outside{p}) }

// Now implements zsock.World.
func (o outside) Now() time.Duration { return o.p.Now() }

// Wall implements zsock.World.
func (o outside) Wall() time.Time { return time.Unix(0, o.p.Wall()) }

// Random implements zsock.World.
func (o outside) Random() float64 { return o.p.w.rng.Float64() }

// Go implements zsock.World.
func (o outside) Go(f func()) { o.p.Go(f) }

// Sleep implements zsock.World.
func (o outside) Sleep(timeout time.Duration, ready func() bool) { o.p.Sleep(timeout, ready) }

// Open implements zsock.World.
func (o outside) Open(t zsock.Type, cfg zsock.SocketConfig) (zsock.Port, error) {
	if t != zsock.DEALER && t != zsock.ROUTER {
		return nil, fmt.Errorf("sim: there are no sockets of type %v", t)
	}
	s := &port{p: o.p, life: o.p.life, router: t == zsock.ROUTER, identity: cfg.Identity, peers: map[string]*conn{}}
	s.queue = queueOf(cfg.SendQueue) + queueOf(cfg.ReceiveQueue)
	o.p.ports = append(o.p.ports, s)
	return s, nil
}

// queueOf is how many messages a high-water mark lets through.
func queueOf(mark int) int {
	switch {
	case mark == 0:
		return 1000
	case mark < 0:
		return 1 << 30
	}
	return mark
}
