package pirate

import "time"

// Backoff is how long to wait before the next try: twice as long each time, up to
// a bound, less a random part of up to half, so that many do not come back at
// once.
type Backoff struct {
	First, Most time.Duration
	Random      func() float64 // in [0, 1)
	current     time.Duration
}

// Next returns how long to wait now.
func (b *Backoff) Next() time.Duration {
	if b.current == 0 {
		b.current = b.First
	} else {
		b.current = min(2*b.current, b.Most)
	}
	return b.current - time.Duration(b.Random()*float64(b.current)/2)
}

// Reset makes the next wait the first one again.
func (b *Backoff) Reset() { b.current = 0 }
