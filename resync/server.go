package resync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
	"github.com/tapedeck/tapedeck/internal/latency"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// ServerConfig is what a Server is made from. The zero value of a field means its
// default.
type ServerConfig struct {
	// Endpoints to bind for clients. At least one.
	Endpoints []string
	// Context that inproc clients share; it is borrowed until Close. Default: one of
	// its own.
	Context *zsock.Context
	// Refills is what tape readers in this process read. Default: none read here.
	Refills Refills
	// Snapshots are the last values. Default: none, and requests are refused.
	Snapshots Snapshots
	// Workers is how many tape readers run in this process, where there are Refills.
	// Default 2.
	Workers int
	// Backends are endpoints for tape readers in other processes (TapeWorker).
	// Default: none.
	Backends []string
	// Rate is how many bytes a second are read and sent for all clients together, so
	// that refills never get in the way of recording. Default 0: no bound.
	Rate int64
	// ClientRequests bounds how many requests of one client are served at once.
	// Default 64.
	ClientRequests int
	// ClientBytes bounds what is read ahead for one client, bytes. Default 8 MiB.
	ClientBytes int
	// MaxClients bounds how many clients are served at once. Default 1000.
	MaxClients int
	// AddressClients bounds how many clients from one address are served at once; for ipc,
	// of one process. Default 0: as many as MaxClients.
	AddressClients int
	// Requests bounds how many requests of all clients together are served at once.
	// Default 4096.
	Requests int
	// ChunkBytes is how large a message is, about, where the client leaves it to the
	// server. Default 256 KiB.
	ChunkBytes int
	// Ahead is how many parts of one refill are read at once. Default 4.
	Ahead int
	// Captures bounds how many snapshots are under way at once. Default 16.
	Captures int
	// CaptureBytes bounds what is kept of all snapshots together for clients that
	// are behind, bytes. Default 256 MiB.
	CaptureBytes int64
	// NotYetWait is how long is waited for sequences that are not there yet before
	// it is said. Default 250 ms.
	NotYetWait time.Duration
	// Heartbeat is the interval of heartbeats between server and tape readers.
	// Default 250 ms.
	Heartbeat time.Duration
	// Read is how long one read may take. One that takes longer is given to another
	// tape reader, once. Default 3 s.
	Read time.Duration
	// Fallback answers requests of another protocol: messages whose first frame does
	// not begin with Signature. It runs on a goroutine of its own; identity and
	// frames are its own. send sends one message, which is copied, and waits until
	// there is room for it; it may be called until Fallback returns. It fails with
	// zsock.ErrAgain where the client has taken nothing for long, and with
	// zsock.ErrUnreachable where it is gone. What Fallback returns is not used.
	// Default: such messages are counted and dropped.
	Fallback func(identity []byte, frames [][]byte, send func(frames [][]byte) error) error
}

const (
	chunkDefault = 256 << 10
	chunkMin     = 4 << 10
	chunkMax     = 4 << 20
	limitMax     = 5 * time.Minute // longest deadline of a request
	clientQueue  = 64              // messages that libzmq holds for one client, and from one
	// requestMax bounds a frame from a client, bytes: the prefixes of a snapshot are the
	// largest there are.
	requestMax    = PrefixesMax * (1 + wire.TopicSizeMax)
	fullAgain     = time.Millisecond
	notYetAgain   = 20 * time.Millisecond
	busyAgain     = 500 * time.Millisecond
	expireEvery   = 20 * time.Millisecond
	turnMessages  = 256
	serverLinger  = 500 * time.Millisecond
	deathInterval = 5 * time.Second // ZMTP pings on silent connections
	deathTimeout  = 15 * time.Second
)

