package zsock

/*
#include <errno.h>
#include <stdlib.h>
#include <zmq.h>

static int td_wait(zmq_pollitem_t *items, int n, long timeout)
{
	// EINTR, which Go's signals cause, is as good as a timeout that passed early:
	// callers look at their clock anyway.
	int rc = zmq_poll(items, n, timeout);
	return rc < 0 ? errno : 0;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Waiter waits for several sockets of one goroutine, of any contexts, and for
// other goroutines to wake it. Its resolution is a millisecond.
type Waiter struct {
	items   []C.zmq_pollitem_t // in C memory; the sockets, then the eventfd
	sockets int
	pending atomic.Bool // a wake-up was written and not yet taken
	taken   int         // wake-ups that a wait has taken

	mu sync.Mutex // guards fd against Wake after Close
	fd int        // eventfd; -1: closed

	world World // nil: libzmq's sockets
	imagined
}

// NewWaiter returns a Waiter for the given sockets. It must be closed, after it
// has waited for the last time.
func NewWaiter(sockets ...*Socket) (*Waiter, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("zsock: new waiter: %w", err)
	}
	w := &Waiter{fd: fd}
	w.Watch(sockets...)
	return w, nil
}

// Watch makes the Waiter wait for these sockets instead of those before, never
// while Wait runs.
func (w *Waiter) Watch(sockets ...*Socket) {
	w.sockets = len(sockets)
	if w.world != nil {
		w.watchIn(sockets)
		return
	}
	n := len(sockets) + 1
	C.free(unsafe.Pointer(unsafe.SliceData(w.items)))
	mem := (*C.zmq_pollitem_t)(C.calloc(C.size_t(n), C.sizeof_zmq_pollitem_t))
	w.items = unsafe.Slice(mem, n)
	for i, s := range sockets {
		w.items[i].socket = s.raw
		w.items[i].events = C.ZMQ_POLLIN
	}
	w.items[n-1].fd = C.int(w.fd)
	w.items[n-1].events = C.ZMQ_POLLIN
}

// Mute makes Wait overlook the socket of this index, or heed it again, never while
// Wait runs. For a socket whose messages are to wait.
func (w *Waiter) Mute(i int, mute bool) {
	if w.world != nil {
		w.muted[i] = mute
		return
	}
	w.items[i].events, w.items[i].revents = C.ZMQ_POLLIN, 0
	if mute {
		w.items[i].events = 0
	}
}

// Wake ends the Wait that runs, or the next one. Any goroutine may call it, also
// after Close. It does not block, and costs a system call only when nobody has
// called it since the last Wait.
func (w *Waiter) Wake() {
	if w.pending.Swap(true) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fd >= 0 {
		one := [8]byte{1}
		_, _ = unix.Write(w.fd, one[:]) // it can only fail where a wake-up is there already
	}
}

// Wait appends to ready the indices of the sockets that can be read, waiting at
// most timeout (below 0: for ever) for the first one or for Wake. It may return
// early with nothing: after Wake, and when a signal came.
func (w *Waiter) Wait(ready []int, timeout time.Duration) ([]int, error) {
	return w.wait(ready, timeout, w.sockets)
}

// WaitWoken waits as Wait does, but for Wake alone.
func (w *Waiter) WaitWoken(timeout time.Duration) error {
	_, err := w.wait(nil, timeout, 0)
	return err
}

func (w *Waiter) wait(ready []int, timeout time.Duration, sockets int) ([]int, error) {
	if w.world != nil {
		return w.waitIn(ready, timeout, sockets), nil
	}
	ms := C.long(-1)
	if timeout >= 0 {
		// Rounded up: a wait of half a millisecond must not become a busy loop.
		ms = C.long((timeout + time.Millisecond - 1) / time.Millisecond)
	}
	items := w.items[w.sockets-sockets:] // all, or the last: the eventfd
	rc := C.td_wait(unsafe.SliceData(items), C.int(len(items)), ms)
	if rc != 0 && syscall.Errno(rc) != syscall.EINTR {
		return ready, errnoError(int(rc))
	}
	if rc != 0 {
		return ready, nil
	}
	if w.items[w.sockets].revents != 0 {
		var count [8]byte
		_, _ = unix.Read(w.fd, count[:])
		// Only after the read: a wake-up that comes between the two is one that
		// the caller's next look at its work takes care of.
		w.pending.Store(false)
		w.taken++
	}
	for i := range sockets {
		if w.items[i].revents != 0 {
			ready = append(ready, i)
		}
	}
	return ready, nil
}

// Close ends the Waiter, never while Wait runs. The sockets stay open.
func (w *Waiter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.world != nil {
		return nil
	}
	if w.fd < 0 {
		return errors.New("zsock: waiter is closed")
	}
	err := unix.Close(w.fd)
	w.fd = -1
	C.free(unsafe.Pointer(unsafe.SliceData(w.items)))
	w.items = nil
	return err
}
