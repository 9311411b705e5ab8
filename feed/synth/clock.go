package synth

import "time"

// clock is the event time of a Poisson process whose rate changes from phase to
// phase.
type clock struct {
	ns       uint64 // since the start
	fraction uint64 // of a nanosecond, in units of 2^-16
	phaseEnd uint64 // ns since the start
	gap      uint64 // mean gap between records in this phase, 2^-16 ns; 0: no records
	phases   [3]phase
}

// phase is one kind of stretch of time.
type phase struct {
	chance uint64 // a random number up to here chooses this phase or one before
	length uint64 // mean, ns
	gap    uint64 // as in clock
}

const (
	gapOne = 16
	// A mean gap of more than 2^58 units, 73 minutes, counts as no records.
	gapMax = 1 << 58
	// calmLength is the mean length of a calm phase.
	calmLength = 100 * time.Millisecond
	// calmForever is the same where there are no other phases.
	calmForever = time.Duration(1 << 58)
)

// newClock plans the phases so that each kind has its share of the time and the
// mean rate over all is the configured one.
func newClock(cfg *Config) clock {
	b, q := cfg.Burst, cfg.Quiet
	calm, length := cfg.calmShare(), calmLength
	if calm == 1 {
		length = calmForever
	}
	rate := cfg.Rate / (calm + b.weight() + q.weight())
	kinds := [3]struct {
		share, rate float64
		length      time.Duration
	}{
		{b.Share, float64(rate * b.Factor), b.Length},
		{q.Share, float64(rate * q.Factor), q.Length},
		{calm, rate, length},
	}
	// A kind's share of the time is its share of the phases times its length.
	sum := 0.0
	for _, k := range kinds {
		if k.share > 0 {
			sum += k.share / float64(k.length)
		}
	}
	var c clock
	chance := 0.0
	for i, k := range kinds {
		if k.share > 0 {
			chance += k.share / float64(k.length) / sum
		}
		c.phases[i] = phase{chance: unit64(chance), length: uint64(k.length), gap: meanGap(k.rate)}
	}
	c.phases[2].chance = 1<<64 - 1
	return c
}

// unit64 maps 0..1 to the uint64 range.
func unit64(x float64) uint64 {
	if x >= 1 {
		return 1<<64 - 1
	}
	return uint64(float64(x * (1 << 64)))
}

func meanGap(rate float64) uint64 {
	if rate <= 0 {
		return 0
	}
	if gap := float64(1e9 / rate * (1 << gapOne)); gap < gapMax {
		return max(uint64(gap+0.5), 1)
	}
	return 0
}

// advance moves to the next record. It draws from rng only when a phase ends, so
// that the common case costs one multiplication. Where no record comes before the
// limit it stops at or after it.
func (c *clock) advance(rng *splitMix, bits12, limit uint64) {
	for c.ns < limit {
		if c.gap != 0 {
			f := c.fraction + exponential(bits12, c.gap)
			if next := c.ns + f>>gapOne; next < c.phaseEnd {
				c.ns, c.fraction = next, f&(1<<gapOne-1)
				return
			}
		}
		// The gap reaches into the next phase. The process has no memory, so it
		// starts anew there with the next phase's rate.
		c.ns, c.fraction = c.phaseEnd, 0
		c.enterPhase(rng)
		bits12 = rng.next()
	}
}

func (c *clock) enterPhase(rng *splitMix) {
	random := rng.next()
	i := 0
	for random > c.phases[i].chance {
		i++
	}
	c.gap = c.phases[i].gap
	c.phaseEnd = c.ns + max(exponential(rng.next(), c.phases[i].length), 1)
}
