package zsock

// #include <zmq.h>
import "C"

import zmq "github.com/pebbe/zmq4"

// Failure is a connection between processes of which one at least has keys, that came
// to nothing.
type Failure struct {
	Channel  string // of our socket, where it is bound
	Bound    bool   // our socket is, and the other end has come to it
	Endpoint string // that our socket is bound to, or has connected to
	Why      FailureReason
}

// FailureReason is why a connection came to nothing.
type FailureReason string

// The reasons.
const (
	// FailedRefused: the other end knows our key and does not let us in. libzmq does
	// not try again.
	FailedRefused FailureReason = "refused"
	// FailedMechanism: the other end has no keys. Where it is the first to find out, it
	// is FailedClosed.
	FailedMechanism FailureReason = "no key"
	// FailedKeys: the other end's words were made for another key than ours.
	FailedKeys FailureReason = "wrong server key"
	// FailedClosed: the other end has ended the connection instead of greeting us. A
	// server does so with clients that have a wrong key of it.
	FailedClosed FailureReason = "closed"
	// FailedProtocol: the other end speaks something else.
	FailedProtocol FailureReason = "no ZMTP"
)

// failures are libzmq's events of connections that came to nothing.
const failures = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL

// watcher hears of the failures of one socket.
type watcher struct {
	pair *Socket
	side side
}

// side is our end of connections.
type side struct {
	lock    *Lock // nil: none
	channel string
	bound   bool
}

func (s *Socket) side() side {
	if s.channel == "" {
		return side{s.lock, ChannelData, s.bound}
	}
	return side{s.lock, s.channel, s.bound}
}

// watch has the context's guard hear of the socket's connections that come to nothing,
// where somebody wants to know. Another monitor of the socket does it as well.
func (s *Socket) watch() error {
	if s.lock.Failed == nil || s.watched {
		return nil
	}
	g, err := s.context.guarding()
	if err != nil {
		return err
	}
	pair, err := s.context.monitor(s, failures)
	if err != nil {
		return err
	}
	g.add(&watcher{pair, s.side()})
	return nil
}

// unwatch ends events of the socket: those that nobody takes would hold up libzmq's
// thread for ever, and a socket has some to the last.
func (s *Socket) unwatch() error {
	if !s.watched {
		return nil
	}
	s.watched = false
	return s.z.Monitor("", 0)
}

// of implements guarded.
func (w *watcher) of() *Socket { return w.pair }

// attend implements guarded.
func (w *watcher) attend() (goesOn bool) {
	for {
		e, endpoint, value, err := w.pair.z.RecvEvent(zmq.DONTWAIT)
		if err != nil {
			return true
		}
		if e == zmq.EVENT_MONITOR_STOPPED {
			return false
		}
		w.side.failed(e, endpoint, value)
	}
}

// failed tells of a failure.
func (s side) failed(e zmq.Event, endpoint string, value int) {
	if s.lock == nil || s.lock.Failed == nil {
		return
	}
	f := Failure{Channel: s.channel, Bound: s.bound, Endpoint: endpoint}
	switch {
	case e == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
		if s.bound {
			return // it was Check that has refused it
		}
		f.Why = FailedRefused
	case e == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
		f.Why = FailedClosed
	case e != zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
		return
	case value == C.ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC:
		f.Why = FailedKeys
	case value == C.ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
		f.Why = FailedMechanism
	default:
		f.Why = FailedProtocol
	}
	s.lock.Failed(f)
}
