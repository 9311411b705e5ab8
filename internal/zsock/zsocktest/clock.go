package zsocktest

import (
	"sync/atomic"
	"time"
)

// Clock is the time of what is tested: it stands still but where the test lets it go on,
// so that nobody is found silent, and no request too old, by accident. The zero value is
// ready; any goroutine may ask it.
type Clock struct {
	at    atomic.Int64
	freed atomic.Pointer[time.Time]
}

// Now is the time that has passed.
func (k *Clock) Now() time.Duration {
	at := time.Duration(k.at.Load())
	if freed := k.freed.Load(); freed != nil {
		at += time.Since(*freed)
	}
	return at
}

// Pass lets time go on, in steps that who asks does not take for a standstill of its own,
// until something has happened.
func (k *Clock) Pass(step time.Duration, cond func() bool) {
	Until(func() bool {
		if cond() {
			return true
		}
		k.at.Add(int64(step))
		return false
	})
}

// Free lets time go on by itself from now on.
func (k *Clock) Free() {
	now := time.Now()
	k.freed.Store(&now)
}
