package zsock

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// members are the peers that a lock has let in.
type members struct {
	still atomic.Pointer[func(channel string, p Peer) bool] // nil: everybody

	mu   sync.Mutex
	book map[int]member // of sockets that hear from their peers seldom, by descriptor
}

// member is a peer's connection.
type member struct {
	line    *Connection
	channel string
	peer    Peer
}

// Expel ends the connections of peers that still reports false of, and has every peer
// judged by it from now on: after somebody's rights were taken away. It returns how many
// connections it has ended. still is called from any goroutine, and must return soon.
//
// Of sockets that send to whoever subscribes (XPUB) connections end at once; the peers of
// others are noticed with their next message, which is dropped. Of a PUB socket, which
// does not hear who subscribes, none can be ended. A peer that connects again is up to
// Check.
func (l *Lock) Expel(still func(channel string, p Peer) bool) (ended int) {
	l.still.Store(&still)
	l.mu.Lock()
	defer l.mu.Unlock()
	for fd, m := range l.book {
		if still(m.channel, m.peer) {
			continue
		}
		delete(l.book, fd)
		if m.line.cut() == nil {
			ended++
		}
	}
	return ended
}

// guarded reports whether the socket's peers have names.
func (s *Socket) guarded() bool { return s.bound && s.lock.Check != nil }

// attend reports whether a message is to be taken in, and takes note of whose it is.
func (s *Socket) attend(from func() Peer) bool {
	still := s.lock.still.Load()
	if still == nil && s.typ != XPUB {
		return true
	}
	p := from()
	if p.User == "" {
		return true // of this process, or the end of a subscription
	}
	channel := s.side().channel
	if still != nil && !(*still)(channel, p) {
		if line, err := OpenConnection(p); err == nil {
			_ = line.cut()
		}
		return false
	}
	if s.typ == XPUB {
		s.lock.note(channel, p)
	}
	return true
}

// note takes note of a connection.
func (l *Lock) note(channel string, p Peer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m, ok := l.book[p.FD]; ok && m.peer.User == p.User && m.line.Stands() {
		return
	}
	line, err := OpenConnection(p)
	if err != nil {
		return
	}
	if l.book == nil {
		l.book = map[int]member{}
	}
	l.book[p.FD] = member{line, channel, p}
}

// cut ends the connection. It works on a descriptor of its own, which libzmq cannot
// close meanwhile: so what it ends is the connection and nothing else.
func (c *Connection) cut() error {
	fd, err := unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return gone(err)
	}
	defer unix.Close(fd)
	cookie, err := socketCookie(fd)
	if err != nil || cookie != c.cookie {
		return ErrConnectionGone
	}
	return unix.Shutdown(fd, unix.SHUT_RDWR)
}
