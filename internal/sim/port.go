package sim

import (
	"fmt"
	"syscall"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// port is a DEALER or ROUTER of a process. A DEALER has one endpoint that it connects
// to, again and again.
type port struct {
	p        *Process
	life     int
	router   bool
	identity string
	queue    int // messages that a connection may hold
	must     bool
	only     bool
	heeds    bool // gives up connections that are silent
	lingers  bool
	closed   bool

	in       []arrived
	peers    map[string]*conn // of a ROUTER
	order    []*conn          // the same, oldest first
	endpoint string           // that a DEALER connects to
	up       *conn            // its connection
	waiting  [][][]byte       // for a connection
	monitor  *monitor
}

// arrived is a message that came over a connection.
type arrived struct {
	frames [][]byte
	over   *conn
}

// Times of connections.
const (
	reconnect = 100 * time.Millisecond
	heldUp    = 20 * time.Millisecond // how often it is looked whether a way is open again
	resend    = 200 * time.Millisecond
	death     = 20 * time.Second // of silence, for who heeds it
)

// Set implements zsock.Port.
func (s *port) Set(b zsock.Behaviour) {
	switch b {
	case zsock.MustReach:
		s.must = true
	case zsock.OnlyConnected:
		s.only = true
	case zsock.NoticeDeath:
		s.heeds = true
	case zsock.Linger:
		s.lingers = true
	}
}

// alive reports whether the socket is there.
func (s *port) alive() bool { return !s.closed && s.p.up && s.p.life == s.life }

// Bind implements zsock.Port.
func (s *port) Bind(endpoint string) (string, error) {
	w := s.p.w
	if other := w.bound[endpoint]; other != nil && other.alive() {
		return "", fmt.Errorf("bind %s: %w", endpoint, syscall.EADDRINUSE)
	}
	w.bound[endpoint] = s
	return endpoint, nil
}

// Connect implements zsock.Port.
func (s *port) Connect(endpoint string) error {
	s.endpoint = endpoint
	s.p.w.After(0, s.dial)
	return nil
}

// dial tries to get a connection, and tries again.
func (s *port) dial() {
	if !s.alive() || s.up != nil {
		return
	}
	w := s.p.w
	to := w.bound[s.endpoint]
	if to == nil || !to.alive() || !to.p.Well() || !s.p.Well() || w.way(s.p, to.p).cut || w.way(to.p, s.p).cut {
		w.After(w.Between(reconnect/2, reconnect), s.dial)
		return
	}
	c := &conn{w: w, dealer: s, router: to, id: s.identity}
	c.pipes = [2]*pipe{{c: c, from: s, to: to, way: w.way(s.p, to.p)}, {c: c, from: to, to: s, way: w.way(to.p, s.p)}}
	s.up = c
	w.conns = append(w.conns, c)
	w.After(w.Between(c.pipes[0].way.weather.least, c.pipes[0].way.weather.most)*3, c.stand)
}

// Send implements zsock.Port.
func (s *port) Send(frames [][]byte) error {
	if !s.alive() {
		return nil // of one that is being ended: it goes nowhere
	}
	if s.router {
		c := s.peers[string(frames[0])]
		switch {
		case c == nil && s.must:
			return zsock.ErrUnreachable
		case c == nil:
			return nil
		case c.pipes[1].held >= s.queue && s.must:
			return zsock.ErrAgain
		case c.pipes[1].held >= s.queue:
			return nil
		}
		c.pipes[1].send(cloned(frames[1:]))
		return nil
	}
	switch c := s.up; {
	case c != nil && c.ends[0]:
		if c.pipes[0].held >= s.queue {
			return zsock.ErrAgain
		}
		c.pipes[0].send(cloned(frames))
	case s.only || len(s.waiting) >= s.queue:
		return zsock.ErrAgain
	default:
		s.waiting = append(s.waiting, cloned(frames))
	}
	return nil
}

func cloned(frames [][]byte) [][]byte {
	out := make([][]byte, len(frames))
	for i, f := range frames {
		out[i] = append([]byte{}, f...)
	}
	return out
}

// Recv implements zsock.Port.
func (s *port) Recv() ([][]byte, error) {
	if len(s.in) == 0 {
		return nil, zsock.ErrAgain
	}
	m := s.in[0]
	s.in[0] = arrived{}
	s.in = s.in[1:]
	m.over.pipe(s).held--
	return m.frames, nil
}

// Readable implements zsock.Port.
func (s *port) Readable() bool { return len(s.in) > 0 }

// Close implements zsock.Port.
func (s *port) Close() {
	if s.closed {
		return
	}
	alive := s.alive()
	s.closed = true
	for _, c := range s.connections() {
		if alive && s.lingers {
			c.hangUp(s)
		} else {
			c.abort(s)
		}
	}
}

func (s *port) connections() []*conn {
	if s.router {
		return append([]*conn{}, s.order...)
	}
	if s.up != nil {
		return []*conn{s.up}
	}
	return nil
}

// Monitor implements zsock.Port.
func (s *port) Monitor() zsock.Port {
	s.monitor = &monitor{}
	return s.monitor
}

func (s *port) tell(c zsock.Change) {
	if s.monitor != nil {
		s.monitor.changes = append(s.monitor.changes, c)
	}
}

// monitor is the port that tells of a DEALER's connections.
type monitor struct {
	port
	changes []zsock.Change
}

// Recv implements zsock.Port.
func (m *monitor) Recv() ([][]byte, error) {
	if len(m.changes) == 0 {
		return nil, zsock.ErrAgain
	}
	c := m.changes[0]
	m.changes = m.changes[1:]
	return [][]byte{{byte(c)}}, nil
}

// Readable implements zsock.Port.
func (m *monitor) Readable() bool { return len(m.changes) > 0 }

// Close implements zsock.Port.
func (m *monitor) Close() { m.changes = nil }
