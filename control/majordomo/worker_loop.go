package majordomo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
	"github.com/tapedeck/tapedeck/internal/zsock"
)

// Run serves until ctx ends. Then it finishes what it has, tells the broker and
// returns nil. A broker that is away is looked for again and again. It may be
// called once.
func (w *Worker) Run(ctx context.Context) (err error) {
	handling, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	w.handling = handling
	if err := w.open(); err != nil {
		return errors.Join(fmt.Errorf("majordomo: worker: %w", err), w.close())
	}
	var handlers sync.WaitGroup
	for range w.cfg.Concurrency {
		handlers.Go(w.handle)
	}
	defer func() {
		cancel()
		close(w.jobs)
		handlers.Wait()
		for _, r := range w.finished() {
			r.over()
		}
		err = errors.Join(err, w.close())
	}()
	defer context.AfterFunc(ctx, w.waiter.Wake)()
	return w.loop(ctx, cancel)
}

func (w *Worker) now() time.Duration { return time.Since(w.begun) }

func (w *Worker) open() (err error) {
	w.begun = time.Now()
	w.jobs = make(chan *registration, w.cfg.Concurrency)
	for range w.cfg.Concurrency {
		r := &registration{in: zsock.NewInbox(), index: -1}
		r.m = workerMachine{
			cfg:   workerTimes{w.cfg.Heartbeat, time.Duration(w.cfg.Liveness) * w.cfg.Heartbeat, w.cfg.Work},
			back:  pirate.Backoff{First: w.cfg.Backoff, Most: w.cfg.BackoffMax, Random: rand.Float64},
			count: &w.count,
		}
		r.ctx, r.cancel = context.WithCancel(context.WithValue(w.handling, requestKey{}, r))
		w.registrations = append(w.registrations, r)
	}
	if w.zctx = w.cfg.Context; w.zctx == nil {
		if w.zctx, err = zsock.NewContext(zsock.NoCPU); err != nil {
			return err
		}
	}
	w.waiter, err = zsock.NewWaiter()
	return err
}

func (w *Worker) close() error {
	var errs []error
	for _, r := range w.registrations {
		r.cancel()
		r.in.Close()
		if r.socket != nil {
			errs = append(errs, r.socket.Close())
		}
	}
	if w.canary != nil {
		errs = append(errs, w.canary.Close())
	}
	if w.waiter != nil {
		errs = append(errs, w.waiter.Close())
	}
	if w.cfg.Context == nil && w.zctx != nil {
		errs = append(errs, w.zctx.Close())
	}
	return errors.Join(errs...)
}

// handle is a goroutine of handlers, so that the worker can beat meanwhile.
func (w *Worker) handle() {
	for r := range w.jobs {
		r.reply = w.cfg.Handler(r.ctx, r.request())
		w.mu.Lock()
		w.done = append(w.done, r)
		w.mu.Unlock()
		w.waiter.Wake()
	}
}

// finished returns the registrations whose handler has ended since the last call,
// borrowed until the next one.
func (w *Worker) finished() []*registration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counters = w.count
	w.done, w.taken = w.taken[:0], w.done
	return w.taken
}

// loop runs until every registration has left. After ctx the handlers have
// StopWait, then their contexts end.
func (w *Worker) loop(ctx context.Context, cancel context.CancelFunc) error {
	stopped := false
	patience := never
	for !w.left() {
		now := w.now()
		switch {
		case ctx.Err() != nil && !stopped:
			stopped, patience = true, now+w.cfg.StopWait
			for _, r := range w.registrations {
				if err := w.do(r, r.m.stop()); err != nil {
					return err
				}
			}
			continue
		case now >= patience:
			cancel()
			patience = never
		}
		if err := w.turn(patience); err != nil {
			return err
		}
	}
	w.finished() // publishes the counters
	return nil
}

func (w *Worker) left() bool {
	for _, r := range w.registrations {
		if r.m.state != workerDone {
			return false
		}
	}
	return true
}

