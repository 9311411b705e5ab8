package pirate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// Handler answers one request, whose frames are borrowed until it returns; a
// number frame is not among them. ctx ends when the request has taken longer than
// it may, and when Run has waited long enough for the handler after it was to stop.
type Handler func(ctx context.Context, request [][]byte) Reply

// Reply is what a Handler answers.
type Reply struct {
	// Frames of the reply; none is one empty frame. They are copied when they are
	// sent, soon after the handler has returned.
	Frames [][]byte
	// Release, where it is set, is called once when the frames are no longer needed.
	Release func()
}

// WorkerConfig is what a Worker is made from. The zero value of a field means its
// default.
type WorkerConfig struct {
	// Endpoint of the queue.
	Endpoint string
	// Context that an inproc queue is in; it is borrowed until Run returns.
	// Default: one of its own.
	Context *zsock.Context
	// Handler answers the requests, one at a time.
	Handler Handler
	// Heartbeat is the interval of heartbeats, the queue's. Default 1 s.
	Heartbeat time.Duration
	// Liveness is for how many intervals the queue may be silent. Default 3.
	Liveness int
	// Backoff and BackoffMax are the first and the longest wait before the queue is
	// looked for again. Default 1 s and 32 s.
	Backoff, BackoffMax time.Duration
	// Work is how long a request may take. Then its context ends, and the worker
	// stops beating, so that the queue gives the request to another. Default 1 min.
	Work time.Duration
	// StopWait is how long Run waits, when it is to stop, for the handler, and then
	// for the queue to know. Default 1 s.
	StopWait time.Duration
	// RequestBytes bounds a frame of a request, bytes. Default 1 MiB.
	RequestBytes int64
}

// Worker answers requests that a queue hands to it.
type Worker struct {
	cfg      WorkerConfig
	now      func() time.Duration // of Run
	handling context.Context      // of the handler
	m        *workerMachine

	zctx   *zsock.Context
	socket *zsock.Socket
	waiter *zsock.Waiter
	in     *zsock.Parts // the request that is handled
	body   int          // the frame that its body begins with
	lead   [][]byte     // its frames that a reply begins with
	jobs   chan [][]byte
	done   chan Reply
	count  WorkerCounters

	mu       sync.Mutex
	counters WorkerCounters
}

// NewWorker checks cfg. Nothing is opened before Run.
func NewWorker(cfg WorkerConfig) (*Worker, error) {
	if cfg.Endpoint == "" || cfg.Handler == nil {
		return nil, errors.New("pirate: a worker needs an endpoint and a handler")
	}
	if cfg.Heartbeat < 0 || cfg.Liveness < 0 || cfg.Backoff < 0 || cfg.BackoffMax < 0 || cfg.Work < 0 || cfg.StopWait < 0 || cfg.RequestBytes < 0 {
		return nil, errors.New("pirate: a number of the worker is negative")
	}
	orDefault(&cfg.Heartbeat, heartbeatDefault)
	orDefault(&cfg.Liveness, livenessDefault)
	orDefault(&cfg.Backoff, time.Second)
	orDefault(&cfg.BackoffMax, max(32*time.Second, cfg.Backoff))
	orDefault(&cfg.Work, time.Minute)
	orDefault(&cfg.StopWait, time.Second)
	orDefault(&cfg.RequestBytes, 1<<20)
	if cfg.BackoffMax < cfg.Backoff {
		return nil, errors.New("pirate: the longest back-off is shorter than the first")
	}
	return &Worker{cfg: cfg}, nil
}

// Counters returns what was counted so far.
func (w *Worker) Counters() WorkerCounters {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counters
}

func (w *Worker) publish() {
	c := w.count
	c.Lost, c.Dismissed, c.Overdue = w.m.lost, w.m.dismissed, w.m.overdue
	w.mu.Lock()
	w.counters = c
	w.mu.Unlock()
}

