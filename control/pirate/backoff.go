package pirate

import "time"

// backoff is how long to wait before the next try: twice as long each time, up to
// a bound, less a random part of up to half, so that many do not come back at
// once.
type backoff struct {
	first, most time.Duration
	random      func() float64 // in [0, 1)
	current     time.Duration
}

func (b *backoff) next() time.Duration {
	if b.current == 0 {
		b.current = b.first
	} else {
		b.current = min(2*b.current, b.most)
	}
	return b.current - time.Duration(b.random()*float64(b.current)/2)
}

func (b *backoff) reset() { b.current = 0 }
