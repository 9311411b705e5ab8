package synth

import "math"

// The functions of package math may differ between machines in the last bit, and
// the compiler may fuse a multiplication and an addition where the machine has an
// instruction for it. Either would change the stream. So logarithm and
// exponential are written out here, from operations that IEEE 754 rounds in one
// way only, and every product that is added to something is wrapped in a
// conversion, which the Go specification says prevents fusing.

const ln2 = 0.693147180559945309417232121458176568

// exactLn is the natural logarithm of x, which must be above 0.
func exactLn(x float64) float64 {
	m, e := math.Frexp(x) // exact
	if m < math.Sqrt2/2 {
		m, e = 2*m, e-1
	}
	// ln m = 2 artanh s, an odd series that converges fast for |s| < 0.18.
	s := (m - 1) / (m + 1)
	square, sum := float64(s*s), 0.0
	for k := 27; k >= 1; k -= 2 {
		sum = float64(sum*square) + 1/float64(k)
	}
	return float64(float64(e)*ln2) + float64(2*s*sum)
}

// exactExp is e to the power of x.
func exactExp(x float64) float64 {
	k := math.Floor(x/ln2 + 0.5) // exact but for one division
	r := x - float64(k*ln2)
	sum := 1.0
	for i := 20; i >= 1; i-- {
		sum = 1 + float64(r*sum)/float64(i)
	}
	return math.Ldexp(sum, int(k)) // exact
}
