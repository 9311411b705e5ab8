package zsock

import (
	"errors"
	"fmt"
	"sync/atomic"

	zmq "github.com/pebbe/zmq4"
)

// Change is what happened to a connection of a monitored socket.
type Change uint8

// What a Monitor tells.
const (
	// Connected: a connection stands and both ends have greeted each other, so
	// what SendMany sends now goes out on it. Other ways of sending may find out
	// a millisecond later.
	Connected Change = iota
	// Disconnected: a connection that stood has ended. What was sent on it and not
	// answered may never have arrived.
	Disconnected
)

// Monitor tells of the connections of one socket. It belongs to the goroutine of
// that socket. Transports without connections, as inproc, tell nothing.
type Monitor struct {
	of, s *Socket
}

var monitors atomic.Uint64 // names of the endpoints that the events come from

// Monitor begins to tell of the connections of s, a socket of this context. To be
// called before Connect or Bind. The Monitor is to be closed after the socket.
func (c *Context) Monitor(s *Socket) (*Monitor, error) {
	if c.world != nil {
		return &Monitor{s, &Socket{port: s.port.Monitor()}}, nil
	}
	events := zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
	if s.lock != nil {
		events |= failures
	}
	m, err := c.monitor(s, events)
	if err != nil {
		return nil, err
	}
	return &Monitor{s, m}, nil
}

// monitor returns a socket that libzmq's events of s come from.
func (c *Context) monitor(s *Socket, events zmq.Event) (*Socket, error) {
	endpoint := fmt.Sprintf("inproc://zsock.monitor.%d", monitors.Add(1))
	if err := s.z.Monitor(endpoint, events); err != nil {
		return nil, fmt.Errorf("zsock: monitor: %w", err)
	}
	m, err := c.newSocket(zmq.PAIR, SocketConfig{ReceiveQueue: -1})
	if err != nil {
		return nil, errors.Join(err, s.z.Monitor("", 0))
	}
	if err := m.z.Connect(endpoint); err != nil {
		return nil, errors.Join(fmt.Errorf("zsock: monitor: %w", err), s.z.Monitor("", 0), m.Close())
	}
	s.watched = true
	return m, nil
}

// Socket is what can be read when there is something to tell: for a Waiter, and for
// nothing else.
func (m *Monitor) Socket() *Socket { return m.s }

// Next returns the next change without waiting, or ErrAgain.
func (m *Monitor) Next() (Change, error) {
	if m.s.port != nil {
		frames, err := m.s.port.Recv()
		if err != nil {
			return 0, err
		}
		return Change(frames[0][0]), nil
	}
	for {
		switch e, endpoint, value, err := m.s.z.RecvEvent(zmq.DONTWAIT); {
		case err != nil:
			return 0, wrap(err)
		case e == zmq.EVENT_HANDSHAKE_SUCCEEDED:
			return Connected, nil
		case e == zmq.EVENT_DISCONNECTED:
			return Disconnected, nil
		default:
			m.of.side().failed(e, endpoint, value)
		}
	}
}

// Close ends the monitor. Events that nobody takes would hold up libzmq's thread for
// ever, and a socket has some to the last: so it is told to have no more.
func (m *Monitor) Close() error {
	if m.s.port != nil {
		return m.s.Close()
	}
	return errors.Join(m.of.unwatch(), m.s.Close())
}
