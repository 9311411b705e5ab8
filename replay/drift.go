package replay

import (
	"math/big"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// Drift returns the greatest difference between the due moments that pacing at a
// speed gives to records over a span of tape, and the exact ones, computed with
// rational numbers. The records lie at uneven distances of about step. It uses
// no clock: it shows that the schedule itself does not drift, however long.
func Drift(speed Speed, span, step time.Duration) time.Duration {
	p := newPacer(speed)
	const start = wire.Nanos(1_700_000_000_000_000_001)
	p.anchor(start, 0)
	exactSpeed := new(big.Rat).SetFloat64(float64(speed))
	worst := new(big.Rat)
	for at, i := time.Duration(0), time.Duration(0); at < span; at, i = at+step+i%7919, i+1 {
		exact := new(big.Rat).SetInt64(int64(at))
		exact.Quo(exact, exactSpeed)
		diff := new(big.Rat).SetInt64(p.due(start + wire.Nanos(at)))
		if diff.Sub(diff, exact).Abs(diff).Cmp(worst) > 0 {
			worst = diff
		}
	}
	// Rounded up: a drift must not disappear.
	f, _ := worst.Float64()
	return time.Duration(f + 0.999999)
}
