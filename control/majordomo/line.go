package majordomo

import (
	"errors"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// line is a client's socket to a broker, and what is known of its connection. Where that
// ends a lane closes the socket, so that what libzmq has queued for it goes with it: it
// is the lane that holds it, and sends it again. zsock's OnlyConnected would do the
// same, but not for a socket that replies come by.
type line struct {
	socket  *zsock.Socket // nil: there is none
	monitor *zsock.Monitor
	at      int           // endpoint
	opened  time.Duration // the socket
	stood   bool          // a connection of the socket has stood before
	down    bool          // no connection stands
}

// dial opens a line to an endpoint. What it returns is to be closed also where it
// fails.
func (l *clientLoop) dial(at int) (line, error) {
	c, endpoint := l.c, l.c.cfg.Endpoints[at]
	cfg := zsock.SocketConfig{MessageMax: c.cfg.ReplyBytes, SendQueue: -1, ReceiveQueue: -1}
	if c.cfg.Local {
		cfg.Identity = string(localIdentity())
	}
	s, err := c.zctx.NewSocket(zsock.DEALER, cfg)
	if err != nil {
		return line{}, err
	}
	n := line{socket: s, at: at, opened: l.now}
	n.down = !strings.HasPrefix(endpoint, "inproc:") // which has no connections to tell of
	if err = s.NoticeDeath(deathInterval, deathTimeout); err == nil {
		n.monitor, err = c.zctx.Monitor(s)
	}
	l.count.Connected++
	if err == nil {
		err = s.Connect(endpoint)
	}
	if err != nil {
		return line{}, errors.Join(err, n.close())
	}
	return n, nil
}

// close closes the socket.
func (n *line) close() error {
	if n.socket == nil {
		return nil
	}
	var err error
	if n.monitor != nil {
		err = n.monitor.Close()
	}
	err = errors.Join(err, n.socket.Close())
	n.socket, n.monitor = nil, nil
	return err
}

// heed takes note of one change of the connection; false where there is none.
func (n *line) heed(l *clientLoop) (bool, error) {
	change, err := n.monitor.Next()
	switch {
	case errors.Is(err, zsock.ErrAgain):
		return false, nil
	case err != nil:
		return false, err
	case change == zsock.Disconnected:
		n.down = true
	default:
		if n.stood {
			l.count.Connected++
		}
		n.stood, n.down = true, false
	}
	return true, nil
}
