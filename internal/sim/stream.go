package sim

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"
)

// stream is one end of a connection of bytes between two processes, as TCP makes them:
// what is written comes in order, however bad the weather, or not at all. It holds so
// many bytes that were not read, and then whoever writes waits. It implements net.Conn;
// its methods that wait are for threads of its process.
type stream struct {
	p        *Process // nil: of one whose end nobody has taken yet
	life     int
	peer     *stream
	way      *link     // to the peer
	name     string    // of this end
	window   int       // bytes that are on their way to the peer, or wait there, at most
	queue    []segment // on its way to the peer
	clear    time.Duration
	going    bool
	unread   int // bytes written and not read by the peer
	unacked  int // bytes written of which it is not known that they have arrived
	in       []byte
	ended    error // why there is no more to read, once in is empty
	broken   bool  // writing fails
	closed   bool
	deadline [2]time.Duration // of reading and writing, by the process's clock; 0: none
}

// segment is some bytes, or where it has none the end.
type segment struct {
	b   []byte
	due time.Duration
	end error
}

// listener is where a process takes in streams. It implements net.Listener.
type listener struct {
	p        *Process
	life     int
	endpoint string
	waiting  []*stream
	closed   bool
}

// listen binds an endpoint.
func (p *Process) listen(endpoint string) *listener {
	l := &listener{p: p, life: p.life, endpoint: endpoint}
	p.w.listening[endpoint] = l
	return l
}

func (l *listener) alive() bool { return !l.closed && l.p.up && l.p.life == l.life }

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	l.p.Sleep(-1, func() bool { return l.closed || len(l.waiting) > 0 })
	if l.closed {
		return nil, net.ErrClosed
	}
	s := l.waiting[0]
	l.waiting = l.waiting[1:]
	return s, nil
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.closed = true
	for _, s := range l.waiting {
		_ = s.Close()
	}
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return streamAddr(l.endpoint) }

// streamAddr is the name of an end of a stream.
type streamAddr string

// Network implements net.Addr.
func (a streamAddr) Network() string { return "sim" }

// String implements net.Addr.
func (a streamAddr) String() string { return string(a) }

// dial connects the process whose thread calls it to an endpoint, with a window of so
// many bytes, and returns its end, or nil where nobody is there. The other end's process
// need not go on: its kernel answers.
func (p *Process) dial(endpoint string, window int) *stream {
	w := p.w
	l := w.listening[endpoint]
	if l == nil || !l.alive() || w.way(p, l.p).cut || w.way(l.p, p).cut {
		return nil
	}
	there, back := w.way(p, l.p), w.way(l.p, p)
	p.Sleep(w.Between(there.weather.least, there.weather.most)+w.Between(back.weather.least, back.weather.most), nil)
	if !l.alive() {
		return nil
	}
	w.named++
	s := &stream{p: p, life: p.life, way: there, window: window, name: fmt.Sprintf("%s:%d", p.name, w.named)}
	s.peer = &stream{p: l.p, life: l.life, way: back, window: window, name: l.endpoint, peer: s}
	p.streams, l.p.streams = append(p.streams, s), append(l.p.streams, s.peer)
	w.streams = append(w.streams, s)
	l.waiting = append(l.waiting, s.peer)
	w.After(0, l.p.poke)
	return s
}

func (s *stream) alive() bool { return s.p.up && s.p.life == s.life }

// over reports whether a deadline has passed.
func (s *stream) over(which int) bool { return s.deadline[which] > 0 && s.p.Now() >= s.deadline[which] }

// wait makes the thread wait until ready, or until the deadline has passed.
func (s *stream) wait(which int, ready func() bool) {
	d := time.Duration(-1)
	if s.deadline[which] > 0 {
		d = max(s.deadline[which]-s.p.Now(), 0)
	}
	s.p.Sleep(d, ready)
}

// Read implements net.Conn.
func (s *stream) Read(b []byte) (int, error) {
	for {
		switch {
		case s.closed:
			return 0, net.ErrClosed
		case len(s.in) > 0:
			n := copy(b, s.in)
			s.in = s.in[n:]
			s.tell(func() { s.peer.unread -= n })
			return n, nil
		case s.ended != nil:
			return 0, s.ended
		case s.over(0):
			return 0, os.ErrDeadlineExceeded
		}
		s.wait(0, func() bool { return s.closed || len(s.in) > 0 || s.ended != nil })
	}
}

