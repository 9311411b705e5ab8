package synth

import (
	"math"
	"testing"
)

// TestExact compares with package math, and pins bits so that a machine that
// rounds otherwise is noticed.
func TestExact(t *testing.T) {
	for _, x := range []float64{1e-300, 1.0 / 8192, 0.3, math.Sqrt2 / 2, 1, 1.0000001, 2, math.E, 10, 259_974, 1e300} {
		if got, want := exactLn(x), math.Log(x); math.Abs(got-want) > 1e-15*math.Max(1, math.Abs(want)) {
			t.Errorf("ln %v is %v, want %v", x, got, want)
		}
	}
	for _, x := range []float64{-125, -10, -1, -0.3, 0, 0.3, 1, 40} {
		if got, want := exactExp(x), math.Exp(x); math.Abs(got-want) > 4e-15*want*math.Max(1, math.Abs(x)) {
			t.Errorf("exp %v is %v, want %v", x, got, want)
		}
	}
	if exactLn(1) != 0 || exactExp(0) != 1 {
		t.Error("ln 1 is not 0, or exp 0 not 1")
	}
	for i, bits := range []uint64{math.Float64bits(exactLn(3)), math.Float64bits(exactExp(-1.1))} {
		if want := []uint64{0x3ff193ea7aad030a, 0x3fd54dc284911bf0}[i]; bits != want {
			t.Errorf("function %d gives bits %#x, want %#x", i, bits, want)
		}
	}
}

// TestSplitMix pins the generator to the first outputs for seed 1234567, which
// its authors' C program gives.
func TestSplitMix(t *testing.T) {
	s := splitMix(1234567)
	for i, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821} {
		if got := s.next(); got != want {
			t.Errorf("output %d is %d, want %d", i, got, want)
		}
	}
}

func TestQuantiles(t *testing.T) {
	sum := 0.0
	for i, q := range quantiles {
		if i > 0 && q >= quantiles[i-1] {
			t.Fatalf("quantile %d does not fall", i)
		}
		if q >= 10<<quantileOne {
			t.Fatalf("quantile %d is %d", i, q)
		}
		sum += float64(q)
	}
	if mean := sum / float64(len(quantiles)) / (1 << quantileOne); math.Abs(mean-1) > 1e-8 {
		t.Errorf("mean is %v", mean)
	}
	// The largest mean must not overflow.
	if got, want := float64(exponential(0, 1<<60-1)), float64(quantiles[0])/(1<<quantileOne)*(1<<60); math.Abs(got/want-1) > 1e-9 {
		t.Errorf("largest: %v, want %v", got, want)
	}
}

// TestPopularityIsComplete: over all slots, each topic has its share.
func TestPopularityIsComplete(t *testing.T) {
	for _, n := range []int{1, 2, 3, 1000} {
		p := newPopularity(n, 1.1)
		got := make([]float64, n)
		for i, s := range p.slots {
			keep := (float64(s.keep) + 1) / (1 << 32)
			got[i] += keep
			got[s.alias] += 1 - keep
		}
		sum := 0.0
		for k := 1; k <= n; k++ {
			sum += math.Pow(float64(k), -1.1)
		}
		for k := range got {
			if want := math.Pow(float64(k+1), -1.1) / sum * float64(n); math.Abs(got[k]-want) > 1e-6*math.Max(1, want) {
				t.Errorf("%d topics: topic %d has %v, want %v", n, k, got[k], want)
			}
		}
	}
}
