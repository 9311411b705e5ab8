package zsock

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	zmq "github.com/pebbe/zmq4"
)

// Lock is how the sockets of a context know their peers: CURVE on every connection
// that leaves the process, with the keys of ZeroMQ RFC 26 as 40 characters of Z85. A
// socket that binds is CURVE's server for who connects to it, one that connects is a
// client: so a process has one pair of keys, whatever its sockets do.
type Lock struct {
	Public, Secret string
	// ServerKey returns the public key of who is at an endpoint that is connected to;
	// the error says that it is not known.
	ServerKey func(endpoint string) (string, error)
	// Check decides who may connect to a socket that binds. It is called on a goroutine
	// of the context, for one peer after the other, and must return soon. Nil: whoever
	// knows this process's public key.
	Check func(ZAPRequest) ZAPReply
	// Failed is told of connections that came to nothing, by a goroutine of the
	// context; of those that Check has refused only the other end is told. Nil: nobody
	// is.
	Failed func(Failure)

	members
}

// What a socket that binds is for, as SocketConfig.Channel has it.
const (
	ChannelData     = "data"     // the shards of a stream
	ChannelSnapshot = "snapshot" // last values of all topics, and their updates
	ChannelRefill   = "refill"   // records of the past
	ChannelState    = "state"    // how decks, readers and recorders stand
	ChannelChange   = "change"   // changes that clients make to a table that is shared
	ChannelControl  = "control"  // commands
	ChannelWorker   = "worker"   // whoever does work for others
	ChannelPair     = "pair"     // the link between the two of a pair
)

// ErrLock: an endpoint cannot be locked.
var ErrLock = errors.New("zsock: no CURVE at this endpoint")

var defaultLock atomic.Pointer[Lock]

// LockAll makes l the lock of every context that is made from now on; nil, the
// default, is none. It is for the start of a process.
func LockAll(l *Lock) { defaultLock.Store(l) }

// SetLock makes l the lock of the sockets that are opened in this context from now on;
// nil is none.
func (c *Context) SetLock(l *Lock) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lock = l
}

// locked returns the context's lock for an endpoint; nil where it needs none, because
// what goes through it stays in the process.
func (s *Socket) locked(endpoint string) (*Lock, error) {
	if s.context == nil || s.lock == nil || strings.HasPrefix(endpoint, "inproc://") {
		return nil, nil
	}
	scheme, _, _ := strings.Cut(endpoint, "://")
	if scheme != "tcp" && scheme != "ipc" {
		return nil, fmt.Errorf("%w: %s: keys work with tcp and ipc", ErrLock, endpoint)
	}
	return s.lock, nil
}

// lockBind makes the socket CURVE's server for what it binds next.
func (s *Socket) lockBind(endpoint string) error {
	l, err := s.locked(endpoint)
	if err != nil || l == nil {
		return err
	}
	if s.connected {
		return fmt.Errorf("%w: %s: the socket connects elsewhere", ErrLock, endpoint)
	}
	s.bound = true
	domain := s.side().channel
	errs := []error{s.z.SetCurveServer(1), s.z.SetCurveSecretkey(l.Secret), s.lockedMax(), s.quietDeath()}
	if l.Check != nil {
		errs = append(errs, s.context.authenticate(), s.z.SetZapDomain(domain))
	}
	return errors.Join(append(errs, s.watch())...)
}

// lockConnect makes the socket a CURVE client for what it connects to next.
func (s *Socket) lockConnect(endpoint string) error {
	l, err := s.locked(endpoint)
	if err != nil || l == nil {
		return err
	}
	if s.bound {
		return fmt.Errorf("%w: %s: the socket is bound elsewhere", ErrLock, endpoint)
	}
	s.connected = true
	key, err := l.ServerKey(endpoint)
	if err != nil {
		return err
	}
	return errors.Join(s.z.SetCurveServerkey(key), s.z.SetCurvePublickey(l.Public), s.z.SetCurveSecretkey(l.Secret), s.lockedMax(), s.watch())
}

const (
	curveGreetingMax = 1024 // a bound of the commands of CURVE's handshake, metadata included
	curveOverhead    = 64   // a bound of what encryption adds to a message
)

// lockedMax makes room for what CURVE adds to messages, and for its handshake: libzmq
// bounds what comes in before it is decrypted, and commands like messages.
func (s *Socket) lockedMax() error {
	if s.messageMax == 0 {
		return nil
	}
	return s.z.SetMaxmsgsize(max(s.messageMax+curveOverhead, curveGreetingMax))
}

// locking is what a context has for its lock.
type locking struct {
	mu    sync.Mutex
	lock  *Lock
	guard *guard // once a socket has needed it
}

// NewCurvePair returns a new key pair, as libzmq makes it.
func NewCurvePair() (public, secret string, err error) { return zmq.NewCurveKeypair() }