func (cfg *ServerConfig) fill() error {
	if len(cfg.Endpoints) == 0 {
		return errors.New("resync: a server needs an endpoint")
	}
	for _, n := range []int64{int64(cfg.Workers), cfg.Rate, int64(cfg.ClientRequests), int64(cfg.ClientBytes), int64(cfg.MaxClients), int64(cfg.AddressClients), int64(cfg.Requests),
		int64(cfg.ChunkBytes), int64(cfg.Ahead), int64(cfg.Captures), cfg.CaptureBytes, int64(cfg.NotYetWait), int64(cfg.Heartbeat), int64(cfg.Read)} {
		if n < 0 {
			return errors.New("resync: a number of the server is negative")
		}
	}
	if cfg.ChunkBytes != 0 && (cfg.ChunkBytes < chunkMin || cfg.ChunkBytes > chunkMax) {
		return fmt.Errorf("resync: chunks of %d bytes, want %d to %d", cfg.ChunkBytes, chunkMin, chunkMax)
	}
	cfg.Endpoints, cfg.Backends = slices.Clone(cfg.Endpoints), slices.Clone(cfg.Backends)
	orDefault(&cfg.Workers, 2)
	if cfg.Refills == nil {
		cfg.Workers = 0
	}
	orDefault(&cfg.ClientRequests, 64)
	orDefault(&cfg.ClientBytes, 8<<20)
	orDefault(&cfg.MaxClients, 1000)
	orDefault(&cfg.Requests, 4096)
	orDefault(&cfg.ChunkBytes, chunkDefault)
	orDefault(&cfg.Ahead, 4)
	orDefault(&cfg.Captures, 16)
	orDefault(&cfg.CaptureBytes, 256<<20)
	orDefault(&cfg.NotYetWait, 250*time.Millisecond)
	orDefault(&cfg.Heartbeat, poolHeartbeat)
	orDefault(&cfg.Read, readDefault)
	return nil
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Server answers requests for what was sent before and for last values, on a
// ROUTER that it never lets one client block. Each request is served under its
// client's credit and deadline, all of them in turn, and together within the I/O
// budget. Tapes are read by a pool of Paranoid Pirate workers, so that a read that
// goes wrong takes no more with it than itself.
//
//	clients ══ ROUTER [ Server ] ── DEALER ══ [ queue ] ══ tape readers
//
// Its sockets belong to Run.
type Server struct {
	cfg      ServerConfig
	own      *zsock.Context // nil where it was given
	context  *zsock.Context
	front    *zsock.Socket // ROUTER, to clients
	pool     *zsock.Socket // DEALER, to the queue
	queue    *pirate.Queue
	waiter   *zsock.Waiter
	at       []string
	backends []string
	instance uint64 // drawn at the start
	now      func() time.Duration
	desk     *desk

	times [3]latency.Histogram // of requests, by command

	mu       sync.Mutex
	counters ServerCounters
	state    ServerState
}

// inproc endpoints need names that no other server of the process has, though
// each has its own context: they show in errors.
var servers atomic.Uint64

// NewServer binds the endpoints. The error names the one that could not be bound.
func NewServer(cfg ServerConfig) (*Server, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, context: cfg.Context}
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("resync: server: %w", err), s.Close())
	}
	s.desk = newDesk(s)
	return s, nil
}

