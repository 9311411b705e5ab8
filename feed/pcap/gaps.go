package pcap

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Totals returns the counts up to now.
func (q *Sequencer) Totals() Totals {
	t := q.totals
	for _, r := range q.open() {
		gaps, missing := r.missing()
		t.Gaps += gaps
		t.Missing += missing
	}
	return t
}

// String says what is odd, or is empty.
func (t Totals) String() string {
	var parts []string
	add := func(n uint64, text string) {
		if n != 0 {
			parts = append(parts, text)
		}
	}
	add(t.Missing, fmt.Sprintf("%d missing in %s", t.Missing, count(t.Gaps, "gap", "gaps")))
	add(t.Late, fmt.Sprintf("%d late", t.Late))
	add(t.Repeated, fmt.Sprintf("%d repeated", t.Repeated))
	add(t.Restarts, "numbering started again "+count(t.Restarts, "time", "times"))
	return strings.Join(parts, ", ")
}

// gap is one range of numbers that did not come.
type gap struct {
	stream   Stream
	line     uint32
	from, to uint64
}

// gaps returns the first of the ranges still missing, by line, stream and number.
func (q *Sequencer) gaps() []gap {
	var all []gap
	for _, r := range append(q.open(), q.closed...) {
		for _, h := range r.holes {
			all = append(all, gap{r.stream, r.line, h.from, h.to})
		}
	}
	slices.SortFunc(all, func(a, b gap) int {
		return cmp.Or(cmp.Compare(a.line, b.line), bytes.Compare(a.stream[:], b.stream[:]), cmp.Compare(a.from, b.from))
	})
	return all[:min(len(all), gapsTold)]
}

// notes says what was odd: a line of totals, and the first gaps one by one. unit
// is what is numbered; place names a stream on a line.
func (q *Sequencer) notes(unit string, place func(Stream, uint32) string) []string {
	t := q.Totals()
	text := t.String()
	if text == "" {
		return nil
	}
	out := []string{"sequence numbers of " + unit + ": " + text}
	told := q.gaps()
	for _, g := range told {
		out = append(out, fmt.Sprintf("%s: %d to %d missing", place(g.stream, g.line), g.from, g.to-1))
	}
	if more := t.Gaps - uint64(len(told)); more > 0 {
		out = append(out, count(more, "more gap", "more gaps"))
	}
	return out
}

// count writes a number and the word for it.
func count[T int | int64 | uint64](n T, one, many string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, one)
	}
	return fmt.Sprintf("%d %s", n, many)
}
