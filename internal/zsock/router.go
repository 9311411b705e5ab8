package zsock

import (
	"errors"
	"fmt"
	"time"

	zmq "github.com/pebbe/zmq4"
)

// The types of request sockets. Ours are DEALER and ROUTER; peers of others may
// be these.
const (
	REQ = zmq.REQ
	REP = zmq.REP
)

// MustReach makes a ROUTER say when it cannot send, instead of dropping:
// ErrUnreachable for a peer it does not know, ErrAgain for one whose queue is
// full.
func (s *Socket) MustReach() error {
	if s.port != nil {
		s.port.Set(MustReach)
		return nil
	}
	return s.z.SetRouterMandatory(1)
}

// NoticeDeath makes the socket send ZMTP pings on silent connections and give
// up those that do not answer for the timeout, so that peers that vanished
// without a word do not stay for ever. To be called before Bind or Connect. A socket
// that is bound with a lock leaves the pings to TCP: see quietDeath.
func (s *Socket) NoticeDeath(interval, timeout time.Duration) error {
	if s.port != nil {
		s.port.Set(NoticeDeath)
		return nil
	}
	if err := errors.Join(s.z.SetHeartbeatIvl(interval), s.z.SetHeartbeatTimeout(timeout)); err != nil {
		return fmt.Errorf("zsock: heartbeat of connections: %w", err)
	}
	s.deathInterval, s.deathTimeout = interval, timeout
	return nil
}

// quietDeath has TCP notice that peers are gone, instead of ZMTP's pings. Where a
// monitor listens, libzmq 4.3.4 forgets that a frame was not sealed as CURVE wants it,
// stops reading instead of closing the connection, and aborts the process when the
// peer resets it and a ping is due.
func (s *Socket) quietDeath() error {
	if s.deathInterval == 0 {
		return nil
	}
	seconds := max(int(s.deathInterval/time.Second), 1)
	return errors.Join(s.z.SetHeartbeatIvl(0), s.z.SetTcpKeepalive(1), s.z.SetTcpKeepaliveIdle(seconds),
		s.z.SetTcpKeepaliveIntvl(seconds), s.z.SetTcpKeepaliveCnt(max(int(s.deathTimeout/s.deathInterval), 1)), s.z.SetTcpMaxrt(s.deathTimeout))
}
