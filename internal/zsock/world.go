package zsock

import (
	"math/rand/v2"
	"time"
)

// World is what a Context stands on in a simulation, in place of libzmq, the clock,
// chance and goroutines, so that whoever uses sockets runs there as it is. All of it
// happens on one goroutine: no method is called while another runs.
//
// In a World a Context, its Sockets, Monitors and Waiters do what the rooms majordomo,
// pirate, titanic and resync need: DEALER and ROUTER, without keys, and their calls
// SendMany, RecvMany, SendFrames, Recv, SendParts and RecvParts.
type World interface {
	// Now is the time of a clock that is never set, since any beginning.
	Now() time.Duration
	// Wall is the clock that people see, and may set.
	Wall() time.Time
	// Random is in [0, 1).
	Random() float64
	// Go runs f beside the caller, not before the caller waits.
	Go(f func())
	// Sleep returns when ready reports true, or the timeout has passed (below 0:
	// never). ready is asked whenever something has happened.
	Sleep(timeout time.Duration, ready func() bool)
	// Open opens a socket.
	Open(t Type, cfg SocketConfig) (Port, error)
}

// Port is a socket of a World. Frames are borrowed until Send returns, and the
// caller's after Recv.
type Port interface {
	Bind(endpoint string) (string, error)
	Connect(endpoint string) error
	// Set makes the socket behave in a way that is off by default.
	Set(b Behaviour)
	// Send never waits: ErrAgain, ErrUnreachable.
	Send(frames [][]byte) error
	// Recv never waits: ErrAgain.
	Recv() ([][]byte, error)
	// Readable reports whether Recv has something.
	Readable() bool
	// Monitor returns a port that receives a Change, as one frame of one byte, for
	// each of the socket's connections from now on.
	Monitor() Port
	Close()
}

// Behaviour is how a Port may be asked to behave.
type Behaviour uint8

// The behaviours: see the methods of Socket with these names.
const (
	MustReach Behaviour = iota
	OnlyConnected
	NoticeDeath
	Linger
)

// NewWorldContext returns a context in a World.
func NewWorldContext(w World) *Context { return &Context{world: w} }

// World returns what the context stands on, or nil where it is libzmq.
func (c *Context) World() World { return c.world }

// Clock returns a clock that is never set, and begins now.
func (c *Context) Clock() func() time.Duration {
	if c.world != nil {
		begun := c.world.Now()
		return func() time.Duration { return c.world.Now() - begun }
	}
	begun := time.Now()
	return func() time.Duration { return time.Since(begun) }
}

// Wall is the time as people have it.
func (c *Context) Wall() time.Time {
	if c.world != nil {
		return c.world.Wall()
	}
	return time.Now()
}

// Random is in [0, 1).
func (c *Context) Random() float64 {
	if c.world != nil {
		return c.world.Random()
	}
	return rand.Float64()
}

// Go runs f on a goroutine of its own.
func (c *Context) Go(f func()) {
	if c.world != nil {
		c.world.Go(f)
		return
	}
	go f()
}

// NewWaiter is the function of that name, for sockets of this context, or of none
// yet.
func (c *Context) NewWaiter(sockets ...*Socket) (*Waiter, error) {
	if c.world == nil {
		return NewWaiter(sockets...)
	}
	w := &Waiter{world: c.world, fd: -1}
	w.Watch(sockets...)
	return w, nil
}

// openIn opens a socket in the context's World.
func (c *Context) openIn(t Type, cfg SocketConfig) (*Socket, error) {
	p, err := c.world.Open(t, cfg)
	if err != nil {
		return nil, err
	}
	return &Socket{port: p}, nil
}

// imagined is what a Waiter is in a World.
type imagined struct {
	ports []Port
	muted []bool
}

func (w *Waiter) watchIn(sockets []*Socket) {
	w.imagined = imagined{muted: make([]bool, len(sockets))}
	for _, s := range sockets {
		w.ports = append(w.ports, s.port)
	}
}

func (w *Waiter) readable(i int) bool { return !w.muted[i] && w.ports[i].Readable() }

// waitIn is wait in a World.
func (w *Waiter) waitIn(ready []int, timeout time.Duration, sockets int) []int {
	if timeout > 0 {
		timeout = (timeout + time.Millisecond - 1) / time.Millisecond * time.Millisecond
	}
	w.world.Sleep(timeout, func() bool {
		if w.pending.Load() {
			return true
		}
		for i := range sockets {
			if w.readable(i) {
				return true
			}
		}
		return false
	})
	if w.pending.Swap(false) {
		w.taken++
	}
	for i := range sockets {
		if w.readable(i) {
			ready = append(ready, i)
		}
	}
	return ready
}

// sendManyIn is SendMany in a World.
func (s *Socket) sendManyIn(o *Outbox) (sent int, err error) {
	for o.ends > 0 {
		if err := s.port.Send(o.front()); err != nil {
			return sent, err
		}
		o.Drop()
		sent++
	}
	return sent, nil
}

// front returns the frames of the first message, borrowed from o.
func (o *Outbox) front() [][]byte {
	var frames [][]byte
	at := 0
	for _, size := range o.sizes {
		n := int(size &^ more)
		frames = append(frames, o.data[at:at+n:at+n])
		at += n
		if size&more == 0 {
			break
		}
	}
	return frames
}

// after returns lead, and the frames from one on, of what came in a World.
func (p *Parts) after(from int, lead [][]byte) [][]byte {
	frames := append([][]byte{}, lead...)
	if p != nil {
		for i := from; i < p.Len(); i++ {
			frames = append(frames, p.Frame(i))
		}
	}
	return frames
}

// recvManyIn is RecvMany in a World.
func (s *Socket) recvManyIn(in *Inbox, messages, bytes int) error {
	in.imagined, in.frame = nil, 0
	size := 0
	for len(in.imagined) < messages && (len(in.imagined) == 0 || size < bytes) {
		frames, err := s.port.Recv()
		if err != nil {
			if len(in.imagined) > 0 {
				return nil
			}
			return err
		}
		for _, f := range frames {
			size += len(f)
		}
		in.imagined = append(in.imagined, frames)
	}
	return nil
}

// nextIn is Next of what came in a World.
func (in *Inbox) nextIn() [][]byte {
	if in.frame == len(in.imagined) {
		return nil
	}
	in.frame++
	return in.imagined[in.frame-1]
}
