package columns

import (
	"math"
	"math/bits"
)

// countLog is n * log2(n) for every count that a sample can have.
var countLog = func() (t [sampleMax + 1]float32) {
	for n := 2; n < len(t); n++ {
		t[n] = float32(float64(n) * math.Log2(float64(n)))
	}
	return t
}()

// classBits estimates what one number of d takes, divided by scale: the entropy
// of the sizes in bits, and the bits below the leading one, which no coder makes
// less of where values are spread evenly. d has at most sampleMax numbers. Where
// the result is clearly above limit it may be any number above it.
func classBits(d []int64, scale uint64, limit float32) float32 {
	var counts [65]uint8
	below := 0
	for i, x := range d {
		if scale != 1 && x != 0 {
			x = divide(x, scale)
		}
		n := bits.Len64(zigzag(x))
		counts[n]++
		below += max(n-1, 0)
		if i == probe && float32(below) > probe*probeSlack*limit {
			return limit + 1
		}
	}
	// What the sizes take is not below 0.
	if float32(below) > limit*float32(len(d)) {
		return limit + 1
	}
	sum := countLog[len(d)]
	for _, n := range counts {
		sum -= countLog[n]
	}
	return (sum + float32(below)) / float32(len(d))
}

// byteBits estimates what one byte takes whose values have these counts.
func byteBits(counts *[256]uint8, total int) float32 {
	sum, distinct := countLog[total], 0
	for _, n := range counts {
		if n != 0 {
			sum -= countLog[n]
			distinct++
		}
	}
	// A small sample makes entropy look smaller than it is (Miller and Madow).
	return (sum + float32(distinct-1)*(0.5*math.Log2E)) / float32(total)
}
