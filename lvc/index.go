package lvc

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// index finds topics by prefix. It holds the entries in runs, each sorted by topic
// and never changed once made, so that a capture can keep a part of one. New
// topics gather unsorted until somebody asks, or they are many; runs of like size
// are merged, which needs no lock. A topic is in one run.
type index struct {
	runs   [][]*entry
	fresh  []*entry // not in a run yet
	dead   []*entry // deleted, and not yet purged from their runs
	living int
}

const (
	freshMax = 1 << 10 // new topics that wait to be sorted
	deadMin  = 1 << 10 // deleted topics that are worth a purge
)

func (x *index) add(e *entry) {
	x.living++
	x.fresh = append(x.fresh, e)
	if len(x.fresh) >= freshMax {
		x.sort()
	}
}

func (x *index) died(e *entry) {
	x.living--
	x.dead = append(x.dead, e)
}

// sort makes a run of the new topics.
func (x *index) sort() {
	if len(x.fresh) == 0 {
		return
	}
	run := slices.Clone(x.fresh)
	clear(x.fresh)
	x.fresh = x.fresh[:0]
	slices.SortFunc(run, func(a, b *entry) int { return cmp.Compare(a.topic, b.topic) })
	x.runs = append(x.runs, run)
}

// all returns every run, the new topics among them.
func (x *index) all() [][]*entry {
	x.sort()
	return x.runs
}

// find appends the parts of the runs whose topics begin with prefix, and returns
// them and how many living topics they hold.
func (x *index) find(parts [][]*entry, prefix string) ([][]*entry, int) {
	x.sort()
	n := 0
	end, bounded := prefixEnd(prefix)
	for _, run := range x.runs {
		lo, hi := 0, len(run)
		if prefix != "" {
			lo = sort.Search(len(run), func(i int) bool { return run[i].topic >= prefix })
		}
		if bounded {
			hi = lo + sort.Search(len(run)-lo, func(i int) bool { return run[lo+i].topic >= end })
		}
		if lo < hi {
			parts = append(parts, run[lo:hi:hi])
			n += hi - lo
		}
	}
	for _, e := range x.dead {
		if strings.HasPrefix(e.topic, prefix) {
			n--
		}
	}
	return parts, n
}

// merge is the work of making one run of several. Its fields do not change while
// it is done, so done needs no lock; ready and take do.
type merge struct {
	at     int
	runs   [][]*entry
	merged []*entry
	purged []*entry
}

// ready returns the next merge that is worth doing, or nil. There must be one at
// a time.
func (x *index) ready() *merge {
	n := len(x.runs)
	if len(x.dead) > max(deadMin, x.living/4) && n > 0 {
		return &merge{runs: slices.Clone(x.runs)}
	}
	// The last two runs of which the later is not much the smaller. So there are
	// never more runs than the number of topics has digits, about.
	for i := n - 1; i > 0; i-- {
		if 2*len(x.runs[i]) >= len(x.runs[i-1]) {
			return &merge{at: i - 1, runs: slices.Clone(x.runs[i-1 : i+1])}
		}
	}
	return nil
}

// do merges. It holds no lock: runs do not change, nor do topics, and who is gone
// stays gone.
func (m *merge) do() {
	runs := m.runs
	for len(runs) > 1 {
		var next [][]*entry
		for i := 0; i < len(runs); i += 2 {
			if i+1 < len(runs) {
				next = append(next, mergeTwo(runs[i], runs[i+1]))
			} else {
				next = append(next, runs[i])
			}
		}
		runs = next
	}
	m.merged = make([]*entry, 0, len(runs[0]))
	for _, e := range runs[0] {
		if e.gone.Load() {
			m.purged = append(m.purged, e)
		} else {
			m.merged = append(m.merged, e)
		}
	}
}

func mergeTwo(a, b []*entry) []*entry {
	out := make([]*entry, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0].topic <= b[0].topic {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// take puts what was merged in the place of what it was made from.
func (x *index) take(m *merge) {
	x.runs = slices.Replace(x.runs, m.at, m.at+len(m.runs), m.merged)
	for _, e := range m.purged {
		e.purged = true
	}
	x.dead = slices.DeleteFunc(x.dead, func(e *entry) bool { return e.purged })
}

// prefixEnd returns the first topic after all those that begin with prefix; ok is
// false where there is none.
func prefixEnd(prefix string) (end string, ok bool) {
	b := []byte(prefix)
	for len(b) > 0 {
		if b[len(b)-1]++; b[len(b)-1] != 0 {
			return string(b), true
		}
		b = b[:len(b)-1]
	}
	return "", false
}
