package latency

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// TestIsHDR: counts lie where the HDR histogram of the library has them, over the
// whole range, so every percentile of the two is the same.
func TestIsHDR(t *testing.T) {
	var h Histogram
	want := hdrhistogram.New(1, Max, digits)
	record := func(ns int64, n int64) {
		h.RecordN(ns, uint64(n))
		if err := want.RecordValues(min(max(ns, 0), Max), n); err != nil {
			t.Fatal(err)
		}
	}
	for shift := range 63 {
		for _, near := range []int64{-1, 0, 1} {
			record(int64(1)<<shift+near, int64(shift)+1)
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		record(int64(math.Exp(rnd.Float64()*30)), 1)
	}
	for _, ns := range []int64{math.MinInt64, -1, 0, 1, 2047, 2048, 2049, Max - 1, Max, Max + 1, math.MaxInt64} {
		record(ns, 3)
	}
	if !h.HDR().Equals(want) {
		t.Error("the histogram differs from the library's")
	}
	if got := Merge(&h, &h); got.TotalCount() != 2*want.TotalCount() || got.ValueAtQuantile(99) != want.ValueAtQuantile(99) {
		t.Errorf("two of them have %d values, p99 %d; want %d, %d", got.TotalCount(), got.ValueAtQuantile(99), 2*want.TotalCount(), want.ValueAtQuantile(99))
	}
}

// TestSpan: every place holds the durations that are counted at it, and no other
// place does.
func TestSpan(t *testing.T) {
	next := int64(0)
	for i := range size {
		least, greatest := span(i)
		if least != next || greatest < least {
			t.Fatalf("place %d has [%d, %d], want it to begin at %d", i, least, greatest, next)
		}
		next = greatest + 1
		if least <= Max && index(least) != i || greatest <= Max && index(greatest) != i {
			t.Fatalf("place %d has [%d, %d], and they are counted at %d and %d", i, least, greatest, index(least), index(greatest))
		}
	}
	if next <= Max {
		t.Errorf("the places end at %d, before an hour", next)
	}
}

// TestCounts: counts by bound agree with counting one by one, but for what lies a
// thousandth below a bound.
func TestCounts(t *testing.T) {
	bounds := []int64{1, 1000, 2000, 1_000_000, int64(time.Second), int64(time.Minute)}
	values := []int64{0, 1, 2, 999, 1000, 1001, 1999, 2000, 500_000, 900_000, 1_100_000, int64(time.Second) * 2, int64(time.Minute) * 2}
	var h Histogram
	sum := 0.0
	for _, v := range values {
		h.RecordN(v, 2)
		sum += 2 * float64(v)
	}
	c := NewCounts(bounds)
	c.Add(&h)
	c.Add(new(Histogram))
	for i, b := range bounds {
		want := uint64(0)
		for _, v := range values {
			if v <= b {
				want += 2
			}
		}
		if c.AtMost[i] != want {
			t.Errorf("at most %d ns: %d, want %d", b, c.AtMost[i], want)
		}
	}
	if c.Count != 2*uint64(len(values)) || math.Abs(c.Sum-sum) > sum/1000 {
		t.Errorf("%d values of %g ns, want %d of %g", c.Count, c.Sum, 2*len(values), sum)
	}
	c.Add(&h)
	if c.Count != 4*uint64(len(values)) || c.AtMost[len(bounds)-1] != 2*2*uint64(len(values)-1) {
		t.Errorf("twice the same: %+v", c)
	}
}

// TestReadMeanwhile: a reader beside writers sees counts that agree with themselves
// and never go back.
func TestReadMeanwhile(t *testing.T) {
	var h Histogram
	const writers, each = 4, 50_000
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range int64(each) {
				h.Record(i * int64(w+1) * 100)
			}
		})
	}
	bounds := []int64{1000, 100_000, 10_000_000}
	before := NewCounts(bounds)
	for before.Count < writers*each {
		c := NewCounts(bounds)
		c.Add(&h)
		if c.Count < before.Count || c.Sum < before.Sum {
			t.Fatalf("%d values of %g after %d of %g", c.Count, c.Sum, before.Count, before.Sum)
		}
		last := uint64(0)
		for i, n := range append(c.AtMost, c.Count) {
			if n < last || i < len(bounds) && n < before.AtMost[i] {
				t.Fatalf("%v after %v", c, before)
			}
			last = n
		}
		before = c
	}
	wg.Wait()
}

// TestRun: a run counts what counting one by one does.
func TestRun(t *testing.T) {
	var one, run Histogram
	r := run.Run()
	rnd := rand.New(rand.NewPCG(5, 6))
	for i := range 10_000 {
		ns := int64(i/7) * 1000
		if i%100 == 0 {
			ns = rnd.Int64N(Max)
		}
		one.Record(ns)
		r.Record(ns)
		if i%1000 == 500 {
			r.End()
		}
	}
	r.End()
	r.End()
	if !run.HDR().Equals(one.HDR()) {
		t.Error("a run counts otherwise")
	}
}

// TestRecordAlloc: counting allocates nothing.
func TestRecordAlloc(t *testing.T) {
	h := new(Histogram)
	if n := testing.AllocsPerRun(100, func() { h.Record(12345); h.RecordN(1<<50, 7); r := h.Run(); r.Record(5); r.End() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkRecord compares counting with that of the library's histogram, which
// nobody else may read meanwhile.
func BenchmarkRecord(b *testing.B) {
	values := make([]int64, 4096)
	rnd := rand.New(rand.NewPCG(3, 4))
	for i := range values {
		values[i] = 50_000 + int64(rnd.ExpFloat64()*20_000)
	}
	b.Run("atomic", func(b *testing.B) {
		b.ReportAllocs()
		var h Histogram
		i := 0
		for b.Loop() {
			h.Record(values[i&4095])
			i++
		}
	})
	b.Run("run", func(b *testing.B) {
		b.ReportAllocs()
		var h Histogram
		r := h.Run()
		i := int64(0)
		for b.Loop() {
			r.Record(1_000_000 + i&1023) // as records of a batch that leaves late
			i++
		}
	})
	b.Run("hdr", func(b *testing.B) {
		b.ReportAllocs()
		h := hdrhistogram.New(1, int64(time.Hour), digits)
		i := 0
		for b.Loop() {
			_ = h.RecordValue(values[i&4095])
			i++
		}
	})
}

// BenchmarkRead is what reading all counts costs.
func BenchmarkRead(b *testing.B) {
	b.ReportAllocs()
	var h Histogram
	for i := range int64(1000) {
		h.Record(i * i * 1000)
	}
	for b.Loop() {
		c := NewCounts([]int64{1000, 1_000_000, int64(time.Second)})
		c.Add(&h)
	}
}
