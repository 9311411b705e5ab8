package resync

import "time"

// rate is a budget of bytes a second, as a token bucket: what was not used in the
// last moments may be, and what was used beyond is waited for. Time is a duration
// since some start.
type rate struct {
	perSecond int64 // 0: no bound
	tokens    int64
	at        time.Duration
}

// rateBurst is for how long an unused budget is kept.
const rateBurst = 100 * time.Millisecond

func newRate(perSecond int64) rate {
	r := rate{perSecond: perSecond}
	r.tokens = r.burst()
	return r
}

func (r *rate) burst() int64 { return int64(float64(r.perSecond) * rateBurst.Seconds()) }

// wait is how long nothing may be taken; 0: take.
func (r *rate) wait(now time.Duration) time.Duration {
	if r.perSecond == 0 {
		return 0
	}
	// In steps of a millisecond at least, so that rounding loses nothing to speak of.
	if past := now - r.at; past >= time.Millisecond {
		r.tokens = min(r.tokens+int64(float64(r.perSecond)*past.Seconds()), r.burst())
		r.at = now
	}
	if r.tokens > 0 {
		return 0
	}
	return time.Duration(float64(1-r.tokens)/float64(r.perSecond)*float64(time.Second)) + time.Millisecond
}

// take uses n bytes, which may be more than there are. A negative n gives back.
func (r *rate) take(n int) {
	if r.perSecond != 0 {
		r.tokens -= int64(n)
	}
}
