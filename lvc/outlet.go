package lvc

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/internal/zmtp"
	"github.com/tapedeck/tapedeck/internal/zsock"
)

// outlet sends the plain stream where subscriptions cannot come back from: to a
// multicast group, by libzmq. Who listens there gets no answers; a snapshot may be
// had of the proxy's snapshot service.
type outlet struct {
	r      *reader
	ctx    *zsock.Context
	socket *zsock.Socket
	box    zsock.Outbox
	ended  chan struct{}
	err    error
}

// ErrTransport: an endpoint's transport is not one that the plain stream has, or
// that this libzmq was built with.
var ErrTransport = errors.New("lvc: transport of a plain endpoint: want tcp, ipc, pgm or epgm")

// outletPause is how long an outlet waits when the rate of its group is used up.
const outletPause = time.Millisecond

// openOutlet binds a multicast endpoint.
func (p *Proxy) openOutlet(endpoint string) (err error) {
	transport, _, _ := strings.Cut(endpoint, "://")
	if transport != "pgm" && transport != "epgm" {
		return fmt.Errorf("%w: %s", ErrTransport, endpoint)
	}
	if !zsock.Has("pgm") {
		return fmt.Errorf("%w: libzmq here has no %s: %s", ErrTransport, transport, endpoint)
	}
	o := &outlet{ended: make(chan struct{})}
	if o.ctx, err = zsock.NewContext(zsock.NoCPU); err != nil {
		return err
	}
	// NoDrop: what the group's rate does not allow waits in the reader's queue, where
	// it is bounded in bytes and counted.
	o.socket, err = o.ctx.NewSocket(zsock.XPUB, zsock.SocketConfig{NoDrop: true, MulticastRate: p.cfg.MulticastRate})
	if err == nil {
		if _, err = o.socket.Bind(endpoint); err == nil {
			o.r = p.hub.outlet(endpoint)
			p.outlets = append(p.outlets, o)
			go o.run()
			return nil
		}
		_ = o.socket.Close()
	}
	_ = o.ctx.Close()
	return fmt.Errorf("lvc: %w", err)
}

// run sends what comes into the reader's queue until that ends. It owns the socket.
func (o *outlet) run() {
	defer close(o.ended)
	var (
		bufs  net.Buffers
		taken []*chunk
	)
	for o.err == nil {
		var ok bool
		if bufs, taken, _, ok = o.r.take(bufs[:0], taken[:0]); !ok {
			if o.r.stopping() {
				return
			}
			o.r.wake.Wait()
			continue
		}
		for _, b := range bufs {
			o.send(b)
		}
		if o.r.wrote(taken) {
			o.r.hub.caughtUp(o.r)
		}
	}
}

// send sends whole messages, waiting while the group's rate does not allow more.
func (o *outlet) send(b []byte) {
	o.r.written.Add(uint64(len(b)))
	for {
		body, more, rest, ok := zmtp.NextFrame(b)
		if !ok {
			break
		}
		o.box.Frame(body, !more)
		b = rest
	}
	for o.box.Messages() > 0 && o.err == nil && !o.r.stopping() {
		switch _, err := o.socket.SendMany(&o.box); {
		case errors.Is(err, zsock.ErrAgain):
			time.Sleep(outletPause)
		case err != nil:
			o.err = err
		}
	}
	o.box.Reset()
}

// close ends the outlet, once its hub has told its reader to stop.
func (o *outlet) close() error {
	<-o.ended
	return errors.Join(o.err, o.socket.Close(), o.ctx.Close())
}
