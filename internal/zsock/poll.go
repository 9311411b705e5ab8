package zsock

import (
	"time"

	zmq "github.com/pebbe/zmq4"
)

// Poller waits for several sockets of one goroutine, of any contexts. Its
// resolution is a millisecond: it is for control traffic, never for pacing.
type Poller struct {
	z       *zmq.Poller
	sockets map[*zmq.Socket]int
}

// NewPoller returns a poller that waits until one of the sockets can be read.
func NewPoller(sockets ...*Socket) *Poller {
	p := &Poller{z: zmq.NewPoller(), sockets: make(map[*zmq.Socket]int, len(sockets))}
	for i, s := range sockets {
		p.z.Add(s.z, zmq.POLLIN)
		p.sockets[s.z] = i
	}
	return p
}

// Wait appends to ready the indices of the sockets that can be read, waiting at
// most timeout for the first one.
func (p *Poller) Wait(ready []int, timeout time.Duration) ([]int, error) {
	polled, err := p.z.Poll(timeout)
	if err != nil {
		return ready, wrap(err)
	}
	for _, s := range polled {
		ready = append(ready, p.sockets[s.Socket])
	}
	return ready, nil
}
