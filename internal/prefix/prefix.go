// Package prefix matches topics against a set of prefixes, at a cost that grows
// with the logarithm of the set's size.
package prefix

import (
	"bytes"
	"slices"
	"strings"
)

// Set is an immutable set of prefixes. The zero Set matches everything.
type Set struct {
	// sorted holds the prefixes without those that another one covers, so at
	// most one of them can match a topic: the greatest that is not above it.
	sorted [][]byte
}

// New returns the set of the given prefixes. No prefixes, or an empty one, match
// everything.
func New(prefixes []string) Set {
	sorted := slices.Clone(prefixes)
	slices.Sort(sorted)
	var s Set
	last := ""
	for i, p := range sorted {
		if p == "" {
			return Set{}
		}
		if i > 0 && strings.HasPrefix(p, last) {
			continue
		}
		last = p
		s.sorted = append(s.sorted, []byte(p))
	}
	return s
}

// All reports whether the set matches everything.
func (s *Set) All() bool { return len(s.sorted) == 0 }

// Match reports whether topic begins with one of the prefixes.
func (s *Set) Match(topic []byte) bool {
	if len(s.sorted) == 0 {
		return true
	}
	lo, hi := 0, len(s.sorted)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if bytes.Compare(s.sorted[mid], topic) <= 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo > 0 && bytes.HasPrefix(topic, s.sorted[lo-1])
}
