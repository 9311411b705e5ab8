package metrics

import (
	"slices"
	"time"
)

// Kind is a metric's type.
type Kind string

// The kinds.
const (
	Counter   Kind = "counter"   // only ever grows, while the part lives
	Gauge     Kind = "gauge"     // goes up and down
	Histogram Kind = "histogram" // durations by upper bound
)

// Family is a metric of one name.
type Family struct {
	Name   string
	Kind   Kind
	Unit   string   // what it counts or measures in: records, bytes, seconds, ...
	Help   string   // one sentence
	Labels []string // beside those of the scope

	bounds []int64 // of a histogram, ns
}

// Prefix begins the name of every family.
const Prefix = "tapedeck_"

// catalogue is all families. Only the initialization of this package's variables
// writes it.
var catalogue []*Family

// Families returns every family that a process with all parts shows, by name.
func Families() []*Family {
	list := slices.Clone(catalogue)
	slices.SortFunc(list, func(a, b *Family) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return list
}

func family(f Family) *Family {
	f.Name = Prefix + f.Name
	catalogue = append(catalogue, &f)
	return &f
}

func counter(name, unit, help string, labels ...string) *Family {
	return family(Family{Name: name, Kind: Counter, Unit: unit, Help: help, Labels: labels})
}

func gauge(name, unit, help string, labels ...string) *Family {
	return family(Family{Name: name, Kind: Gauge, Unit: unit, Help: help, Labels: labels})
}

// histogram is a family of durations.
func histogram(name string, bounds []int64, help string, labels ...string) *Family {
	return family(Family{Name: name, Kind: Histogram, Unit: "seconds", Help: help, Labels: labels, bounds: bounds})
}

// Bounds of the histograms: 1, 2 and 5 of every power of ten. Those of one kind have
// the same, so that they can be laid over each other.
var (
	fineBounds   = steps(time.Microsecond, 10*time.Second)    // of what is over in microseconds when all is well
	coarseBounds = steps(100*time.Microsecond, 5*time.Minute) // of what takes a disk, or somebody else's answer
)

func steps(from, to time.Duration) []int64 {
	var list []int64
	for at := from; ; at *= 10 {
		for _, n := range []time.Duration{1, 2, 5} {
			if n*at > to {
				return append(list, int64(to))
			}
			if n*at < to {
				list = append(list, int64(n*at))
			}
		}
	}
}

// column is a family that one number of a T goes to.
type column[T any] struct {
	family *Family
	of     func(*T) float64
}

// truth is a gauge's value for a fact.
func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// count is a number as metrics have it.
func count[T int | int64 | uint64](n T) float64 { return float64(n) }