// Write implements net.Conn.
func (s *stream) Write(b []byte) (n int, err error) {
	for n < len(b) {
		switch room := s.window - s.unread; {
		case s.closed:
			return n, net.ErrClosed
		case s.broken:
			return n, syscall.ECONNRESET
		case s.over(1):
			return n, os.ErrDeadlineExceeded
		case room > 0:
			part := b[n:min(n+room, len(b))]
			s.unread += len(part)
			s.unacked += len(part)
			n += len(part)
			s.put(segment{b: slices.Clone(part)})
		default:
			s.wait(1, func() bool { return s.closed || s.broken || s.unread < s.window })
		}
	}
	return n, nil
}

// put puts something on its way.
func (s *stream) put(g segment) {
	w, c := s.p.w, &s.way.weather
	at := w.now + w.Between(c.least, c.most)
	for w.Chance(min(c.lose, 0.5)) {
		at += resend
	}
	s.clear = max(s.clear, at)
	g.due = s.clear
	s.queue = append(s.queue, g)
	s.set()
}

func (s *stream) set() {
	if !s.going && len(s.queue) > 0 {
		s.going = true
		s.p.w.After(s.queue[0].due-s.p.w.now, s.arrive)
	}
}

// arrive delivers what is due: to the other machine, whatever its process does.
func (s *stream) arrive() {
	w := s.p.w
	s.going = false
	if s.way.cut {
		if len(s.queue) > 0 {
			s.going = true
			w.After(heldUp, s.arrive)
		}
		return
	}
	to := s.peer
	for len(s.queue) > 0 && s.queue[0].due <= w.now {
		g := s.queue[0]
		s.queue = s.queue[1:]
		switch {
		case g.end != nil && to.ended == nil:
			to.ended, to.broken = g.end, to.broken || g.end != io.EOF
		case to.ended != nil: // it has broken there
		case to.closed || !to.alive():
			to.put(segment{end: syscall.ECONNRESET}) // nobody is there any more
		default:
			to.in = append(to.in, g.b...)
			n := len(g.b)
			to.tell(func() { s.unacked -= n })
		}
	}
	s.set()
	if to.alive() {
		to.p.poke()
	}
}

// tell makes the other machine know something of what was received, in a while.
func (s *stream) tell(what func()) {
	w, c := s.p.w, &s.way.weather
	w.After(w.Between(c.least, c.most), func() {
		if s.way.cut {
			w.After(heldUp, func() { s.tell(what) })
			return
		}
		if what(); s.peer.alive() {
			s.peer.p.poke()
		}
	})
}

// Close implements net.Conn.
func (s *stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.leave(io.EOF)
	return nil
}

// abort is the end of the process: some of what was written may still arrive.
func (s *stream) abort() {
	if s.closed {
		return
	}
	s.closed = true
	if len(s.in) == 0 {
		s.leave(io.EOF)
		return
	}
	s.queue = s.queue[:s.p.w.IntN(len(s.queue)+1)] // a kernel that has unread bytes drops what is unsent
	s.leave(syscall.ECONNRESET)
}

// leave tells the other end, and forgets the connection when both have gone.
func (s *stream) leave(why error) {
	if s.ended == nil || !s.peer.closed {
		s.put(segment{end: why})
	}
	s.p.streams = slices.DeleteFunc(s.p.streams, func(o *stream) bool { return o == s })
	w := s.p.w
	w.streams = slices.DeleteFunc(w.streams, func(o *stream) bool { return o == s || o == s.peer })
}

// cutOff breaks the connection, which one end knows at once, and then the other.
func (s *stream) cutOff() {
	s.queue, s.peer.queue = nil, nil
	s.ended, s.broken = syscall.ECONNRESET, true
	s.in = nil
	s.put(segment{end: syscall.ECONNRESET})
	s.p.poke()
}

// LocalAddr implements net.Conn.
func (s *stream) LocalAddr() net.Addr { return streamAddr(s.name) }

// RemoteAddr implements net.Conn.
func (s *stream) RemoteAddr() net.Addr { return streamAddr(s.peer.name) }

// SetDeadline implements net.Conn.
func (s *stream) SetDeadline(t time.Time) error {
	_ = s.SetReadDeadline(t)
	return s.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (s *stream) SetReadDeadline(t time.Time) error { return s.setDeadline(0, t) }

// SetWriteDeadline implements net.Conn.
func (s *stream) SetWriteDeadline(t time.Time) error { return s.setDeadline(1, t) }

// setDeadline takes times as lvcWorld.Now gives them.
func (s *stream) setDeadline(which int, t time.Time) error {
	if s.deadline[which] = 0; !t.IsZero() {
		s.deadline[which] = max(t.Sub(lifeBegan), 1)
	}
	return nil
}

// lifeBegan is the beginning of a process's clock that is never set, where times are
// wanted.
var lifeBegan = time.Unix(1_000_000_000, 0)
