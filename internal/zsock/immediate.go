package zsock

import "fmt"

// OnlyConnected makes the socket queue messages only on connections that stand:
// without one, sending gives ErrAgain, and what was queued when a connection breaks
// is gone with it. So a request never reaches a peer long after nobody waits for
// its answer. To be called before Connect.
//
// It is not for sockets that messages of several frames come by: where a connection
// ends while one of them is read, libzmq 4.3.4 aborts the process (fq.cpp, "!_more").
// Such a socket is closed when a Monitor says that its connection has ended.
func (s *Socket) OnlyConnected() error {
	if s.port != nil {
		s.port.Set(OnlyConnected)
		return nil
	}
	if err := s.z.SetImmediate(true); err != nil {
		return fmt.Errorf("zsock: queue on standing connections alone: %w", err)
	}
	return nil
}
