package pirate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// QueueConfig is what a Queue is made from. The zero value of a field means its
// default.
type QueueConfig struct {
	// Clients are the endpoints that clients connect to, Workers those that
	// workers do. At least one each; tcp, ipc and inproc.
	Clients, Workers []string
	// Context that inproc peers share; it is borrowed until Close. Default: one of
	// its own.
	Context *zsock.Context
	// Heartbeat is the interval of heartbeats. Workers must have the same.
	// Default 1 s.
	Heartbeat time.Duration
	// Liveness is for how many intervals a ready worker may be silent. Default 3.
	Liveness int
	// BusySilence is how long a worker may be silent at work before its request
	// goes to another. Workers that do not beat while they work, as the guide's do
	// not, need as long as their work takes. Default: Liveness intervals.
	BusySilence time.Duration
	// Life is how long after its arrival a request is worth answering. Default 30 s.
	Life time.Duration
	// Requests bounds how many requests are held, waiting or at work. Default 10,000.
	Requests int
	// Bytes bounds their size together, bytes. Default 64 MiB.
	Bytes int
	// RequestBytes bounds a request, ReplyBytes a frame of a reply, bytes. Who sends
	// a larger frame is disconnected. Default 1 MiB and 128 MiB.
	RequestBytes, ReplyBytes int64
	// WorkersMax bounds how many workers are listed. Default 1000.
	WorkersMax int
	// StopWait is how long Run waits, when it is to stop, for workers to answer
	// what they have. Default 1 s.
	StopWait time.Duration
}

const (
	heartbeatDefault = time.Second
	livenessDefault  = 3
	turnMax          = 256 // messages of one side taken in before the other one has its turn
	ticksPerBeat     = 4
	deathInterval    = 5 * time.Second // ZMTP pings on silent connections
	deathTimeout     = 15 * time.Second
)

func (cfg *QueueConfig) fill() error {
	if len(cfg.Clients) == 0 || len(cfg.Workers) == 0 {
		return errors.New("pirate: a queue needs endpoints for clients and for workers")
	}
	if cfg.Heartbeat < 0 || cfg.Liveness < 0 || cfg.BusySilence < 0 || cfg.Life < 0 || cfg.Requests < 0 || cfg.Bytes < 0 ||
		cfg.RequestBytes < 0 || cfg.ReplyBytes < 0 || cfg.WorkersMax < 0 || cfg.StopWait < 0 {
		return errors.New("pirate: a number of the queue is negative")
	}
	orDefault(&cfg.Heartbeat, heartbeatDefault)
	orDefault(&cfg.Liveness, livenessDefault)
	orDefault(&cfg.BusySilence, time.Duration(cfg.Liveness)*cfg.Heartbeat)
	orDefault(&cfg.Life, 30*time.Second)
	orDefault(&cfg.Requests, 10_000)
	orDefault(&cfg.Bytes, 64<<20)
	orDefault(&cfg.RequestBytes, 1<<20)
	orDefault(&cfg.ReplyBytes, 128<<20)
	orDefault(&cfg.WorkersMax, 1000)
	orDefault(&cfg.StopWait, time.Second)
	return nil
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Queue hands the requests of clients to workers that are ready, the least
// recently used first. Its sockets belong to Run.
type Queue struct {
	cfg              QueueConfig
	own              *zsock.Context // nil where it was given
	clients, workers *zsock.Socket
	clientsAt        []string
	workersAt        []string
	waiter           *zsock.Waiter
	now              func() time.Duration // the time as the machine has it

	m     *queueMachine
	held  map[ticket]*zsock.Parts
	free  []*zsock.Parts
	in    *zsock.Parts
	count QueueCounters // of what the machine does not see

	mu       sync.Mutex
	counters QueueCounters
	state    QueueState
}

// NewQueue binds the endpoints. The error names the one that could not be bound.
func NewQueue(cfg QueueConfig) (*Queue, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	q := &Queue{cfg: cfg, held: map[ticket]*zsock.Parts{}, in: zsock.NewParts()}
	q.m = newQueueMachine(queueTimes{
		heartbeat: cfg.Heartbeat, idleSilence: time.Duration(cfg.Liveness) * cfg.Heartbeat, busySilence: cfg.BusySilence,
		life: cfg.Life, requests: cfg.Requests, bytes: cfg.Bytes, workers: cfg.WorkersMax, requestBytes: int(cfg.RequestBytes),
	})
	if err := q.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("pirate: queue: %w", err), q.Close())
	}
	return q, nil
}

