package zsock

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"time"
	"unsafe"

	zmq "github.com/pebbe/zmq4"
	"golang.org/x/sys/unix"
)

// Type is a socket type.
type Type = zmq.Type

// The socket types that the project uses.
const (
	PUB    = zmq.PUB
	SUB    = zmq.SUB
	XPUB   = zmq.XPUB
	XSUB   = zmq.XSUB
	DEALER = zmq.DEALER
	ROUTER = zmq.ROUTER
	PUSH   = zmq.PUSH
	PULL   = zmq.PULL
)

// NoCPU asks for no pinning.
const NoCPU = -1

// Context owns one I/O thread and the sockets opened in it.
type Context struct {
	ctx   *zmq.Context
	world World // nil: libzmq
	locking
}

// NewContext makes a context whose one I/O thread runs on the given CPU, or
// anywhere with NoCPU. The CPU must be one that this process may use: a
// forbidden one is refused here, where libzmq's own affinity option would abort
// the process.
func NewContext(ioCPU int) (*Context, error) {
	ctx, err := zmq.NewContext()
	if err != nil {
		return nil, fmt.Errorf("zsock: new context: %w", err)
	}
	c := &Context{ctx: ctx}
	c.lock = defaultLock.Load()
	// Closing must never hang on a peer that is away; sockets that want to
	// linger say so themselves.
	if err := errors.Join(ctx.SetBlocky(false), ctx.SetIoThreads(1), c.start(ioCPU)); err != nil {
		_ = ctx.Term()
		return nil, fmt.Errorf("zsock: new context: %w", err)
	}
	return c, nil
}

// start makes libzmq start its threads. They inherit the affinity of the thread
// that opens the context's first socket, so that thread is moved for a moment.
func (c *Context) start(ioCPU int) error {
	if ioCPU != NoCPU {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		restore, err := pin(ioCPU)
		if err != nil {
			return err
		}
		defer restore()
	}
	s, err := c.ctx.NewSocket(zmq.PAIR)
	if err != nil {
		return err
	}
	return s.Close()
}

// Close ends the context. Every socket of it must be closed before; it waits
// for their linger times.
func (c *Context) Close() error {
	if c.world != nil {
		return nil
	}
	if c.guard != nil {
		if err := c.guard.close(); err != nil {
			return fmt.Errorf("zsock: close context: %w", err)
		}
		c.guard = nil
	}
	if err := c.ctx.Term(); err != nil {
		return fmt.Errorf("zsock: close context: %w", err)
	}
	return nil
}

// PinThread locks the calling goroutine to its thread and moves the thread to
// the given CPU; with NoCPU it only locks. The returned function undoes both
// and must be called by the same goroutine.
func PinThread(cpu int) (unpin func(), err error) {
	runtime.LockOSThread()
	if cpu == NoCPU {
		return runtime.UnlockOSThread, nil
	}
	restore, err := pin(cpu)
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	return func() {
		restore()
		runtime.UnlockOSThread()
	}, nil
}

func pin(cpu int) (restore func(), err error) {
	var old, want unix.CPUSet
	if err := unix.SchedGetaffinity(0, &old); err != nil {
		return nil, fmt.Errorf("zsock: read the thread's CPU set: %w", err)
	}
	if !old.IsSet(cpu) {
		return nil, fmt.Errorf("zsock: CPU %d is not in the set that this process may use", cpu)
	}
	want.Set(cpu)
	if err := unix.SchedSetaffinity(0, &want); err != nil {
		return nil, fmt.Errorf("zsock: pin to CPU %d: %w", cpu, err)
	}
	return func() { _ = unix.SchedSetaffinity(0, &old) }, nil
}

// Version returns the version of the libzmq in use, such as "4.3.4".
func Version() string {
	major, minor, patch := zmq.Version()
	return fmt.Sprintf("%d.%d.%d", major, minor, patch)
}

// Has reports whether this libzmq was built with a feature: "ipc", "pgm",
// "norm", "curve" or "gssapi".
func Has(feature string) bool {
	switch feature {
	case "ipc":
		return zmq.HasIpc()
	case "pgm":
		return zmq.HasPgm()
	case "norm":
		return zmq.HasNorm()
	case "curve":
		return zmq.HasCurve()
	case "gssapi":
		return zmq.HasGssapi()
	}
	return false
}

// handle takes the raw libzmq socket out of zmq4's Socket: its first field.
// checkLayout holds that it still is.
func handle(s *zmq.Socket) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(s)) }

// checkLayout reports whether zmq4's Socket is laid out as handle needs it.
func checkLayout() error {
	f := reflect.TypeFor[zmq.Socket]().Field(0)
	if f.Name != "soc" || f.Offset != 0 || f.Type != reflect.TypeFor[unsafe.Pointer]() {
		return fmt.Errorf("zsock: github.com/pebbe/zmq4 changed the layout of Socket: first field is %s %s", f.Name, f.Type)
	}
	return nil
}

// init refuses to run with a binding whose Socket is laid out otherwise: the
// raw handle would be garbage.
func init() {
	if err := checkLayout(); err != nil {
		panic("BUG: " + err.Error())
	}
}

// Forever is a timeout that never passes.
const Forever = time.Duration(-1)
