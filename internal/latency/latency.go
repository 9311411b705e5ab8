// Package latency counts durations on hot paths so that anybody can read the
// counts meanwhile: an HDR histogram whose counts are atomic.
//
// Counting is one atomic addition: no lock, no allocation, no total beside it.
// Reading visits every count once and adds them up, so what it returns agrees with
// itself, and never goes back from one reading to the next. Count, sum and
// percentiles are made while reading; the sum is that of the counts' middles, exact
// to half a thousandth.
package latency

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Max is the longest duration that is told from longer ones, ns: an hour.
const Max = int64(time.Hour)

const (
	digits  = 3  // significant decimal digits
	subBits = 11 // bits that are kept of a value: as an HDR histogram of so many digits does
	half    = 1 << (subBits - 1)
	size    = (42-subBits)*half + 2*half // Max has 42 bits
)

// Histogram counts durations at three significant digits, from 1 ns to Max. The zero
// value is ready to use; it is 270 KB large and must not be copied. All methods may
// be called from any number of goroutines.
type Histogram struct {
	counts [size]atomic.Uint64
}

// Record counts a duration, ns. What is below 0 counts as 0, what is above Max as Max.
func (h *Histogram) Record(ns int64) { h.counts[index(ns)].Add(1) }

// RecordN counts a duration n times.
func (h *Histogram) RecordN(ns int64, n uint64) { h.counts[index(ns)].Add(n) }

// Run counts durations one after the other, of which most are like the one before:
// those it counts with one addition. It belongs to one goroutine; what it was given is in
// the histogram after End.
type Run struct {
	h  *Histogram
	at int
	n  uint64
}

// Run begins a run.
func (h *Histogram) Run() Run { return Run{h: h} }

// Record counts a duration, ns.
func (r *Run) Record(ns int64) {
	if at := index(ns); at != r.at {
		r.End()
		r.at = at
	}
	r.n++
}

// End ends the run. Another one may follow.
func (r *Run) End() {
	if r.n > 0 {
		r.h.counts[r.at].Add(r.n)
		r.n = 0
	}
}

// index is the place of a duration: the layout of HDR histograms, in which the
// first 2048 values have a place each and every doubling after them 1024.
func index(ns int64) int {
	v := uint64(min(max(ns, 0), Max))
	shift := max(bits.Len64(v)-subBits, 0)
	return shift<<(subBits-1) + int(v>>shift)
}

// span returns the least and the greatest duration that are counted at a place.
func span(i int) (least, greatest int64) {
	shift := max(i>>(subBits-1)-1, 0)
	least = int64(i-shift<<(subBits-1)) << shift
	return least, least + 1<<shift - 1
}

// HDR returns what has been counted so far as an HDR histogram, for percentiles. It
// is a copy.
func (h *Histogram) HDR() *hdrhistogram.Histogram { return Merge(h) }

// Merge returns what several histograms have counted so far as one.
func Merge(from ...*Histogram) *hdrhistogram.Histogram {
	counts := make([]int64, size)
	for _, h := range from {
		for i := range h.counts {
			counts[i] += int64(h.counts[i].Load())
		}
	}
	return hdrhistogram.Import(&hdrhistogram.Snapshot{
		LowestTrackableValue: 1, HighestTrackableValue: Max, SignificantFigures: digits, Counts: counts,
	})
}

// Counts are durations counted by upper bounds, as Prometheus has them.
type Counts struct {
	// Bounds are upper bounds, ns, inclusive and ascending.
	Bounds []int64
	// AtMost is how many durations were at most as long as each bound. A duration
	// less than a thousandth below a bound may count as above it.
	AtMost []uint64
	Count  uint64  // of all
	Sum    float64 // of all, ns
}

// NewCounts returns counts of nothing.
func NewCounts(bounds []int64) *Counts {
	return &Counts{Bounds: bounds, AtMost: make([]uint64, len(bounds))}
}

// Add adds what a histogram has counted so far.
func (c *Counts) Add(h *Histogram) {
	var (
		bound int
		below uint64 // since the bound before this one
		total uint64
	)
	for i := range h.counts {
		n := h.counts[i].Load()
		if n == 0 {
			continue
		}
		least, greatest := span(i)
		for bound < len(c.Bounds) && greatest > c.Bounds[bound] {
			c.AtMost[bound] += below
			bound++
		}
		below, total = below+n, total+n
		c.Sum += float64(n) * (float64(least) + float64(greatest)) / 2
	}
	for ; bound < len(c.Bounds); bound++ {
		c.AtMost[bound] += below
	}
	c.Count += total
}
