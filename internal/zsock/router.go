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
// without a word do not stay for ever. To be called before Bind or Connect.
func (s *Socket) NoticeDeath(interval, timeout time.Duration) error {
	if s.port != nil {
		s.port.Set(NoticeDeath)
		return nil
	}
	if err := errors.Join(s.z.SetHeartbeatIvl(interval), s.z.SetHeartbeatTimeout(timeout)); err != nil {
		return fmt.Errorf("zsock: heartbeat of connections: %w", err)
	}
	return nil
}
