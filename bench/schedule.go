package bench

import (
	"context"
	"runtime"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// schedule says when each item of an open loop is to be sent, in ns from the
// start. It does not depend on how the system under test is doing.
type schedule func(i uint64) int64

// steady sends at even distances.
func steady(rate float64) schedule {
	return func(i uint64) int64 { return int64(float64(i) * 1e9 / rate) }
}

// bursts sends the same mean rate in bursts of n at one instant.
func bursts(rate float64, n uint64) schedule {
	return func(i uint64) int64 { return int64(float64(i/n*n) * 1e9 / rate) }
}

// openLoop calls emit for each item when it is due, with the wall clock at which
// it was to be sent, and flush whenever the next one is not yet due. It returns
// how late the generator itself was: a report without that hides its own stalls.
func openLoop(ctx context.Context, at schedule, count uint64, emit func(intended int64) error, flush func() error) (*hdrhistogram.Histogram, error) {
	runtime.LockOSThread() // the timer slack is the thread's
	defer runtime.UnlockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	lag := newHistogram()
	start := time.Now()
	wall := start.UnixNano()
	now := int64(0)
	for i := range count {
		due := at(i)
		if due > now {
			if err := flush(); err != nil {
				return lag, err
			}
			if now = waitUntil(start, due); ctx.Err() != nil {
				return lag, context.Cause(ctx)
			}
		}
		_ = lag.RecordValue(min(max(now-due, 1), latencyMax))
		if err := emit(wall + due); err != nil {
			return lag, err
		}
	}
	return lag, flush()
}

// spinBelow is how long before a due moment waiting becomes spinning, ns.
const spinBelow = 80_000

// waitUntil waits until due, ns from start, and returns the time, ns from start.
func waitUntil(start time.Time, due int64) int64 {
	for {
		now := int64(time.Since(start))
		switch left := due - now; {
		case left <= 0:
			return now
		case left > spinBelow:
			ts := unix.NsecToTimespec(left - spinBelow)
			_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil)
		}
	}
}
