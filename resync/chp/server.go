package chp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// Endpoints are where a server is reached: CHP's ports P, P+1 and P+2.
type Endpoints struct {
	Snapshot, Updates, Collector string
}

// Server shares a table with its clients. Any goroutine may use its methods.
type Server struct {
	cfg      Config
	state    *state
	counters counters
	now      func() time.Time

	// Run's loops own the sockets while it runs; each is one goroutine's.
	ctx       *zsock.Context
	router    *zsock.Socket // nil without one
	publisher *zsock.Socket
	collector *zsock.Socket // nil without one
	at        Endpoints

	quota        *zsock.Quota  // of subscriptions, the publishing loop's
	publishing   *zsock.Waiter // wakes the publishing loop
	snapshotting *zsock.Waiter // wakes the snapshot loop

	answers atomic.Int64 // Answers that are not closed
	settle  settling

	mu      sync.Mutex
	serving map[string]bool // identities that Serve is answering
	running bool
	closed  bool
}

const (
	// requestMax bounds a message to the server that is no change, bytes: a subscription, or
	// a request for a snapshot.
	requestMax = 64 << 10
	// quotaBytes bounds what one connection subscribes to, as a zsock.Quota counts it.
	quotaBytes = 8 << 20
)

// NewServer opens and binds the server's sockets. Run makes them work; until then
// what clients send waits. The server must be closed.
func NewServer(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, state: newState(&cfg), now: time.Now, serving: map[string]bool{}, quota: zsock.NewQuota(quotaBytes)}
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("chp: open server: %w", err), s.Close())
	}
	return s, nil
}

func (s *Server) open() (err error) {
	if s.ctx, err = zsock.NewContext(zsock.NoCPU); err != nil {
		return err
	}
	bind := func(into **zsock.Socket, at *string, endpoint string, t zsock.Type, cfg zsock.SocketConfig, more func(*zsock.Socket) error) error {
		if endpoint == "" {
			return nil
		}
		socket, err := s.ctx.NewSocket(t, cfg)
		if err != nil {
			return err
		}
		*into = socket
		if more != nil {
			if err := more(socket); err != nil {
				return err
			}
		}
		*at, err = socket.Bind(endpoint)
		return err
	}
	err = bind(&s.publisher, &s.at.Updates, s.cfg.Updates, zsock.XPUB, // a PUB that hears who subscribes
		zsock.SocketConfig{SendQueue: s.cfg.UpdatesQueue, Verbose: true, MessageMax: requestMax, Channel: s.cfg.Channel}, nil)
	if err != nil {
		return err
	}
	err = bind(&s.router, &s.at.Snapshot, s.cfg.Snapshot, zsock.ROUTER,
		zsock.SocketConfig{SendQueue: s.cfg.SnapshotQueue, MessageMax: requestMax, Channel: s.cfg.Channel}, (*zsock.Socket).MustReach)
	if err != nil {
		return err
	}
	kind, subscribe := zsock.SUB, func(socket *zsock.Socket) error { return socket.Subscribe("") }
	if s.cfg.Pull {
		kind, subscribe = zsock.PULL, nil
	}
	// A value that is somewhat too large is refused and counted. What is far too
	// large libzmq does not even take in: it ends the connection.
	err = bind(&s.collector, &s.at.Collector, s.cfg.Collector, kind,
		zsock.SocketConfig{ReceiveQueue: 10_000, MessageMax: 2*int64(s.cfg.ValueMax) + 64<<10, Channel: zsock.ChannelChange}, subscribe)
	if err != nil {
		return err
	}
	return s.waiters()
}

func (s *Server) waiters() (err error) {
	sockets := []*zsock.Socket{s.publisher}
	if s.collector != nil {
		sockets = append(sockets, s.collector)
	}
	if s.publishing, err = zsock.NewWaiter(sockets...); err != nil || s.router == nil {
		return err
	}
	s.snapshotting, err = zsock.NewWaiter(s.router)
	return err
}

// Endpoints is where the server is reached, with wildcard ports resolved.
func (s *Server) Endpoints() Endpoints { return s.at }

// Epoch is the identity of the server's run.
func (s *Server) Epoch() uint64 { return s.cfg.Epoch }

// Run serves until ctx is done; then it returns nil. It can be called once.
func (s *Server) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.running || s.closed {
		s.mu.Unlock()
		return fmt.Errorf("%w: server runs once", ErrClosed)
	}
	s.running = true
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		s.publishing.Wake()
		if s.snapshotting != nil {
			s.snapshotting.Wake()
		}
	})()
	var loops sync.WaitGroup
	var errs [2]error
	run := func(i int, loop func(context.Context) error) {
		loops.Go(func() {
			// One loop's failure ends the other.
			if errs[i] = loop(ctx); errs[i] != nil {
				cancel()
			}
		})
	}
	s.settle.begin()
	run(0, s.publish)
	if s.router != nil {
		run(1, s.serveSnapshots)
	}
	loops.Wait()
	return errors.Join(errs[:]...)
}

// Close closes the sockets, after Run has returned.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	for _, w := range []*zsock.Waiter{s.publishing, s.snapshotting} {
		if w != nil {
			errs = append(errs, w.Close())
		}
	}
	for _, socket := range []*zsock.Socket{s.router, s.publisher, s.collector} {
		if socket != nil {
			errs = append(errs, socket.Close())
		}
	}
	if s.ctx != nil {
		errs = append(errs, s.ctx.Close())
	}
	return errors.Join(errs...)
}

// Set changes the server's own table and publishes it, as a client's KVSET does.
// An empty value deletes. p may have a time to live; all bytes are copied. It
// returns the update's sequence.
func (s *Server) Set(key []byte, p Properties, value []byte) (sequence uint64, err error) {
	if s.state.external {
		return 0, ErrReadOnly
	}
	p, ttl, err := s.state.given(key, p, value)
	if err != nil {
		return 0, err
	}
	sequence, err = s.state.set(key, nil, p, ttl, value, s.now())
	if err != nil {
		return 0, s.refused(err)
	}
	s.counters.updates.Add(1)
	s.publishing.Wake()
	return sequence, nil
}

// Update publishes an update of the Store; an empty value means that the key is
// gone. Sequences must grow; where the store's do not grow by one, clients see
// no loss, since each update says which was before it. All bytes are copied.
//
// It never waits. ErrQueueFull: the update is lost to everyone, and the next one
// that is published lets clients of this project see it.
func (s *Server) Update(key []byte, sequence uint64, p Properties, value []byte) error {
	if !s.state.external {
		return fmt.Errorf("%w: there is no store", ErrConfig)
	}
	if err := s.state.update(key, sequence, p, value); err != nil {
		return s.refused(err)
	}
	s.counters.updates.Add(1)
	s.publishing.Wake()
	return nil
}

// refused counts an update that was not published.
func (s *Server) refused(err error) error {
	switch {
	case errors.Is(err, ErrQueueFull):
		s.counters.updatesFull.Add(1)
		s.publishing.Wake()
	case errors.Is(err, ErrTableFull):
		s.counters.setsFull.Add(1)
	default:
		s.counters.updatesBad.Add(1)
	}
	return err
}

// Get returns the entry of a key in the server's own table. Its bytes are not to
// be changed.
func (s *Server) Get(key []byte) (Entry, bool) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if it := s.state.table.get(key); it != nil {
		return it.Entry, true
	}
	return Entry{}, false
}

// Stats returns what the server has done so far.
func (s *Server) Stats() Stats {
	st := s.counters.snapshot()
	st.TableEntries, st.TableBytes = s.state.size()
	st.Sequence = s.state.last()
	return st
}