func (q *Queue) open() (err error) {
	ctx := q.cfg.Context
	if ctx == nil {
		if ctx, err = zsock.NewContext(zsock.NoCPU); err != nil {
			return err
		}
		q.own = ctx
	}
	q.now = ctx.Clock()
	if q.clients, q.clientsAt, err = bindRouter(ctx, zsock.ChannelControl, q.cfg.Clients, q.cfg.RequestBytes); err != nil {
		return err
	}
	if q.workers, q.workersAt, err = bindRouter(ctx, zsock.ChannelWorker, q.cfg.Workers, q.cfg.ReplyBytes); err != nil {
		return err
	}
	q.waiter, err = ctx.NewWaiter(q.workers, q.clients)
	return err
}

func bindRouter(ctx *zsock.Context, channel string, endpoints []string, frameMax int64) (*zsock.Socket, []string, error) {
	s, err := ctx.NewSocket(zsock.ROUTER, zsock.SocketConfig{MessageMax: frameMax, Channel: channel})
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(s.MustReach(), s.NoticeDeath(deathInterval, deathTimeout)); err != nil {
		return s, nil, err
	}
	var at []string
	for _, e := range endpoints {
		bound, err := s.Bind(e)
		if err != nil {
			return s, nil, err
		}
		at = append(at, bound)
	}
	return s, at, nil
}

// Endpoints returns where clients and workers are to connect, with wildcard ports
// resolved, in the order of the configuration.
func (q *Queue) Endpoints() (clients, workers []string) { return q.clientsAt, q.workersAt }

// Counters returns what was counted so far.
func (q *Queue) Counters() QueueCounters {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.counters
}

// State returns what the queue holds now.
func (q *Queue) State() QueueState {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.state
}

// Close closes the sockets, never while Run runs.
func (q *Queue) Close() error {
	var errs []error
	if q.waiter != nil {
		errs = append(errs, q.waiter.Close())
		q.waiter = nil
	}
	for _, s := range []*zsock.Socket{q.clients, q.workers} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	q.clients, q.workers = nil, nil
	if q.own != nil {
		errs = append(errs, q.own.Close())
		q.own = nil
	}
	q.in.Close()
	for _, p := range q.held {
		p.Close()
	}
	for _, p := range q.free {
		p.Close()
	}
	q.held, q.free = nil, nil
	return errors.Join(errs...)
}

// Run serves until ctx ends. Then it takes no more requests, fails those that no
// worker has, waits up to StopWait for the others, tells the workers, and returns
// nil. It may be called once.
func (q *Queue) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, q.waiter.Wake)()
	step := q.cfg.Heartbeat / ticksPerBeat
	q.tick()
	for ctx.Err() == nil {
		if err := q.turn(step); err != nil {
			return err
		}
	}
	q.m.stop()
	q.act()
	for until := q.now() + q.cfg.StopWait; len(q.m.jobs) > 0 && q.now() < until; {
		if err := q.turn(min(step, until-q.now())); err != nil {
			return err
		}
	}
	q.m.end()
	q.act()
	q.publish()
	// What was sent last is to go out.
	return errors.Join(q.clients.SetLinger(q.cfg.StopWait), q.workers.SetLinger(q.cfg.StopWait))
}

// turn waits for messages, takes them in, and does what time brings.
func (q *Queue) turn(step time.Duration) error {
	wait := max(q.m.ticked+step-q.now(), 0)
	if _, err := q.waiter.Wait(nil, wait); err != nil {
		return fmt.Errorf("pirate: queue: %w", err)
	}
	// Workers first: they give requests a place to go. And before the clock: what
	// has arrived is no silence.
	for _, side := range []struct {
		socket *zsock.Socket
		take   func()
	}{{q.workers, q.fromWorker}, {q.clients, q.fromClient}} {
		if err := q.drain(side.socket, side.take); err != nil {
			return err
		}
	}
	if q.now()-q.m.ticked >= step {
		q.tick()
	}
	q.publish()
	return nil
}

func (q *Queue) tick() {
	q.m.tick(q.now())
	q.act()
}

