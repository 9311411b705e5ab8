package majordomo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
	"github.com/tapedeck/tapedeck/internal/zsock"
)

// Handler answers one request, whose frames are borrowed until it returns; a
// number frame is not among them. ctx ends when the request has taken longer than
// it may, and when Run has waited long enough for the handler after it was to stop.
// With a Concurrency above 1 several run at once.
type Handler = pirate.Handler

// Reply is what a Handler answers: Frames, none is one empty frame, and Release,
// which is called once when the frames are no longer needed. They are copied when
// they are sent, soon after the handler has returned.
type Reply = pirate.Reply

// WorkerConfig is what a Worker is made from. The zero value of a field means its
// default.
type WorkerConfig struct {
	// Endpoints of brokers. At least one. The worker is at all of them: whichever of a
	// pair has become active knows it.
	Endpoints []string
	// Context that an inproc broker is in; it is borrowed until Run returns.
	// Default: one of its own.
	Context *zsock.Context
	// Service that it offers; at most 255 bytes, and not reserved.
	Service string
	// Handler answers the requests.
	Handler Handler
	// Concurrency is how many requests it answers at once. The protocol gives a
	// worker one request at a time, so it is that many workers to each broker, each
	// with a socket. Default 1.
	Concurrency int
	// Prefetch is how many requests a broker of ours gives each of those workers
	// beforehand, so that neither waits for the other: for many small requests. They
	// are handled one after the other; if the worker dies the broker gives them all
	// to others. A broker of others gives one. At most 1024; default 1.
	Prefetch int
	// Heartbeat is the interval of heartbeats, the broker's. Default 2.5 s.
	Heartbeat time.Duration
	// Liveness is for how many intervals the broker may be silent. Default 3.
	Liveness int
	// Backoff and BackoffMax are the first and the longest wait before a broker is
	// looked for again. Default 100 ms and 10 s.
	Backoff, BackoffMax time.Duration
	// Work is how long a request may take. Then its context ends, and the worker
	// stops beating, so that the broker gives the request to another. Default 1 min.
	Work time.Duration
	// StopWait is how long Run waits, when it is to stop, for the handlers. Then
	// their contexts end. Default 1 s.
	StopWait time.Duration
	// RequestBytes bounds a frame of a request, bytes. Default 128 MiB.
	RequestBytes int64
}

// Worker answers requests that a broker hands to it. Its sockets belong to Run.
type Worker struct {
	cfg WorkerConfig
	now func() time.Duration // of Run

	handling      context.Context // of the handlers, all of them
	zctx          *zsock.Context
	waiter        *zsock.Waiter
	registrations []*registration
	watched       []watchedSocket // those of the waiter, by index
	due           time.Duration   // when a registration has something to do by itself, at the latest
	out           zsock.Outbox    // for commands
	spare         *zsock.Outbox   // for replies
	jobs          chan *registration
	count         WorkerCounters
	ready         []int           // scratch
	readers       []watchedSocket // scratch
	taken         []progress      // what done was, to be used again

	mu       sync.Mutex
	done     []progress
	counters WorkerCounters
}

// watchedSocket is what a socket of a worker's waiter is.
type watchedSocket struct {
	r       *registration
	monitor bool
}

// progress is what a handler has got done.
type progress struct {
	r   *registration
	all bool // of the requests that it had; else there are replies to be sent
}

// NewWorker checks cfg. Nothing is opened before Run.
func NewWorker(cfg WorkerConfig) (*Worker, error) {
	if len(cfg.Endpoints) == 0 || cfg.Handler == nil {
		return nil, errors.New("majordomo: a worker needs endpoints and a handler")
	}
	if !serviceName([]byte(cfg.Service)) {
		return nil, errors.New("majordomo: the name of a service has 1 to 255 bytes")
	}
	if reserved([]byte(cfg.Service)) {
		return nil, fmt.Errorf("majordomo: %s is a name for the broker's own services", cfg.Service)
	}
	if cfg.Concurrency < 0 || cfg.Prefetch < 0 || cfg.Prefetch > depthMax || cfg.Heartbeat < 0 || cfg.Liveness < 0 || cfg.Backoff < 0 || cfg.BackoffMax < 0 || cfg.Work < 0 ||
		cfg.StopWait < 0 || cfg.RequestBytes < 0 {
		return nil, errors.New("majordomo: a number of the worker is negative, or too large")
	}
	orDefault(&cfg.Concurrency, 1)
	orDefault(&cfg.Prefetch, 1)
	orDefault(&cfg.Heartbeat, heartbeatDefault)
	orDefault(&cfg.Liveness, livenessDefault)
	orDefault(&cfg.Backoff, 100*time.Millisecond)
	orDefault(&cfg.BackoffMax, max(10*time.Second, cfg.Backoff))
	orDefault(&cfg.Work, time.Minute)
	orDefault(&cfg.StopWait, time.Second)
	orDefault(&cfg.RequestBytes, 128<<20)
	if cfg.BackoffMax < cfg.Backoff {
		return nil, errors.New("majordomo: the longest back-off is shorter than the first")
	}
	cfg.Endpoints = slices.Clone(cfg.Endpoints)
	return &Worker{cfg: cfg}, nil
}

// Counters returns what was counted so far. Any goroutine may call it.
func (w *Worker) Counters() WorkerCounters {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counters
}
