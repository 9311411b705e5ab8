package replay

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// waiter sleeps until a moment of the monotonic clock. It belongs to one
// goroutine, locked to its thread: the timer slack is the thread's.
type waiter struct {
	base time.Time
	spin int64 // how long before the moment it stops sleeping, ns
}

// spinDefault covers the time that a sleeping thread takes to come back.
const spinDefault = 80_000

// newWaiter returns a waiter and asks the kernel not to delay this thread's
// timers to save power.
func newWaiter(spin time.Duration) *waiter {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return &waiter{base: time.Now(), spin: int64(spin)}
}

// now is the monotonic time, ns since the waiter was made.
func (w *waiter) now() int64 { return int64(time.Since(w.base)) }

// until waits until the moment due, but at most slice, and returns the time.
func (w *waiter) until(due int64, slice time.Duration) int64 {
	now := w.now()
	end := min(due, now+int64(slice))
	for now < end {
		if sleep := end - now - w.spin; sleep > 0 {
			ts := unix.NsecToTimespec(sleep)
			// An interrupted sleep is seen by the clock.
			_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil)
		} else {
			// Let other goroutines have this processor when it is the only one.
			runtime.Gosched()
		}
		now = w.now()
	}
	return now
}
