package freelance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// ServerConfig is what a Server is made from. The zero value of a field means its
// default.
type ServerConfig struct {
	// Endpoint is where clients connect to, exactly as they write it: it is the server's
	// identity.
	Endpoint string
	// Bind is where the socket is bound. Default: Endpoint.
	Bind string
	// Context that inproc clients are in; borrowed until Close. Default: one of its own.
	Context *zsock.Context
	// Handler answers a request with the frames of the reply, on a goroutine of its
	// own; the request's frames are its. ctx ends with Run. It may see a request more
	// than once.
	Handler func(ctx context.Context, request [][]byte) [][]byte
	// Concurrency is how many requests are handled at one time; further ones wait where
	// libzmq put them. Default 16.
	Concurrency int
	// RequestBytes bounds a frame of a request, bytes; who sends a larger one is
	// disconnected. Default 1 MiB.
	RequestBytes int64
}

// Server answers requests of Freelance Protocol clients. Pings are answered however
// long requests take.
type Server struct {
	cfg    ServerConfig
	own    *zsock.Context
	router *zsock.Socket
	waiter *zsock.Waiter

	mu       sync.Mutex // over what follows
	replies  [][][]byte // that wait to be sent
	running  int
	counters ServerCounters
}

// ServerCounters are what a Server has counted.
type ServerCounters struct {
	Pings       uint64
	Requests    uint64
	Malformed   uint64 // messages that are none of the protocol
	Unreachable uint64 // answers whose client was gone
	Dropped     uint64 // answers and pongs whose client does not read
}

// NewServer binds the endpoint.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Endpoint == "" || len(cfg.Endpoint) > 255 || cfg.Handler == nil || cfg.Concurrency < 0 || cfg.RequestBytes < 0 {
		return nil, fmt.Errorf("freelance: a server needs an endpoint of at most 255 bytes, such as tcp://host:7300, and a handler")
	}
	orDefault(&cfg.Bind, cfg.Endpoint)
	orDefault(&cfg.Concurrency, 16)
	orDefault(&cfg.RequestBytes, 1<<20)
	s := &Server{cfg: cfg}
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("freelance: %w", err), s.Close())
	}
	return s, nil
}

func (s *Server) open() (err error) {
	ctx := s.cfg.Context
	if ctx == nil {
		if ctx, err = zsock.NewContext(zsock.NoCPU); err != nil {
			return err
		}
		s.own = ctx
	}
	s.router, err = ctx.NewSocket(zsock.ROUTER, zsock.SocketConfig{Identity: s.cfg.Endpoint, MessageMax: s.cfg.RequestBytes, Channel: zsock.ChannelRefill})
	if err != nil {
		return err
	}
	if err := s.router.MustReach(); err != nil {
		return err
	}
	if _, err := s.router.Bind(s.cfg.Bind); err != nil {
		return err
	}
	s.waiter, err = zsock.NewWaiter(s.router)
	return err
}

// Counters returns what was counted so far.
func (s *Server) Counters() ServerCounters {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counters
}

// Run answers until ctx ends; then it waits for the handlers and returns nil. It may
// be called once.
func (s *Server) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, s.waiter.Wake)()
	var handlers sync.WaitGroup
	defer handlers.Wait()
	for ctx.Err() == nil {
		if err := s.reply(); err != nil {
			return err
		}
		if err := s.receive(ctx, &handlers); err != nil {
			return err
		}
		if _, err := s.waiter.Wait(nil, zsock.Forever); err != nil {
			return fmt.Errorf("freelance: %w", err)
		}
	}
	return nil
}

// receive takes in what has come, while there is somebody to handle it.
func (s *Server) receive(ctx context.Context, handlers *sync.WaitGroup) error {
	for range drainMax {
		s.mu.Lock()
		full := s.running >= s.cfg.Concurrency
		s.mu.Unlock()
		s.waiter.Mute(0, full)
		if full {
			return nil // the end of a handler wakes the loop
		}
		m, err := s.router.RecvFrames()
		if errors.Is(err, zsock.ErrAgain) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("freelance: %w", err)
		}
		s.take(ctx, m, handlers)
	}
	return nil
}

// take takes one message: [client]["PING"], or [client][control][body ...].
func (s *Server) take(ctx context.Context, m [][]byte, handlers *sync.WaitGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(m) == 2 && bytes.Equal(m[1], wordPing):
		s.counters.Pings++
		s.replies = append(s.replies, [][]byte{m[0], wordPong})
		s.waiter.Wake()
	case len(m) < 3:
		s.counters.Malformed++
	default:
		s.counters.Requests++
		s.running++
		handlers.Go(func() {
			reply := s.cfg.Handler(ctx, m[2:])
			s.mu.Lock()
			s.running--
			s.replies = append(s.replies, append([][]byte{m[0], m[1]}, reply...))
			s.mu.Unlock()
			s.waiter.Wake()
		})
	}
}

// reply sends what is to be sent.
func (s *Server) reply() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.replies {
		switch err := s.router.SendFrames(m...); {
		case errors.Is(err, zsock.ErrUnreachable):
			s.counters.Unreachable++
		case errors.Is(err, zsock.ErrAgain):
			s.counters.Dropped++
		case err != nil:
			return fmt.Errorf("freelance: %w", err)
		}
	}
	clear(s.replies)
	s.replies = s.replies[:0]
	return nil
}

// Close closes the socket, after Run has returned.
func (s *Server) Close() error {
	var errs []error
	if s.waiter != nil {
		errs = append(errs, s.waiter.Close())
	}
	if s.router != nil {
		errs = append(errs, s.router.Close())
	}
	if s.own != nil {
		errs = append(errs, s.own.Close())
	}
	s.waiter, s.router, s.own = nil, nil, nil
	return errors.Join(errs...)
}
