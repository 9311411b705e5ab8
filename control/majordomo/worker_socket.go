package majordomo

import (
	"errors"
	"fmt"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// connect offers the service to the broker, on a new socket.
func (w *Worker) connect(r *registration) error {
	cfg := zsock.SocketConfig{MessageMax: w.cfg.RequestBytes}
	if w.cfg.Prefetch > 1 {
		cfg.Identity = string(identityOf(w.cfg.Prefetch))
	}
	s, err := w.zctx.NewSocket(zsock.DEALER, cfg)
	if err != nil {
		return fmt.Errorf("majordomo: worker: %w", err)
	}
	r.socket, r.stood = s, false
	if w.telling(r) {
		if r.monitor, err = w.zctx.Monitor(s); err != nil {
			return fmt.Errorf("majordomo: worker: %w", err)
		}
	}
	if err := s.Connect(w.cfg.Endpoints[r.at]); err != nil {
		return fmt.Errorf("majordomo: worker: %w", err)
	}
	w.watch()
	w.out.Reset()
	sayCommand(&w.out, frameReady, false)
	w.out.Frame([]byte(w.cfg.Service), true)
	_, _ = s.SendMany(&w.out) // a queue that has just been made takes it
	return nil
}

// telling reports whether the registration's connection is watched. A worker that
// is known by an identity of its own is known on a connection that came back, too,
// but what it was sent may be lost: it has to notice. For others one tells for all
// of its endpoint that the broker may be a new one.
func (w *Worker) telling(r *registration) bool {
	return w.cfg.Prefetch > 1 || r.first
}

// drop closes the socket of a registration.
func (w *Worker) drop(r *registration) error {
	var err error
	if r.monitor != nil {
		err = r.monitor.Close()
	}
	err = errors.Join(err, r.socket.Close())
	r.socket, r.monitor = nil, nil
	w.watch()
	return err
}

// watch has the waiter watch the sockets that there are.
func (w *Worker) watch() {
	w.watched = w.watched[:0]
	var sockets []*zsock.Socket
	for _, r := range w.registrations {
		if r.socket == nil {
			continue
		}
		r.index = len(sockets)
		w.watched, sockets = append(w.watched, watchedSocket{r, false}), append(sockets, r.socket)
		if r.monitor != nil {
			w.watched, sockets = append(w.watched, watchedSocket{r, true}), append(sockets, r.monitor.Socket())
		}
	}
	w.waiter.Watch(sockets...)
	for _, s := range w.watched {
		if !s.monitor && s.r.m.state == workerBusy {
			w.waiter.Mute(s.r.index, true)
		}
	}
}

// heed takes note of what became of a registration's connection. One that has come
// back leads to a broker that does not know what there was.
func (w *Worker) heed(r *registration) error {
	for r.monitor != nil {
		change, err := r.monitor.Next()
		switch {
		case errors.Is(err, zsock.ErrAgain):
			return nil
		case err != nil:
			return fmt.Errorf("majordomo: worker: %w", err)
		case change == zsock.Disconnected:
		case !r.stood:
			r.stood = true
		default:
			if err := w.renew(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// renew has a registration offer itself anew, and those that it tells for.
func (w *Worker) renew(teller *registration) error {
	for _, r := range w.registrations {
		if r == teller || w.cfg.Prefetch == 1 && r.at == teller.at {
			if err := w.do(r, r.m.reconnected(w.now())); err != nil {
				return err
			}
		}
	}
	return nil
}
