package lvc

import (
	"slices"
	"strings"
)

// capture is the table as it was at one moment, for topics with given prefixes. It
// is walked in slices, between which the table goes on: a value that is replaced
// meanwhile is set aside for it. It must be closed.
type capture struct {
	table   *table
	version uint64
	parts   [][]*entry
	total   int // entries that it holds, all together
	closed  bool
	lost    bool // what it needed took more memory than there was, and is gone
}

// capture returns the topics that begin with one of the prefixes, as they are now.
// No prefixes are every topic.
func (t *table) capture(prefixes ...string) *capture {
	c := &capture{table: t, version: t.version}
	for _, p := range distinct(prefixes) {
		var n int
		c.parts, n = t.index.find(c.parts, p)
		c.total += n
	}
	t.captures = append(t.captures, c)
	return c
}

// distinct returns prefixes without those that another one covers.
func distinct(prefixes []string) []string {
	if len(prefixes) == 0 {
		return []string{""}
	}
	sorted := slices.Clone(prefixes)
	slices.Sort(sorted)
	out := sorted[:1]
	for _, p := range sorted[1:] {
		if !strings.HasPrefix(p, out[len(out)-1]) {
			out = append(out, p)
		}
	}
	return out
}

// next calls f with up to n topics and their values at the capture's moment, and
// reports whether there are more. What f is given is borrowed until it returns.
func (c *capture) next(n int, f func(e *entry, v *value)) bool {
	for ; n > 0 && len(c.parts) > 0 && !c.lost; n-- {
		part := c.parts[0]
		e := part[0]
		if len(part) > 1 {
			c.parts[0] = part[1:]
		} else {
			c.parts = c.parts[1:]
		}
		if v := e.at(c.version); v != nil {
			f(e, v)
		}
	}
	return len(c.parts) > 0 && !c.lost
}

// close lets go of the capture. Where it was the last one that was open, settleSome
// has work to do.
func (c *capture) close() {
	if !c.closed {
		c.closed, c.parts = true, nil
		c.table.forget(c)
	}
}
