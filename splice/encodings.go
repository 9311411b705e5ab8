package splice

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// encodings puts the encodings of several tapes together, so that each topic's
// bodies are read as they were on its own tape. A topic belongs to the class of
// those encodings that apply to it; the prefixes of the result are the fewest that
// tell the classes apart, the longest one that a topic begins with counting.
type encodings struct {
	classes []class
	byKey   map[string]int
	all     []wire.Encoding // as the tapes have them
	topics  map[string][]int
}

// class is a set of encodings that apply to the same topics, without prefixes.
type class struct{ encodings []wire.Encoding }

// prefixesMax is how many prefixes a merged tape may have; a reader looks at each
// of them for each record.
const prefixesMax = 256

// add takes in a tape's encodings and topics.
func (e *encodings) add(list []wire.Encoding, topics []tape.TopicInfo) {
	if e.byKey == nil {
		e.byKey, e.topics = map[string]int{}, map[string][]int{}
	}
	for _, x := range list {
		if !slices.ContainsFunc(e.all, x.Equal) {
			e.all = append(e.all, x)
		}
	}
	for i := range topics {
		topic := topics[i].Topic
		n := e.class(applying(list, topic))
		if !slices.Contains(e.topics[topic], n) {
			e.topics[topic] = append(e.topics[topic], n)
		}
	}
}

// applying returns the encodings for a topic, the longest prefix first, without
// their prefixes.
func applying(list []wire.Encoding, topic string) []wire.Encoding {
	var fit []wire.Encoding
	for _, x := range list {
		if strings.HasPrefix(topic, x.Topics) {
			fit = append(fit, x)
		}
	}
	slices.SortStableFunc(fit, func(a, b wire.Encoding) int { return len(b.Topics) - len(a.Topics) })
	for i := range fit {
		fit[i].Topics = ""
	}
	return fit
}

// class returns the number of the class with these encodings.
func (e *encodings) class(list []wire.Encoding) int {
	var key strings.Builder
	for _, x := range list {
		fmt.Fprintf(&key, "%q", x.Format)
		for _, k := range slices.Sorted(maps.Keys(x.Detail)) {
			fmt.Fprintf(&key, " %q=%q", k, x.Detail[k])
		}
		key.WriteByte('\n')
	}
	n, ok := e.byKey[key.String()]
	if !ok {
		n = len(e.classes)
		e.classes, e.byKey[key.String()] = append(e.classes, class{list}), n
	}
	return n
}

// list returns the encodings of the merged tape, and how many topics have bodies
// that more than one tape's encodings may fit.
func (e *encodings) list() (result []wire.Encoding, ambiguous int) {
	switch len(e.classes) {
	case 0:
		return e.all, 0
	case 1:
		return e.classes[0].encodings, 0
	}
	topics := slices.Sorted(maps.Keys(e.topics))
	owners := make([]int, len(topics))
	for i, topic := range topics {
		of := e.topics[topic]
		if len(of) > 1 {
			ambiguous++
			of = []int{e.union(of)}
		}
		owners[i] = of[0]
	}
	c := cover{topics: topics, owners: owners}
	c.walk(0, len(topics), 0)
	if len(c.prefixes) > prefixesMax {
		for _, x := range e.all {
			x.Topics = ""
			if !slices.ContainsFunc(result, x.Equal) {
				result = append(result, x)
			}
		}
		return result, len(topics)
	}
	for _, p := range c.prefixes {
		for _, x := range e.classes[p.owner].encodings {
			x.Topics = p.prefix
			result = append(result, x)
		}
	}
	return result, ambiguous
}

// union returns the class that has the encodings of all given ones.
func (e *encodings) union(of []int) int {
	var list []wire.Encoding
	for _, n := range of {
		for _, x := range e.classes[n].encodings {
			if !slices.ContainsFunc(list, x.Equal) {
				list = append(list, x)
			}
		}
	}
	return e.class(list)
}

// cover finds the fewest prefixes that give each topic its owner, where the
// longest one that fits counts.
type cover struct {
	topics   []string // sorted, each once
	owners   []int
	prefixes []owned
}

type owned struct {
	prefix string
	owner  int
}

// walk adds the prefixes for topics [lo, hi), which share their first size bytes.
// A stretch of one owner takes all that its topics have in common: a topic that is
// added to the tape later should not be taken for one of them by its first letter.
func (c *cover) walk(lo, hi, size int) {
	if len(c.prefixes) > prefixesMax {
		return // too many already
	}
	if one := c.one(lo, hi); one >= 0 {
		if lo < hi {
			c.prefixes = append(c.prefixes, owned{common(c.topics[lo], c.topics[hi-1]), one})
		}
		return
	}
	if len(c.topics[lo]) == size {
		// The whole topic is the others' prefix: theirs are longer, and count.
		c.prefixes = append(c.prefixes, owned{c.topics[lo], c.owners[lo]})
		lo++
	}
	for lo < hi {
		end := lo + 1
		for end < hi && c.topics[end][size] == c.topics[lo][size] {
			end++
		}
		c.walk(lo, end, size+1)
		lo = end
	}
}

// common returns what two strings begin with.
func common(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return a[:n]
}

// one returns the owner of all topics [lo, hi), or -1 where they have several.
func (c *cover) one(lo, hi int) int {
	for i := lo + 1; i < hi; i++ {
		if c.owners[i] != c.owners[lo] {
			return -1
		}
	}
	if lo == hi {
		return 0
	}
	return c.owners[lo]
}
