package synth

import "math/bits"

// splitMix is the SplitMix64 generator: Steele, Lea, Flood, "Fast splittable
// pseudorandom number generators", OOPSLA 2014.
type splitMix uint64

func (s *splitMix) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below maps 64 random bits to 0..n-1. The bias is below n in 2^64.
func below(random, n uint64) uint64 {
	hi, _ := bits.Mul64(random, n)
	return hi
}

const (
	quantileBits = 12
	quantileOne  = 28 // fraction bits of a quantile
)

// quantiles are 4096 equally likely values of an exponential distribution with
// mean 1, in units of 2^-28. The largest is below 10.
var quantiles = makeQuantiles()

func makeQuantiles() *[1 << quantileBits]uint64 {
	const n = 1 << quantileBits
	var value [n]float64
	sum := 0.0
	for i := range value {
		value[i] = -exactLn((float64(i) + 0.5) / n)
		sum += value[i]
	}
	var q [n]uint64
	for i, v := range value {
		q[i] = uint64(float64(v/(sum/n)*(1<<quantileOne)) + 0.5)
	}
	return &q
}

// exponential scales a quantile that 12 random bits choose to a mean below 2^60.
func exponential(bits12 uint64, mean uint64) uint64 {
	hi, lo := bits.Mul64(quantiles[bits12&(1<<quantileBits-1)], mean)
	return hi<<(64-quantileOne) | lo>>quantileOne
}
