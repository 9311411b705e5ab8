package prefix

import (
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// Cache is a Set that remembers what it decided: streams have few topics, and
// each comes again and again. It belongs to one goroutine.
//
// A topic has one slot, which the last topic that wanted it holds whole, so that
// a decision is never another topic's. Streams of more topics than slots pay the
// search now and then, never an allocation.
type Cache struct {
	set   Set
	slots []slot // nil for a set that is as quick to ask
}

const (
	slotSize = 64 // a cache line
	slotsMin = 1 << 12
	slotsMax = 1 << 16 // 4 MiB

	// searchedFrom is the number of prefixes from which on the search costs more
	// than the memory of it (BenchmarkMatch).
	searchedFrom = 4
)

// slot is a topic and what was decided: size (0: none), decision, topic.
type slot struct {
	size  uint8
	match bool
	topic [slotSize - 2]byte
}

// NewCache returns a cache before s.
func NewCache(s Set) *Cache {
	c := &Cache{set: s}
	if len(s.sorted) >= searchedFrom {
		// Who lists many prefixes has as many topics that match, and others.
		n := min(max(4*len(s.sorted), slotsMin), slotsMax)
		c.slots = make([]slot, 1<<bits.Len(uint(n-1)))
	}
	return c
}

// All reports whether the set matches everything.
func (c *Cache) All() bool { return c.set.All() }

// Match reports whether topic begins with one of the prefixes. Topics longer than
// 62 bytes are searched each time.
func (c *Cache) Match(topic []byte) bool {
	if c.slots == nil || len(topic) > slotSize-2 || len(topic) == 0 {
		return c.set.Match(topic)
	}
	s := &c.slots[xxhash.Sum64(topic)&uint64(len(c.slots)-1)]
	if string(s.topic[:s.size]) != string(topic) {
		s.match = c.set.Match(topic)
		s.size = uint8(copy(s.topic[:], topic))
	}
	return s.match
}
