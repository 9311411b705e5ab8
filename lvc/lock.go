package lvc

import (
	"errors"
	"fmt"
	"net"

	"github.com/tapedeck/tapedeck/internal/zmtp"
	"github.com/tapedeck/tapedeck/wire"
)

// Lock is who may read: CURVE on every connection to the plain stream and the tap, and
// who has which key.
type Lock struct {
	// Secret is this side's secret key, whose public half clients know.
	Secret [32]byte
	// Check says what who has shown a key, and has proven to have its secret half, may
	// read; an error refuses the connection. It is called from any goroutine, again with
	// every Recheck, and must return soon.
	Check func(key [32]byte, from net.Addr) (Rights, error)
	// CheckTap is Check of the tap, whose readers must have the right to everything.
	// Default: Check.
	CheckTap func(key [32]byte, from net.Addr) (Rights, error)
	// Failed is told of connections that came to nothing before anybody was asked.
	// Default: nobody is.
	Failed func(tap bool, err error, from net.Addr)

	tap bool
}

// Rights are what a reader may read.
type Rights struct {
	Name string // of the reader, for people
	// MayRead reports whether everything that begins with prefix may be read; nil is
	// everything.
	MayRead func(prefix []byte) bool
}

func (r *Rights) allow(prefix []byte) bool {
	return r.MayRead == nil || r.MayRead(prefix)
}

// handshake greets a connection, with the lock where there is one.
func (h *hub) handshake(conn net.Conn) (*zmtp.Session, net.Conn, identity, error) {
	if h.lock == nil {
		s, err := zmtp.Handshake(conn)
		return s, conn, identity{}, err
	}
	var who identity
	s, locked, err := zmtp.HandshakeCurve(conn, &h.lock.Secret, func(key [32]byte) (err error) {
		who = identity{key: key, from: conn.RemoteAddr()}
		who.rights, err = h.lock.Check(key, who.from)
		return err
	})
	if err != nil && h.lock.Failed != nil && !errors.Is(err, zmtp.ErrRefused) {
		h.lock.Failed(h.lock.tap, err, conn.RemoteAddr())
	}
	return s, locked, who, err
}

// identity is who a reader has proven to be.
type identity struct {
	key    [32]byte
	from   net.Addr
	rights Rights
}

// recheck asks again what everybody may read, ends the connections of those who may no
// longer connect, and takes back subscriptions that they no longer have a right to.
func (h *hub) recheck() (ended int) {
	if h.lock == nil {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for r := range h.readers {
		if r.conn == nil {
			continue
		}
		rights, err := h.lock.Check(r.who.key, r.who.from)
		if err != nil {
			_ = r.conn.Close() // its loop ends, and it parts
			ended++
			continue
		}
		r.who.rights = rights
		for prefix := range r.subscriptions {
			if !rights.allow([]byte(prefix)) {
				h.filters.remove(r, prefix)
				h.owner.refused(r, prefix)
				h.counts.noRight++
			}
		}
	}
	return ended
}

// Recheck asks Config.Lock again about everybody who is connected: after keys were
// revoked, or rights changed. It returns how many connections it has ended.
func (p *Proxy) Recheck() int {
	ended := p.hub.recheck()
	if p.tap != nil {
		ended += p.tap.hub.recheck()
	}
	return ended
}

// refused implements owner: a subscription to what its reader has no right to is
// answered, once, on the topic that is the subscription itself.
func (p *Proxy) refused(r *reader, prefix string) {
	p.tap.event(Refused, r, prefix)
	if p.hub.ring != nil {
		return // the active one answers
	}
	h := p.emptyHeader(false)
	h.Flags |= wire.PlainRefused
	var own *chunk
	r.push(appendEntry(nil, prefix, h, nil, false), 1, &own)
	if own != nil {
		own.release()
	}
}

// refused implements owner.
func (t *tap) refused(*reader, string) {}

// ofAll is the lock of a tap, which shows everything: who may not read all of it may
// not connect.
func (l *Lock) ofAll() *Lock {
	if l == nil {
		return nil
	}
	check := l.CheckTap
	if check == nil {
		check = l.Check
	}
	return &Lock{Secret: l.Secret, Failed: l.Failed, tap: true, Check: func(key [32]byte, from net.Addr) (Rights, error) {
		r, err := check(key, from)
		if err == nil && !r.allow(nil) {
			err = fmt.Errorf("%s may not read every topic, as a tap does", r.Name)
		}
		return Rights{Name: r.Name}, err
	}}
}

// checkLock refuses what cannot be locked.
func (cfg *Config) checkLock() error {
	if cfg.Lock == nil {
		return nil
	}
	if cfg.Lock.Check == nil {
		return fmt.Errorf("lvc: a lock without a check")
	}
	for _, endpoint := range cfg.Plain {
		if !zmtp.Serves(endpoint) {
			return fmt.Errorf("lvc: %s cannot be locked: keys work with tcp and ipc", endpoint)
		}
	}
	return nil
}
