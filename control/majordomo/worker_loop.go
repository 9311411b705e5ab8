package majordomo

import (
	"context"
	"errors"
	"fmt"
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
	if w.zctx.World() == nil {
		for range w.cfg.Concurrency {
			handlers.Go(w.handle)
		}
	}
	defer func() {
		cancel()
		close(w.jobs)
		handlers.Wait()
		err = errors.Join(err, w.close())
	}()
	defer context.AfterFunc(ctx, w.waiter.Wake)()
	return w.loop(ctx, cancel)
}

func (w *Worker) open() (err error) {
	if w.zctx = w.cfg.Context; w.zctx == nil {
		if w.zctx, err = zsock.NewContext(zsock.NoCPU); err != nil {
			return err
		}
	}
	w.now, w.spare = w.zctx.Clock(), new(zsock.Outbox)
	all := w.cfg.Concurrency * len(w.cfg.Endpoints)
	w.jobs = make(chan *registration, all)
	for i := range all {
		r := &registration{at: i / w.cfg.Concurrency, first: i%w.cfg.Concurrency == 0, in: zsock.NewInbox(), out: new(zsock.Outbox)}
		r.m = workerMachine{
			cfg:   workerTimes{w.cfg.Heartbeat, time.Duration(w.cfg.Liveness) * w.cfg.Heartbeat, w.cfg.Work},
			back:  pirate.Backoff{First: w.cfg.Backoff, Most: w.cfg.BackoffMax, Random: w.zctx.Random},
			count: &w.count,
		}
		r.ctx, r.cancel = w.contextOf(r)
		w.registrations = append(w.registrations, r)
	}
	w.waiter, err = w.zctx.NewWaiter()
	return err
}

func (w *Worker) close() error {
	var errs []error
	for _, r := range w.registrations {
		r.cancel()
		r.in.Close()
		if r.monitor != nil {
			errs = append(errs, r.monitor.Close())
		}
		if r.socket != nil {
			errs = append(errs, r.socket.Close())
		}
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
		w.serve(r)
	}
}

func (w *Worker) serve(r *registration) {
	r.serve(w, func() { w.tell(r, false) })
	w.tell(r, true)
}

// hand hands the requests that have come over a registration to a goroutine of
// handlers.
func (w *Worker) hand(r *registration) {
	r.mu.Lock()
	r.taken = false
	r.mu.Unlock()
	if world := w.zctx.World(); world != nil {
		world.Go(func() { w.serve(r) })
		return
	}
	w.jobs <- r // there is room for all
}

func (w *Worker) tell(r *registration, all bool) {
	w.mu.Lock()
	w.done = append(w.done, progress{r, all})
	w.mu.Unlock()
	w.waiter.Wake()
}

// progressed returns what handlers got done since the last call, borrowed until the
// next one.
func (w *Worker) progressed() []progress {
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
	w.progressed() // publishes the counters
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
	ready, err := w.waiter.Wait(w.ready[:0], max(min(w.due, patience, w.now()+time.Hour)-w.now(), 0))
	if err != nil {
		return fmt.Errorf("majordomo: worker: %w", err)
	}
	w.ready, w.readers = ready, w.readers[:0]
	for _, i := range ready {
		w.readers = append(w.readers, w.watched[i]) // by now: sockets may open and close below
	}
	for _, p := range w.progressed() {
		if err := w.answer(p.r, p.all); err != nil {
			return err
		}
	}
	for _, s := range w.readers {
		if s.monitor {
			err = w.heed(s.r)
		} else {
			err = w.read(s.r)
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
		if r.m.state == workerBusy {
			if err := w.lookAfter(now, r); err != nil {
				return err
			}
		}
		if err := w.do(r, r.m.tick(now)); err != nil {
			return err
		}
	}
	return nil
}

// lookAfter takes note of how far a handler is, and sends the replies that are
// there.
func (w *Worker) lookAfter(now time.Duration, r *registration) error {
	r.mu.Lock()
	began, replies, taken := r.began, r.out.Messages(), r.taken
	r.mu.Unlock()
	if !taken {
		began = now // what is handled is another broker's
	}
	r.m.progress(max(r.m.began, began))
	if w.cfg.Prefetch == 1 {
		return nil
	}
	if now >= r.look {
		if replies > 0 {
			return w.answer(r, false)
		}
		r.every = min(2*r.every, lookMost)
		r.look = now + r.every
	}
	w.due = min(w.due, r.look)
	return nil
}

// lookSoon has the loop look for replies a short while from now.
func (w *Worker) lookSoon(r *registration) {
	if w.cfg.Prefetch > 1 {
		r.every, r.look = lookFirst, w.now()+lookFirst
		w.due = min(w.due, r.look)
	}
}

// read takes in what the broker has sent, up to requests.
func (w *Worker) read(r *registration) error {
	for r.socket != nil && r.m.state == workerIdle {
		err := r.socket.RecvMany(r.in, w.cfg.Prefetch, batchBytes)
		if errors.Is(err, zsock.ErrAgain) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("majordomo: worker: %w", err)
		}
		if err := w.take(r); err != nil {
			return err
		}
	}
	return nil
}

// take takes in the messages in the inbox. Requests are the handler's, which has
// the inbox from then on: it is started when all has been looked at.
func (w *Worker) take(r *registration) error {
	now, size, start := w.now(), 0, false
	var m message
	for frames := r.in.Next(); frames != nil; frames = r.in.Next() {
		parseAtWorker(&m, frames)
		for _, f := range frames {
			size += len(f)
		}
		a := r.m.message(now, m.command)
		if a == workerStart {
			start = true
			continue
		}
		if err := w.do(r, a); err != nil {
			return err
		}
	}
	r.large = size > largeBatch
	if start {
		return w.do(r, workerStart)
	}
	r.shrink()
	return nil
}

// answer sends the replies that are there.
func (w *Worker) answer(r *registration, all bool) error {
	out := r.replies(w.spare)
	large := out.Size() > largeBatch
	_, err := r.socket.SendMany(out)
	w.count.Unsent += uint64(out.Messages())
	out.Reset()
	if large {
		out = new(zsock.Outbox)
	}
	w.spare = out
	r.unsent = r.unsent || err != nil
	if !all {
		w.lookSoon(r)
		return nil
	}
	sent := !r.unsent
	r.unsent = false
	r.shrink()
	w.waiter.Mute(r.index, false)
	return w.do(r, r.m.finished(w.now(), sent))
}

// do does what the machine of a registration wants done.
func (w *Worker) do(r *registration, a workerAct) error {
	var err error
	switch a {
	case workerOpen:
		err = w.connect(r)
	case workerClose:
		err = w.drop(r)
	case workerGoodbye:
		w.say(r, frameDisconnect)
		err = errors.Join(r.socket.SetLinger(w.cfg.StopWait), w.drop(r))
	case workerBeat:
		w.say(r, frameHeartbeat)
	case workerOverdue:
		r.overdue(r.m.began)
	case workerStart:
		w.waiter.Mute(r.index, true)
		w.lookSoon(r)
		w.hand(r)
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
