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
	// User names who it is, as Peer.User has it of its messages. At most 63 bytes.
	User string
	// Reason is told to nobody but this process: a peer learns that it is refused.
	Reason string
}

// zapEndpoint is where libzmq asks, in each context.
const zapEndpoint = "inproc://zeromq.zap.01"

// userMax bounds ZAPReply.User, bytes: what td_from holds.
const userMax = 63

// zap answers libzmq's questions in one context.
type zap struct {
	socket *Socket
	check  func(ZAPRequest) ZAPReply
}

// authenticate has the context's guard answer, where it does not yet.
func (c *Context) authenticate() error {
	g, err := c.guarding()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if g.answers {
		return nil
	}
	s, err := c.newSocket(zmq.REP, SocketConfig{})
	if err != nil {
		return err
	}
	if err := s.z.Bind(zapEndpoint); err != nil {
		return errors.Join(fmt.Errorf("zsock: authentication: %w", err), s.Close())
	}
	g.answers = true
	g.add(&zap{socket: s, check: c.lock.Check})
	return nil
}

// of implements guarded.
func (z *zap) of() *Socket { return z.socket }

// attend implements guarded: it answers what has been asked.
func (z *zap) attend() (goesOn bool) {
	for {
		m, err := z.socket.RecvFrames()
		if err != nil {
			return true
		}
		if err := z.socket.SendFrames(z.answer(m)...); err != nil {
			return true
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
	if !a.Allow || len(a.User) > userMax {
		return reply(m[1], "400", "refused", "")
	}
	return reply(m[1], "200", "OK", a.User)
}
