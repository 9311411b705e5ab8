package bench

import (
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// forwarder is a way between a reader and a publisher that can be cut: it carries
// connections on, byte by byte, and while it is cut resets those it has and those
// that come.
type forwarder struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu    sync.Mutex
	isCut bool
	conns map[net.Conn]struct{}
	last  time.Time // when the latest connection was carried on
}

// newForwarder listens for connections to a TCP endpoint.
func newForwarder(endpoint string) (*forwarder, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &forwarder{listener: l, target: strings.TrimPrefix(endpoint, "tcp://"), conns: map[net.Conn]struct{}{}}
	f.wg.Go(f.accept)
	return f, nil
}

func (f *forwarder) endpoint() string { return "tcp://" + f.listener.Addr().String() }

func (f *forwarder) accept() {
	for {
		c, err := f.listener.Accept()
		if err != nil {
			return
		}
		if !f.carry(c) {
			reset(c)
		}
	}
}

// carry connects c to the target, if there is a way.
func (f *forwarder) carry(c net.Conn) bool {
	d, err := net.Dial("tcp", f.target)
	if err != nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.isCut {
		reset(d)
		return false
	}
	f.last = time.Now()
	for _, pair := range [][2]net.Conn{{c, d}, {d, c}} {
		f.conns[pair[0]] = struct{}{}
		f.wg.Go(func() {
			_, _ = io.Copy(pair[1], pair[0])
			f.drop(c, d)
		})
	}
	return true
}

// drop ends connections.
func (f *forwarder) drop(conns ...net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range conns {
		reset(c)
		delete(f.conns, c)
	}
}

// reset closes a connection without sending what is left to send.
func reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// cut ends all connections, and those to come as soon as they do.
func (f *forwarder) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.isCut = true
	for c := range f.conns {
		reset(c)
	}
	clear(f.conns)
}

// mend lets connections through again, and returns since when.
func (f *forwarder) mend() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.isCut = false
	return time.Now()
}

// connected is when the latest connection came.
func (f *forwarder) connected() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// close ends everything.
func (f *forwarder) close() error {
	err := f.listener.Close()
	f.cut()
	f.wg.Wait()
	return err
}