func (w *Worker) turn(patience time.Duration) error {
	if err := w.tick(); err != nil {
		return err
	}
	w.ready = w.ready[:0]
	ready, err := w.waiter.Wait(w.ready, max(min(w.due, patience, w.now()+time.Hour)-w.now(), 0))
	if err != nil {
		return fmt.Errorf("majordomo: worker: %w", err)
	}
	w.ready, w.readers = ready, w.readers[:0]
	for _, i := range ready {
		w.readers = append(w.readers, w.watched[i]) // by now: what is done below may change the indices
	}
	for _, r := range w.finished() {
		if err := w.answer(r); err != nil {
			return err
		}
	}
	for _, r := range w.readers {
		if r == nil {
			err = w.heed()
		} else {
			err = w.read(r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tick does what time brings, where it is time.
func (w *Worker) tick() error {
	now := w.now()
	if now < w.due {
		return nil
	}
	w.due = never
	for _, r := range w.registrations {
		if err := w.do(r, r.m.tick(now)); err != nil {
			return err
		}
	}
	return nil
}

// read takes in what the broker has sent, up to a request.
func (w *Worker) read(r *registration) error {
	for r.socket != nil && r.m.state == workerIdle {
		err := r.socket.RecvMany(r.in, 1, 1)
		if errors.Is(err, zsock.ErrAgain) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("majordomo: worker: %w", err)
		}
		parseAtWorker(&r.parsed, r.in.Next())
		if err := w.do(r, r.m.message(w.now(), r.parsed.command)); err != nil {
			return err
		}
	}
	return nil
}

// answer sends the reply of a handler that has ended.
func (w *Worker) answer(r *registration) error {
	w.out.Reset()
	r.put(&w.out)
	large := w.out.Size() > largeBatch
	_, err := r.socket.SendMany(&w.out)
	if large {
		w.out = zsock.Outbox{}
	}
	r.over()
	w.waiter.Mute(r.index, false)
	if r.ctx.Err() != nil { // it took too long
		r.cancel()
		r.ctx, r.cancel = context.WithCancel(context.WithValue(w.handling, requestKey{}, r))
	}
	return w.do(r, r.m.finished(w.now(), err == nil))
}

// do does what the machine of a registration wants done.
func (w *Worker) do(r *registration, a workerAct) error {
	var err error
	switch a {
	case workerOpen:
		err = w.connect(r)
	case workerElsewhere:
		if r.at == w.at { // the others follow when they notice
			w.at = (w.at + 1) % len(w.cfg.Endpoints)
		}
		err = w.drop(r)
	case workerClose:
		err = w.drop(r)
	case workerGoodbye:
		w.say(r, frameDisconnect)
		err = errors.Join(r.socket.SetLinger(w.cfg.StopWait), w.drop(r))
	case workerBeat:
		w.say(r, frameHeartbeat)
	case workerOverdue:
		r.cancel()
	case workerStart:
		w.waiter.Mute(r.index, true)
		w.jobs <- r // there is room for all
	}
	w.due = min(w.due, r.m.due())
	return err
}

// say sends a command. A broker that takes none shows by its silence.
func (w *Worker) say(r *registration, command []byte) {
	w.out.Reset()
	sayCommand(&w.out, command, true)
	_, _ = r.socket.SendMany(&w.out)
}

// connect offers the service to the broker, on a new socket.
func (w *Worker) connect(r *registration) error {
	s, err := w.zctx.NewSocket(zsock.DEALER, zsock.SocketConfig{MessageMax: w.cfg.RequestBytes})
	if err != nil {
		return fmt.Errorf("majordomo: worker: %w", err)
	}
	r.socket, r.at = s, w.at
	if r == w.registrations[0] {
		if w.canary, err = w.zctx.Monitor(s); err != nil {
			return fmt.Errorf("majordomo: worker: %w", err)
		}
		w.connected = false
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

// drop closes the socket of a registration.
func (w *Worker) drop(r *registration) error {
	s := r.socket
	r.socket, r.index = nil, -1
	err := s.Close()
	if r == w.registrations[0] {
		err = errors.Join(err, w.canary.Close())
		w.canary = nil
	}
	w.watch()
	return err
}

// watch has the waiter watch the sockets that there are.
func (w *Worker) watch() {
	w.watched = w.watched[:0]
	var sockets []*zsock.Socket
	for _, r := range w.registrations {
		if r.socket != nil {
			r.index = len(sockets)
			w.watched, sockets = append(w.watched, r), append(sockets, r.socket)
		}
	}
	if w.canary != nil {
		w.watched, sockets = append(w.watched, nil), append(sockets, w.canary.Socket())
	}
	w.waiter.Watch(sockets...)
	for _, r := range w.watched {
		if r != nil && r.m.state == workerBusy {
			w.waiter.Mute(r.index, true)
		}
	}
}

// heed takes note of what became of the first registration's connection. When that
// has come back, so have the others', and to a broker that does not know them.
func (w *Worker) heed() error {
	for w.canary != nil {
		change, err := w.canary.Next()
		if errors.Is(err, zsock.ErrAgain) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("majordomo: worker: %w", err)
		}
		if change != zsock.Connected {
			continue
		}
		if !w.connected {
			w.connected = true
			continue
		}
		for _, r := range w.registrations {
			if err := w.do(r, r.m.reconnected(w.now())); err != nil {
				return err
			}
		}
	}
	return nil
}
