package zsock

import (
	"errors"
	"fmt"

	zmq "github.com/pebbe/zmq4"
)

// ZAPRequest is a peer that wants to connect, as ZeroMQ RFC 27 (ZAP 1.0) tells of it.
type ZAPRequest struct {
	Channel   string // of the socket that it connects to: SocketConfig.Channel
	Address   string // an IP address; of ipc what libzmq says
	Mechanism string // CURVE, or what the peer wanted instead
	Key       []byte // with CURVE the public key, 32 bytes
}

// ZAPReply is whether a peer may connect.
type ZAPReply struct {
	Allow bool
	// User names who it is: what UserOf gives of its messages. At most 255 bytes.
	User string
	// Reason is told to nobody but this process: a peer learns that it is refused.
	Reason string
}

// zapEndpoint is where libzmq asks, in each context.
const zapEndpoint = "inproc://zeromq.zap.01"

// zap answers libzmq's questions in one context.
type zap struct {
	socket *Socket
	waiter *Waiter
	check  func(ZAPRequest) ZAPReply
	stop   chan struct{}
	ended  chan struct{}
}

// authenticate starts to answer, where nobody does yet.
func (c *Context) authenticate() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.zap != nil {
		return nil
	}
	s, err := c.newSocket(zmq.REP, SocketConfig{})
	if err != nil {
		return err
	}
	z := &zap{socket: s, check: c.lock.Check, stop: make(chan struct{}), ended: make(chan struct{})}
	if err := s.z.Bind(zapEndpoint); err != nil {
		return errors.Join(fmt.Errorf("zsock: authentication: %w", err), s.Close())
	}
	if z.waiter, err = NewWaiter(s); err != nil {
		return errors.Join(err, s.Close())
	}
	c.zap = z
	go z.run()
	return nil
}

// run answers until close. It owns the socket.
func (z *zap) run() {
	defer close(z.ended)
	for {
		select {
		case <-z.stop:
			return
		default:
		}
		if _, err := z.waiter.Wait(nil, Forever); err != nil {
			return // the context has ended
		}
		for {
			m, err := z.socket.RecvFrames()
			if err != nil {
				break
			}
			if err := z.socket.SendFrames(z.answer(m)...); err != nil {
				break
			}
		}
	}
}

// answer answers one request:
//
//	[version][request id][domain][address][identity][mechanism][credentials ...]
//	[version][request id][status code][status text][user id][metadata]
func (z *zap) answer(m [][]byte) [][]byte {
	version := []byte("1.0")
	reply := func(id []byte, code, text, user string) [][]byte {
		return [][]byte{version, id, []byte(code), []byte(text), []byte(user), nil}
	}
	if len(m) < 6 || string(m[0]) != "1.0" {
		return reply(nil, "500", "malformed", "")
	}
	q := ZAPRequest{Channel: string(m[2]), Address: string(m[3]), Mechanism: string(m[5])}
	if q.Mechanism == "CURVE" && len(m) == 7 {
		q.Key = m[6]
	}
	a := z.check(q)
	if !a.Allow || len(a.User) > 255 {
		return reply(m[1], "400", "refused", "")
	}
	return reply(m[1], "200", "OK", a.User)
}

func (z *zap) close() error {
	close(z.stop)
	z.waiter.Wake()
	<-z.ended
	return errors.Join(z.waiter.Close(), z.socket.Close())
}
