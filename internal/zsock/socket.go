package zsock

/*
#cgo pkg-config: libzmq
#cgo CFLAGS: -O2 -Wall
#cgo noescape td_send
#cgo nocallback td_send
#cgo noescape td_recv
#cgo nocallback td_recv
#cgo noescape td_message_close
#cgo nocallback td_message_close
#include <zmq.h>
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"
	"unsafe"

	zmq "github.com/pebbe/zmq4"
)

// Errors that the hot calls give.
var (
	// ErrAgain: nothing to receive, or the queue is full, within the timeout.
	ErrAgain = errors.New("zsock: would block")
	// ErrClosed: the socket's context is being closed.
	ErrClosed = errors.New("zsock: context is closed")
)

// SocketConfig are the options of a socket. The zero value of a field leaves
// libzmq's default, except where the comment says otherwise.
type SocketConfig struct {
	SendQueue    int           // high-water mark, messages; 0: libzmq's 1000; <0: unlimited
	ReceiveQueue int           // high-water mark, messages; 0: libzmq's 1000; <0: unlimited; of what strangers send there is none, see Bind
	SendBuffer   int           // kernel send buffer, bytes
	RecvBuffer   int           // kernel receive buffer, bytes
	SendTimeout  time.Duration // 0: do not wait; Forever waits
	RecvTimeout  time.Duration // 0: do not wait; Forever waits
	Linger       time.Duration // how long Close lets unsent messages go out; 0: not at all
	MessageMax   int64         // largest message accepted from a peer, bytes; 0: unlimited

	NoDrop  bool // XPUB: a full queue of one peer makes Send wait, instead of dropping for it
	Verbose bool // XPUB: report every subscription, not only the first to a topic

	MulticastRate int64 // pgm and epgm: bits a second; 0: libzmq's 100,000

	// ManualLastValue, of an XPUB: a subscription waits for AcceptSubscription,
	// and the first message sent after a receive is for that peer alone.
	ManualLastValue bool

	// Identity is what ROUTERs that this socket connects to, or that connect to it,
	// know it by: 1 to 255 bytes, not beginning with a zero. Default: one of their own.
	Identity string

	// Channel says what the socket is for to whoever checks who connects to it; see
	// Lock. Default: ChannelData.
	Channel string
}

// Socket is one ZeroMQ socket. It belongs to one goroutine.
type Socket struct {
	z    *zmq.Socket
	raw  unsafe.Pointer
	typ  Type
	port Port // in a World; nil: libzmq's

	context          *Context // nil: of this process alone
	lock             *Lock    // nil: none
	channel          string
	bound, connected bool  // by endpoints that are locked
	watched          bool  // by a monitor
	messageMax       int64 // of its configuration

	deathInterval, deathTimeout time.Duration // of NoticeDeath; 0: none
}

// NewSocket opens a socket, with the context's lock.
func (c *Context) NewSocket(t Type, cfg SocketConfig) (*Socket, error) {
	if c.world != nil {
		return c.openIn(t, cfg)
	}
	s, err := c.newSocket(t, cfg)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	s.context, s.lock, s.channel = c, c.lock, cfg.Channel
	c.mu.Unlock()
	return s, nil
}

// newSocket opens a socket without a lock.
func (c *Context) newSocket(t Type, cfg SocketConfig) (*Socket, error) {
	z, err := c.ctx.NewSocket(t)
	if err != nil {
		return nil, fmt.Errorf("zsock: new %v socket: %w", t, err)
	}
	s := &Socket{z: z, raw: handle(z), typ: t}
	if err := s.configure(cfg); err != nil {
		_ = z.Close()
		return nil, fmt.Errorf("zsock: configure %v socket: %w", t, err)
	}
	return s, nil
}

func (s *Socket) configure(cfg SocketConfig) error {
	errs := []error{
		s.z.SetLinger(cfg.Linger),
		s.z.SetSndtimeo(cfg.SendTimeout),
		s.z.SetRcvtimeo(cfg.RecvTimeout),
	}
	set := func(v int, f func(int) error) {
		if v != 0 {
			errs = append(errs, f(max(v, 0)))
		}
	}
	set(cfg.SendQueue, s.z.SetSndhwm)
	set(cfg.ReceiveQueue, s.z.SetRcvhwm)
	set(cfg.SendBuffer, s.z.SetSndbuf)
	set(cfg.RecvBuffer, s.z.SetRcvbuf)
	if s.messageMax = cfg.MessageMax; cfg.MessageMax != 0 {
		errs = append(errs, s.z.SetMaxmsgsize(cfg.MessageMax))
	}
	if cfg.NoDrop {
		errs = append(errs, s.z.SetXpubNodrop(true))
	}
	if cfg.Verbose {
		errs = append(errs, s.z.SetXpubVerbose(1))
	}
	if cfg.MulticastRate != 0 {
		errs = append(errs, s.z.SetRate(int(max(cfg.MulticastRate/1000, 1))))
	}
	if cfg.Identity != "" {
		errs = append(errs, s.z.SetIdentity(cfg.Identity))
	}
	if cfg.ManualLastValue {
		errs = append(errs, s.manualLastValue())
	}
	return errors.Join(errs...)
}

// Bind binds the socket and returns the endpoint it is bound to, with a
// wildcard port resolved. What comes over tcp and ipc waits without a bound of its
// number then.
func (s *Socket) Bind(endpoint string) (string, error) {
	if s.port != nil {
		return s.port.Bind(endpoint)
	}
	if err := errors.Join(s.lockBind(endpoint), s.openQueue(endpoint)); err != nil {
		return "", fmt.Errorf("bind %s: %w", endpoint, err)
	}
	if err := s.z.Bind(endpoint); err != nil {
		return "", fmt.Errorf("bind %s: %w", endpoint, systemError(err))
	}
	return s.z.GetLastEndpoint()
}

// openQueue lets what strangers send wait without a bound. Where a queue has one,
// libzmq 4.3.4 stops reading a connection when it is full; if the peer has sent a PING
// behind that and then resets the connection, libzmq aborts the process as it reads on
// (libzmq issue 4364). So what strangers may send is bounded in size by MessageMax
// alone, and whoever reads the socket has to be faster than they are.
func (s *Socket) openQueue(endpoint string) error {
	if strings.HasPrefix(endpoint, "inproc://") || s.typ == PULL && s.channel == "" {
		return nil // the other end is no stranger; of PULL, where nobody checks who connects
	}
	return s.z.SetRcvhwm(0)
}

// systemError makes an error of the system one that errors.Is knows, such as
// syscall.EADDRINUSE: the binding has numbers of its own for all of them. libzmq's
// begin above the system's.
func systemError(err error) error {
	var errno zmq.Errno
	if errors.As(err, &errno) && errno < C.ZMQ_HAUSNUMERO {
		return syscall.Errno(errno)
	}
	return err
}

// Connect starts connecting; it does not wait for the peer.
func (s *Socket) Connect(endpoint string) error {
	if s.port != nil {
		return s.port.Connect(endpoint)
	}
	if err := s.lockConnect(endpoint); err != nil {
		return fmt.Errorf("connect %s: %w", endpoint, err)
	}
	if err := s.z.Connect(endpoint); err != nil {
		return fmt.Errorf("connect %s: %w", endpoint, err)
	}
	return nil
}

// Subscribe adds a prefix to a SUB socket's filter.
func (s *Socket) Subscribe(prefix string) error { return s.z.SetSubscribe(prefix) }

// Unsubscribe takes a prefix out of a SUB socket's filter.
func (s *Socket) Unsubscribe(prefix string) error { return s.z.SetUnsubscribe(prefix) }

// SetLinger sets how long Close lets unsent messages go out.
func (s *Socket) SetLinger(d time.Duration) error {
	if s.port != nil {
		s.port.Set(Linger)
		return nil
	}
	return s.z.SetLinger(d)
}

// Close closes the socket.
func (s *Socket) Close() error {
	if s.port != nil {
		s.port.Close()
		return nil
	}
	return errors.Join(s.unwatch(), s.z.Close())
}

// SendFrames sends one message of copied frames. It waits for the configured
// send timeout and then returns ErrAgain.
func (s *Socket) SendFrames(frames ...[]byte) error {
	if s.port != nil {
		return s.port.Send(frames)
	}
	for i, f := range frames {
		flag := zmq.Flag(0)
		if i < len(frames)-1 {
			flag = zmq.SNDMORE
		}
		if _, err := s.z.SendBytes(f, flag); err != nil {
			return wrap(err)
		}
	}
	return nil
}

// RecvFrames receives one message as copied frames. It waits for the configured
// receive timeout and then returns ErrAgain. Messages of peers that Lock.Expel has
// expelled are dropped.
func (s *Socket) RecvFrames() ([][]byte, error) {
	if !s.guarded() {
		frames, err := s.z.RecvMessageBytes(0)
		return frames, wrap(err)
	}
	for {
		frames, from, err := s.recvFramesFrom()
		if err != nil || s.attend(func() Peer { return from }) {
			return frames, wrap(err)
		}
	}
}

// recvFramesFrom receives one message, and where it came from: the last frame says that.
// A ROUTER puts the identity before what has come, which does not always.
func (s *Socket) recvFramesFrom() (frames [][]byte, from Peer, err error) {
	for more := true; more; {
		frame, properties, err := s.z.RecvBytesWithMetadata(0, propertyAddress, propertyFD, propertyUser)
		if err != nil {
			return nil, from, err
		}
		frames, from = append(frames, frame), peerFrom(properties)
		if more, err = s.z.GetRcvmore(); err != nil {
			return nil, from, err
		}
	}
	return frames, from, nil
}

// TryRecvFrame receives one frame without waiting, copied, or returns ErrAgain.
func (s *Socket) TryRecvFrame() ([]byte, error) {
	b, err := s.z.RecvBytes(zmq.DONTWAIT)
	return b, wrap(err)
}

func wrap(err error) error {
	var errno zmq.Errno
	if err == nil || !errors.As(err, &errno) {
		return err
	}
	return errnoError(int(errno))
}

func errnoError(errno int) error {
	switch syscall.Errno(errno) {
	case 0:
		return nil
	case syscall.EAGAIN:
		return ErrAgain
	}
	if zmq.Errno(errno) == zmq.ETERM {
		return ErrClosed
	}
	return fmt.Errorf("zsock: %w", zmq.Errno(errno))
}

// SendBatch sends [header][payload], or [header][payload][order] where order is
// not empty. It waits for the configured send timeout and then returns ErrAgain;
// on any error nothing is held.
//
// header is copied. With a token, payload and order are not copied: they must
// not be in the Go heap, and must stay unchanged until token.Busy reports false.
// With a nil token they are copied too.
func (s *Socket) SendBatch(header, payload, order []byte, token *Token) error {
	var t *C.int32_t
	if token != nil {
		t = token.c
	}
	rc := C.td_send(s.raw, unsafe.Pointer(unsafe.SliceData(header)), C.size_t(len(header)),
		unsafe.Pointer(unsafe.SliceData(payload)), C.size_t(len(payload)),
		unsafe.Pointer(unsafe.SliceData(order)), C.size_t(len(order)), t, 0)
	if rc == 0 {
		return nil
	}
	return errnoError(int(rc))
}

// TrySend sends [header][payload], both copied, without waiting, or returns
// ErrAgain.
func (s *Socket) TrySend(header, payload []byte) error {
	return errnoError(int(C.td_send(s.raw, unsafe.Pointer(unsafe.SliceData(header)), C.size_t(len(header)),
		unsafe.Pointer(unsafe.SliceData(payload)), C.size_t(len(payload)), nil, 0, nil, C.ZMQ_DONTWAIT)))
}

// Message is a received message. Its frames lie where libzmq received them.
// It must be closed.
type Message struct {
	c        *C.td_message
	imagined [][]byte // in a World
}

// Recv closes what m held and receives the next message into it. It waits for
// the configured receive timeout and then returns ErrAgain.
func (s *Socket) Recv(m *Message) (err error) {
	if s.port != nil {
		m.imagined, err = s.port.Recv()
		return err
	}
	if rc := C.td_recv(s.raw, m.c, 0); rc != 0 {
		return errnoError(int(rc))
	}
	return nil
}

// Frames is how many frames the message has; at most FramesMax of them can be
// read.
func (m *Message) Frames() int {
	if m.imagined != nil {
		return len(m.imagined)
	}
	return int(m.c.total)
}

// FramesMax is how many frames of a message are kept.
const FramesMax = C.TD_FRAMES_MAX

// Frame returns frame i, borrowed until m is received into again or closed.
// Frames that the message does not have are nil.
func (m *Message) Frame(i int) []byte {
	if i >= int(m.c.kept) {
		if i < len(m.imagined) {
			return m.imagined[i]
		}
		return nil
	}
	return unsafe.Slice((*byte)(m.c.data[i]), int(m.c.size[i]))
}
