package bench

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/majordomo"
	"github.com/tapedeck/tapedeck/internal/zsock"
)

// busOrders is what a worker process of the control bus is to do.
type busOrders struct {
	Workers  int           `json:"workers,omitempty"`  // that the broker's process has itself, or that a process of workers is
	Prefetch int           `json:"prefetch,omitempty"` // of each of them
	Work     time.Duration `json:"work,omitempty"`     // that a request takes
	Commands bool          `json:"commands,omitempty"` // requests are commands of package control
	// Of whoever hammers.
	Rate   float64 `json:"rate,omitempty"` // requests a second; 0: as many as there can be
	AtOnce int     `json:"at_once,omitempty"`
	Slot   float64 `json:"slot,omitempty"` // seconds
	Rounds int     `json:"rounds,omitempty"`
	// Of the reader whom records are measured at.
	Clock int64 `json:"clock,omitempty"` // how far the wall clock is ahead of the monotonic one, ns
}

// busTally is what a worker process of the control bus found.
type busTally struct {
	Handled uint64 `json:"handled"` // requests that handlers were given
	Again   uint64 `json:"again"`   // ... of which for another time
	Effects uint64 `json:"effects"` // commands that were done
	Twice   uint64 `json:"twice"`   // ... of which for another time
	Answers uint64 `json:"answers"` // of whoever hammers
	// Of a reader: of each slot without, and of each with, ns.
	P50s [phaseCount][]float64 `json:"p50s,omitzero"`
	P99s [phaseCount][]float64 `json:"p99s,omitzero"`
}

// The service of benches, and its command.
const (
	benchService = "bench"
	benchCommand = "count"
)

// inprocBroker is where workers in the broker's process find it.
const inprocBroker = "inproc://bench"

// busBeat is the interval of heartbeats, serve's.
const busBeat = 2500 * time.Millisecond

// background runs a reactor until stop is called, which returns how it ended.
func background(ctx context.Context, run func(context.Context) error) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := meanwhile(func() error { return run(ctx) })
	return func() error {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	}
}

// busBroker is a broker, with workers of its own where it is told so, until it gets
// its cue.
func busBroker(ctx context.Context, job *Job, say func(ready) error) (res Result, err error) {
	zctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, zctx.Close()) }()
	at := job.Endpoints
	if at == nil {
		at = wildcards(1)
	}
	b, err := majordomo.NewBroker(majordomo.BrokerConfig{Endpoints: append(at, inprocBroker), Context: zctx, Heartbeat: busBeat})
	if err != nil {
		return res, errors.Join(err, say(ready{Error: err.Error()}))
	}
	stop := background(ctx, b.Run)
	defer func() { err = errors.Join(err, stop(), b.Close()) }()
	served := newServed(job)
	if job.Bus.Workers > 0 {
		end, err := served.work(ctx, []string{inprocBroker}, zctx)
		if err != nil {
			return res, err
		}
		defer func() { err = errors.Join(err, end()) }()
	}
	if err := say(ready{Endpoints: b.Endpoints()[:1]}); err != nil {
		return res, err
	}
	err = job.waitCue()
	res.Bus = served.found()
	return res, err
}

// busWorkers is a process of workers, until it gets its cue.
func busWorkers(ctx context.Context, job *Job, say func(ready) error) (res Result, err error) {
	served := newServed(job)
	end, err := served.work(ctx, job.Endpoints, nil)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, end()) }()
	if err := say(ready{}); err != nil {
		return res, err
	}
	err = job.waitCue()
	res.Bus = served.found()
	return res, err
}

// served is a service of benches: it gives back what it gets, or, where requests are
// commands, counts which of them have been done.
type served struct {
	orders  *busOrders
	service *control.Service // nil: requests are no commands

	mu      sync.Mutex
	tally   busTally
	handled map[string]bool
	done    map[uint64]bool
}

func newServed(job *Job) *served {
	return &served{orders: &job.Bus, handled: map[string]bool{}, done: map[uint64]bool{}}
}

func (s *served) found() busTally {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tally
}

// work has workers offer the service until end is called.
func (s *served) work(ctx context.Context, endpoints []string, zctx *zsock.Context) (end func() error, err error) {
	handler := s.echo
	if s.orders.Commands {
		if s.service, err = control.NewService(benchService, control.ServiceConfig{Running: 10_000}, control.Command{
			Name: benchCommand, Summary: "count a number", Do: control.With(s.count),
		}); err != nil {
			return nil, err
		}
		handler = s.command
	}
	w, err := majordomo.NewWorker(majordomo.WorkerConfig{
		Endpoints: endpoints, Context: zctx, Service: benchService, Handler: handler,
		Concurrency: s.orders.Workers, Prefetch: s.orders.Prefetch, Heartbeat: busBeat, BackoffMax: time.Second,
	})
	if err != nil {
		return nil, err
	}
	stop := background(ctx, w.Run)
	return func() error {
		err := stop()
		if s.service != nil {
			err = errors.Join(err, s.service.Close())
		}
		return err
	}, nil
}

// echo gives a request back. Where it takes time, it is remembered.
func (s *served) echo(_ context.Context, request [][]byte) majordomo.Reply {
	if s.orders.Work > 0 {
		s.note(request[0])
		time.Sleep(s.orders.Work)
	}
	return majordomo.Reply{Frames: request}
}

func (s *served) command(ctx context.Context, request [][]byte) majordomo.Reply {
	if len(request) > 1 {
		s.note(request[1])
	}
	return s.service.Handle(ctx, request)
}

// note counts a request and notes whether it came before.
func (s *served) note(what []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally.Handled++
	if s.handled[string(what)] {
		s.tally.Again++
	}
	s.handled[string(what)] = true
}

// countArgs are those of the command.
type countArgs struct {
	Number uint64 `json:"n"`
	At     int64  `json:"at,omitempty"` // of the result: when it was counted; monotonic, ns
}

// count is the command.
func (s *served) count(_ context.Context, _ *control.Request, args *countArgs) (any, error) {
	time.Sleep(s.orders.Work)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally.Effects++
	if s.done[args.Number] {
		s.tally.Twice++
	}
	s.done[args.Number] = true
	return &countArgs{args.Number, monotonic()}, nil
}