// Run serves until ctx ends. Then it finishes what it has, tells the queue and
// returns nil. A queue that is away is looked for again and again. It may be
// called once.
func (w *Worker) Run(ctx context.Context) (err error) {
	if err := w.open(); err != nil {
		return errors.Join(fmt.Errorf("pirate: worker: %w", err), w.close())
	}
	handling, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	w.handling = handling
	if w.zctx.World() != nil {
		close(ended) // a request is handled beside the loop when it comes
	} else {
		go func() {
			defer close(ended)
			w.handle()
		}()
	}
	defer func() {
		cancel()
		close(w.jobs)
		<-ended
		select {
		case r := <-w.done:
			r.release()
		default:
		}
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
	w.now = w.zctx.Clock()
	w.m = newWorkerMachine(workerTimes{
		heartbeat: w.cfg.Heartbeat, silence: time.Duration(w.cfg.Liveness) * w.cfg.Heartbeat, work: w.cfg.Work, drain: w.cfg.StopWait,
	}, w.cfg.Backoff, w.cfg.BackoffMax, w.zctx.Random)
	w.in, w.jobs, w.done = zsock.NewParts(), make(chan [][]byte, 1), make(chan Reply, 1)
	w.waiter, err = w.zctx.NewWaiter()
	return err
}

func (w *Worker) close() error {
	var errs []error
	w.in.Close()
	if w.waiter != nil {
		errs = append(errs, w.waiter.Close())
	}
	if w.socket != nil {
		errs = append(errs, w.socket.Close())
	}
	if w.cfg.Context == nil && w.zctx != nil {
		errs = append(errs, w.zctx.Close())
	}
	return errors.Join(errs...)
}

// handle is the goroutine of the handler, so that the worker can beat meanwhile.
func (w *Worker) handle() {
	for request := range w.jobs {
		one, cancel := context.WithTimeout(w.handling, w.cfg.Work)
		w.one(one, request)
		cancel()
	}
}

func (w *Worker) one(ctx context.Context, request [][]byte) {
	w.done <- w.cfg.Handler(ctx, request)
	w.waiter.Wake()
}

// loop runs until the machine has left. After ctx the handler has StopWait, then
// its context ends.
func (w *Worker) loop(ctx context.Context, cancel context.CancelFunc) error {
	stopped := false
	var patience time.Duration
	for w.m.state != workerDone {
		now := w.now()
		switch {
		case ctx.Err() != nil && !stopped:
			stopped, patience = true, now+w.cfg.StopWait
			if err := w.do(w.m.stop(now)); err != nil {
				return err
			}
			continue
		case stopped && now >= patience:
			cancel()
		}
		if err := w.turn(); err != nil {
			return err
		}
		w.publish()
	}
	w.publish()
	return nil
}

func (w *Worker) turn() error {
	if err := w.do(w.m.tick(w.now())); err != nil {
		return err
	}
	wait := min(w.m.due(w.now()), w.cfg.Heartbeat)
	if w.m.state == workerBusy || w.socket == nil {
		if err := w.waiter.WaitWoken(wait); err != nil {
			return fmt.Errorf("pirate: worker: %w", err)
		}
	} else if _, err := w.waiter.Wait(nil, wait); err != nil {
		return fmt.Errorf("pirate: worker: %w", err)
	}
	select {
	case r := <-w.done:
		w.answer(&r)
		return w.do(w.m.finished(w.now()))
	default:
	}
	return w.read()
}

// read takes in what the queue has sent, up to a request.
func (w *Worker) read() error {
	for range turnMax {
		if w.socket == nil || (w.m.state != workerIdle && w.m.state != workerLeaving) {
			return nil
		}
		err := w.socket.RecvParts(w.in)
		switch {
		case errors.Is(err, zsock.ErrAgain):
			return nil
		case errors.Is(err, zsock.ErrFrames):
			w.count.Malformed++
			continue
		case err != nil:
			return fmt.Errorf("pirate: worker: %w", err)
		}
		if err := w.do(w.m.message(w.now(), classify(w.in, 0))); err != nil {
			return err
		}
	}
	return nil
}

// do does what the machine wants done.
func (w *Worker) do(a workerAct) error {
	switch a {
	case workerOpen:
		return w.connect()
	case workerClose:
		s := w.socket
		w.socket = nil
		w.waiter.Watch()
		return s.Close()
	case workerBeat:
		w.say(frameHeartbeat)
	case workerGoodbye:
		w.say(frameDown)
	case workerMalformed:
		w.count.Malformed++
	case workerStart:
		w.count.Requests++
		w.start()
	}
	return nil
}

// say sends a control byte. A queue that takes none shows by its silence.
func (w *Worker) say(frame []byte) { _ = w.socket.SendParts(nil, 0, frame) }

func (w *Worker) connect() error {
	s, err := w.zctx.NewSocket(zsock.DEALER, zsock.SocketConfig{MessageMax: w.cfg.RequestBytes})
	if err != nil {
		return fmt.Errorf("pirate: worker: %w", err)
	}
	if err := s.Connect(w.cfg.Endpoint); err != nil {
		return errors.Join(fmt.Errorf("pirate: worker: %w", err), s.Close())
	}
	w.socket = s
	w.waiter.Watch(s)
	w.count.Connected++
	w.say(frameReady)
	return nil
}

// start hands the request in w.in, less a number frame, to the handler.
func (w *Worker) start() {
	w.body, _ = bodyOf(w.in, 0) // there is one: classify has looked
	from := w.body
	if _, _, ok := ParseNumber(w.in.Frame(from)); ok {
		from++
	}
	request := make([][]byte, 0, w.in.Len()-from)
	for i := from; i < w.in.Len(); i++ {
		request = append(request, w.in.Frame(i))
	}
	w.lead = w.lead[:0]
	for i := range from {
		w.lead = append(w.lead, w.in.Frame(i))
	}
	if world := w.zctx.World(); world != nil {
		world.Go(func() { w.one(w.handling, request) })
		return
	}
	w.jobs <- request
}

// answer sends a reply, behind the addresses and the number of its request.
func (w *Worker) answer(r *Reply) {
	frames := append(w.lead, r.Frames...)
	if len(frames) == w.body {
		frames = append(frames, frameEmpty)
	}
	if len(frames) > zsock.PartsMax-1 || w.socket.SendParts(nil, 0, frames...) != nil {
		// READY tells the queue that nothing will come.
		w.count.Unsent++
		w.say(frameReady)
	}
	r.release()
}

func (r *Reply) release() {
	if r.Release != nil {
		r.Release()
	}
}
