package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// ServerConfig is what a Server is made from. The zero value of a field means its
// default.
type ServerConfig struct {
	// Address to serve at: HOST:PORT, or a port of this machine alone. Port 0 is any
	// free one.
	Address string
	// Open lets other machines reach it: without it Address must be one of this
	// machine. What is served says nothing secret, and takes nothing; nor is it
	// encrypted, and nobody has to say who they are.
	Open bool
	// Set is what is shown.
	Set *Set
}

// Bounds of what peers can take.
const (
	connectionsMax = 64
	scrapesMax     = 4 // at a time
	headerWait     = 5 * time.Second
	writeWait      = 30 * time.Second
	idleWait       = 2 * time.Minute
	headerBytes    = 16 << 10
	shutdownWait   = time.Second
)

// Server serves a Set on HTTP: /metrics, in the formats of Prometheus; /healthz, 200
// while the process answers; /readyz, the checks as JSON, 200 or 503.
type Server struct {
	listener net.Listener
	http     http.Server
	once     sync.Once
	closed   error
}

// NewServer binds the address. Connections wait until Run. The error is ErrAddress or
// ErrOpen where the address will not do, or the network's.
func NewServer(cfg ServerConfig) (*Server, error) {
	l, err := listen(cfg.Address, cfg.Open)
	if err != nil {
		return nil, err
	}
	return &Server{listener: newLimited(l), http: http.Server{
		Handler: cfg.Set.handler(), ReadHeaderTimeout: headerWait, ReadTimeout: headerWait,
		WriteTimeout: writeWait, IdleTimeout: idleWait, MaxHeaderBytes: headerBytes,
		ErrorLog: log.New(io.Discard, "", 0), // peers' mistakes are none of ours
	}}, nil
}

// Address returns where it serves, with port 0 resolved.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Run serves until ctx ends, and then returns nil.
func (s *Server) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics: %w", err)
	}
	return s.Close()
}

// Close ends it: requests that run have a second. It may be called more than once.
func (s *Server) Close() error {
	s.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownWait)
		defer cancel()
		if err := s.http.Shutdown(ctx); err != nil {
			s.closed = s.http.Close()
		}
		if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) && s.closed == nil {
			s.closed = err
		}
	})
	return s.closed
}

const index = `tapedeck
/metrics  for Prometheus
/healthz  200 while the process answers
/readyz   the checks, 200 where all are passed
`

func (s *Set) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{
		// One bad metric must not hide all others. It is counted.
		ErrorHandling: promhttp.ContinueOnError, Registry: s.registry,
		MaxRequestsInFlight: scrapesMax, EnableOpenMetrics: true,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		plain(w)
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		st := s.Status()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !st.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(st)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		plain(w)
		_, _ = io.WriteString(w, index)
	})
	return mux
}

func plain(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
}

// limited is a listener that has so many connections open at most. Others wait.
type limited struct {
	net.Listener
	open   chan struct{} // holds a token for every connection, and for who waits for one
	closed chan struct{}
	once   func()
}

func newLimited(l net.Listener) *limited {
	closed := make(chan struct{})
	return &limited{l, make(chan struct{}, connectionsMax), closed, sync.OnceFunc(func() { close(closed) })}
}

// Close implements net.Listener.
func (l *limited) Close() error {
	l.once()
	return l.Listener.Close()
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.open <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.open
		return nil, err
	}
	return &counted{Conn: c, over: sync.OnceFunc(func() { <-l.open })}, nil
}

// counted gives its place back when it is closed.
type counted struct {
	net.Conn
	over func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	err := c.Conn.Close()
	c.over()
	return err
}