func (s *Server) open() (err error) {
	if s.context == nil {
		if s.own, err = zsock.NewContext(zsock.NoCPU); err != nil {
			return err
		}
		s.context = s.own
	}
	s.now, s.instance = s.context.Clock(), 1+uint64(s.context.Random()*(1<<62))
	s.front, err = s.context.NewSocket(zsock.ROUTER, zsock.SocketConfig{MessageMax: requestMax, SendQueue: clientQueue, ReceiveQueue: clientQueue, Linger: serverLinger, Channel: zsock.ChannelRefill})
	if err != nil {
		return err
	}
	if err := errors.Join(s.front.MustReach(), s.front.NoticeDeath(deathInterval, deathTimeout)); err != nil {
		return err
	}
	for _, e := range s.cfg.Endpoints {
		at, err := s.front.Bind(e)
		if err != nil {
			return err
		}
		s.at = append(s.at, at)
	}
	n := servers.Add(1)
	inside := fmt.Sprintf("inproc://resync-%d-", n)
	s.queue, err = pirate.NewQueue(pirate.QueueConfig{
		Clients: []string{inside + "server"}, Workers: append([]string{inside + "readers"}, s.cfg.Backends...),
		Context: s.context, Heartbeat: s.cfg.Heartbeat,
		// Long enough for a reader to hang, to be noticed, and for another to read.
		Life: 2*s.cfg.Read + 8*s.cfg.Heartbeat,
	})
	if err != nil {
		return err
	}
	clients, workers := s.queue.Endpoints()
	s.backends = workers[1:]
	if s.pool, err = s.context.NewSocket(zsock.DEALER, zsock.SocketConfig{}); err != nil {
		return err
	}
	if err := s.pool.Connect(clients[0]); err != nil {
		return err
	}
	s.waiter, err = s.context.NewWaiter(s.front, s.pool)
	return err
}

// Endpoints returns where clients are to connect, with wildcard ports resolved.
func (s *Server) Endpoints() []string { return s.at }

// Backends returns where tape readers of other processes are to connect, with
// wildcard ports resolved.
func (s *Server) Backends() []string { return s.backends }

// Counters returns what was counted so far.
func (s *Server) Counters() ServerCounters {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counters
	c.Redone = s.queue.Counters().Requeued
	return c
}

// State returns what the server holds now.
func (s *Server) State() ServerState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// RequestTimes counts how long requests took that ended with all that was asked for,
// from when they were taken in until the last message was handed to the socket: the
// time that the client took to give credit included. It is nil but for refills, finds
// and snapshots.
func (s *Server) RequestTimes(c Command) *latency.Histogram {
	if c < CommandRefill || c > CommandSnapshot {
		return nil
	}
	return &s.times[c-CommandRefill]
}

// Pool returns what the queue in front of the tape readers has counted, and what it
// holds.
func (s *Server) Pool() (pirate.QueueCounters, pirate.QueueState) {
	return s.queue.Counters(), s.queue.State()
}

// Close closes the sockets, never while Run runs.
func (s *Server) Close() error {
	var errs []error
	if s.desk != nil {
		s.desk.in.Close()
	}
	if s.waiter != nil {
		errs = append(errs, s.waiter.Close())
	}
	for _, socket := range []*zsock.Socket{s.front, s.pool} {
		if socket != nil {
			errs = append(errs, socket.Close())
		}
	}
	if s.queue != nil {
		errs = append(errs, s.queue.Close())
	}
	if s.own != nil {
		errs = append(errs, s.own.Close())
	}
	s.waiter, s.front, s.pool, s.own = nil, nil, nil, nil
	return errors.Join(errs...)
}

// Run serves until ctx ends. Then it tells clients whose requests run that it
// stops, and returns nil. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	failed := make(chan error, 1+s.cfg.Workers)
	var group sync.WaitGroup
	start := func(f func() error) {
		run := func() {
			if err := f(); err != nil {
				failed <- err
				s.waiter.Wake()
			}
		}
		if w := s.context.World(); w != nil {
			w.Go(run)
		} else {
			group.Go(run)
		}
	}
	start(func() error { return s.queue.Run(inner) })
	for range s.cfg.Workers {
		start(func() error {
			return TapeWorker(inner, TapeWorkerConfig{
				Endpoint: s.inside(), Context: s.context, Heartbeat: s.cfg.Heartbeat, Read: s.cfg.Read,
			}, s.cfg.Refills)
		})
	}
	stop := context.AfterFunc(ctx, s.waiter.Wake)
	err := s.desk.run(ctx, inner, failed)
	stop()
	cancel()
	group.Wait()
	s.desk.wait()
	return err
}

// inside is where tape readers of this process connect.
func (s *Server) inside() string {
	_, workers := s.queue.Endpoints()
	return workers[0]
}
