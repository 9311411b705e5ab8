package resync

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// dialAgain is how long after a socket was opened whose connection has ended the next
// one is opened, at the soonest.
const dialAgain = 100 * time.Millisecond

// dial opens a server's socket. Nothing is sent before its connection stands, and where
// that ends the socket is closed, with all that libzmq holds for it: so a request never
// reaches a server long after nobody waits for its answer. zsock's OnlyConnected would do
// the same, but not for a socket that replies come by.
func (c *Client) dial(s *server) (err error) {
	if s.socket, err = c.zctx.NewSocket(zsock.DEALER, zsock.SocketConfig{MessageMax: MessageMax}); err != nil {
		return err
	}
	s.stands = strings.HasPrefix(s.endpoint, "inproc:") // which has no connections to tell of
	s.again = c.now().Add(dialAgain)
	if s.monitor, err = c.zctx.Monitor(s.socket); err != nil {
		return err
	}
	if err := s.socket.Connect(s.endpoint); err != nil {
		return fmt.Errorf("resync: %w", err)
	}
	return nil
}

// hangUp closes a server's socket, where it is open.
func (s *server) hangUp() error {
	if s.socket == nil {
		return nil
	}
	var err error
	if s.monitor != nil {
		err = s.monitor.Close()
	}
	err = errors.Join(err, s.socket.Close())
	s.socket, s.monitor, s.stands = nil, nil, false
	return err
}

// redial opens the sockets that are closed and whose time has come, and returns when the
// next one's comes; below 0: there is none.
func (c *Client) redial(now time.Time) (next time.Duration, err error) {
	next = zsock.Forever
	opened := false
	for _, s := range c.servers {
		switch wait := s.again.Sub(now); {
		case s.socket != nil:
		case wait > 0:
			next = sooner(next, wait)
		default:
			if err := c.dial(s); err != nil {
				return next, err
			}
			opened = true
		}
	}
	if opened {
		c.watch()
	}
	return next, nil
}

// sooner is the shorter of two times, of which those below 0 are for ever.
func sooner(a, b time.Duration) time.Duration {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

// watched is a socket that the waiter watches.
type watched struct {
	server  int
	monitor bool
}

// watch has the waiter watch the sockets that there are.
func (c *Client) watch() {
	c.watched = c.watched[:0]
	var sockets []*zsock.Socket
	for i, s := range c.servers {
		if s.socket != nil {
			c.watched = append(c.watched, watched{i, false}, watched{i, true})
			sockets = append(sockets, s.socket, s.monitor.Socket())
		}
	}
	c.waiter.Watch(sockets...)
}

// heed takes note of what became of a server's connection.
func (c *Client) heed(s *server) error {
	for s.socket != nil {
		change, err := s.monitor.Next()
		switch {
		case errors.Is(err, zsock.ErrAgain):
			return nil
		case err != nil:
			return err
		case change == zsock.Connected:
			s.stands = true
		default:
			err := s.hangUp()
			c.watch()
			return err
		}
	}
	return nil
}
