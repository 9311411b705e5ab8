package replay

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// waiter sleeps until a moment of the monotonic clock, or until it is woken. It
// belongs to one goroutine, locked to its thread: the timer slack is the thread's.
// Only wake may be called by others.
type waiter struct {
	base time.Time
	spin int64 // how long before the moment it stops sleeping, ns
	bell []unix.PollFd
}

const (
	// spinDefault covers the time that a sleeping thread takes to come back.
	spinDefault = 80_000
	// deafFor is how long before the moment the waiter stops listening for wake,
	// ns: the kernel lets a wait for an event end late by a thousandth of its
	// length, a plain sleep by the timer slack.
	deafFor = int64(time.Millisecond)
)

// newWaiter returns a waiter and asks the kernel not to delay this thread's
// timers to save power.
func newWaiter(spin time.Duration) (*waiter, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("replay: event to wake the player by: %w", err)
	}
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return &waiter{base: time.Now(), spin: int64(spin), bell: []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}}, nil
}

// now is the monotonic time, ns since the waiter was made.
func (w *waiter) now() int64 { return int64(time.Since(w.base)) }

// until waits until the moment due, but at most slice, and returns the time. Once
// woken, it returns before, until rest is called.
func (w *waiter) until(due int64, slice time.Duration) int64 {
	now := w.now()
	end := min(due, now+int64(slice))
	for now < end {
		sleep := end - now - w.spin
		switch {
		case sleep > deafFor:
			if w.listen(sleep - deafFor) {
				return w.now()
			}
		case sleep > 0:
			ts := unix.NsecToTimespec(sleep)
			// An interrupted sleep is seen by the clock.
			_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil)
		default:
			// Let other goroutines have this processor when it is the only one.
			runtime.Gosched()
		}
		now = w.now()
	}
	return now
}

// listen sleeps and reports whether it was woken.
func (w *waiter) listen(sleep int64) bool {
	ts := unix.NsecToTimespec(sleep)
	bell := [1]unix.PollFd{w.bell[0]} // lanes listen to the same bell
	n, err := unix.Ppoll(bell[:], &ts, nil)
	return err == nil && n > 0
}

// wake ends a wait, also one that begins later, until rest is called.
func (w *waiter) wake() {
	// An eventfd takes a write unless its counter is full: then it is awake.
	_, _ = unix.Write(int(w.bell[0].Fd), binary.NativeEndian.AppendUint64(nil, 1))
}

// rest makes the waiter wait again.
func (w *waiter) rest() {
	var count [8]byte
	_, _ = unix.Read(int(w.bell[0].Fd), count[:]) // there may be nothing to read
}

func (w *waiter) close() { _ = unix.Close(int(w.bell[0].Fd)) }