func (q *Queue) drain(s *zsock.Socket, take func()) error {
	for range turnMax {
		err := s.RecvParts(q.in)
		switch {
		case errors.Is(err, zsock.ErrAgain):
			return nil
		case errors.Is(err, zsock.ErrFrames):
			q.count.Malformed++
		case err != nil:
			return fmt.Errorf("pirate: queue: %w", err)
		default:
			take()
			q.act()
		}
	}
	return nil // what is left ends the next wait at once
}

// fromWorker takes in [worker][command], or [worker][client ...][][body ...].
func (q *Queue) fromWorker() {
	id, now := q.in.Frame(0), q.now()
	switch classify(q.in, 1) {
	case ready:
		q.m.ready(now, id)
	case heartbeat:
		q.m.heartbeat(now, id)
	case down:
		q.m.down(now, id)
	case work:
		if q.m.reply(now, id, q.in.Frame(1)) {
			q.answer(q.in, 1)
		}
	default:
		q.count.Malformed++
	}
}

// answer sends the frames of p from frame at on to their client.
func (q *Queue) answer(p *zsock.Parts, at int, lead ...[]byte) {
	switch err := q.clients.SendParts(p, at, lead...); {
	case errors.Is(err, zsock.ErrUnreachable):
		q.count.Unreachable++
	case err != nil:
		q.count.Dropped++
	}
}

// fromClient takes in [client ...][][body ...].
func (q *Queue) fromClient() {
	body, ok := bodyOf(q.in, 1)
	// One frame more is needed, for the worker's identity.
	if !ok || q.in.Len() >= zsock.PartsMax {
		q.count.Malformed++
		return
	}
	t, reason := q.m.request(q.now(), q.in.Frame(0), q.in.Size())
	if reason != "" {
		q.refuse(q.in, body, reason)
		return
	}
	q.held[t], q.in = q.in, q.parts()
	q.m.dispatch(q.now())
}

// refuse tells the client of p why its request is not answered, where it
// understands that.
func (q *Queue) refuse(p *zsock.Parts, body int, reason Reason) {
	n, _, ok := ParseNumber(p.Frame(body))
	if !ok {
		return
	}
	var lead [zsock.PartsMax][]byte
	for i := range body {
		lead[i] = p.Frame(i)
	}
	lead[body], lead[body+1] = AppendNumber(nil, n, true), []byte(reason)
	q.answer(nil, 0, lead[:body+2]...)
}

// act does what the machine wants done.
func (q *Queue) act() {
	for i := 0; i < len(q.m.acts); i++ { // doing may append
		switch a := q.m.acts[i]; a.do {
		case actSend:
			if p := q.held[a.ticket]; p != nil && q.workers.SendParts(p, 0, []byte(a.worker)) != nil {
				q.m.unreachable(q.now(), a.worker)
			}
		case actBeat:
			if q.workers.SendParts(nil, 0, []byte(a.worker), frameHeartbeat) != nil {
				q.m.unreachable(q.now(), a.worker)
			}
		case actDown:
			// Who cannot be reached does not wait for it.
			_ = q.workers.SendParts(nil, 0, []byte(a.worker), frameDown)
		case actFail:
			if p := q.held[a.ticket]; p != nil {
				if body, ok := bodyOf(p, 1); ok {
					q.refuse(p, body, a.reason)
				}
			}
		case actDrop:
			if p := q.held[a.ticket]; p != nil {
				delete(q.held, a.ticket)
				q.spare(p)
			}
		}
	}
	q.m.acts = q.m.acts[:0]
}

const spareMax = 64 // messages whose memory is kept for the next one

func (q *Queue) parts() *zsock.Parts {
	if n := len(q.free); n > 0 {
		p := q.free[n-1]
		q.free = q.free[:n-1]
		return p
	}
	return zsock.NewParts()
}

func (q *Queue) spare(p *zsock.Parts) {
	if len(q.free) >= spareMax {
		p.Close()
		return
	}
	p.Clear()
	q.free = append(q.free, p)
}

// publish lets other goroutines see the counters.
func (q *Queue) publish() {
	c := q.m.count
	c.Malformed, c.Unreachable, c.Dropped = q.count.Malformed, q.count.Unreachable, q.count.Dropped
	s := QueueState{Workers: len(q.m.workers), Ready: len(q.m.idle), Waiting: len(q.m.waiting), Open: len(q.m.jobs), Bytes: q.m.bytes}
	q.mu.Lock()
	q.counters, q.state = c, s
	q.mu.Unlock()
}
