package splice

import (
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// queue yields the records of several tapes in the order of their keys: a binary
// heap of one cursor for each tape.
type queue struct {
	clock tape.Clock
	all   []*tape.Records
	heap  []cursor // the least on top
	back  uint64   // records whose time is below their key
}

// cursor is a tape's next record.
type cursor struct {
	key     wire.Nanos // greatest time on the tape up to the record
	input   int
	rec     wire.Record // borrowed until the cursor moves on
	records *tape.Records
}

func (c *cursor) less(o *cursor) bool {
	return c.key < o.key || c.key == o.key && c.input < o.input
}

// add adds a tape. Tapes without records add nothing.
func (q *queue) add(input int, t *tape.Tape) error {
	c := cursor{key: wire.NanosMin, input: input, records: t.Records(tape.ReadConfig{})}
	q.all = append(q.all, c.records)
	if !q.advance(&c) {
		return c.records.Err()
	}
	q.heap = append(q.heap, c)
	for i := len(q.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if q.heap[parent].less(&q.heap[i]) {
			break
		}
		q.heap[parent], q.heap[i] = q.heap[i], q.heap[parent]
		i = parent
	}
	return nil
}

// advance moves a cursor to its tape's next record, if there is one.
func (q *queue) advance(c *cursor) bool {
	if !c.records.Next() {
		return false
	}
	c.rec = c.records.Record()
	at := timeOf(c.rec, q.clock)
	if q.clock == tape.ClockSend {
		if send := c.records.At().Send; send != 0 {
			at = send
		}
	}
	if at < c.key {
		q.back++
		return true
	}
	c.key = at
	return true
}

// next moves on from the record on top.
func (q *queue) next() error {
	top := &q.heap[0]
	if !q.advance(top) {
		if err := top.records.Err(); err != nil {
			return err
		}
		n := len(q.heap) - 1
		q.heap[0] = q.heap[n]
		q.heap = q.heap[:n]
	}
	q.down()
	return nil
}

// down puts the top where it belongs. Runs of one tape are common, so it mostly
// stays: then this is at most two comparisons.
func (q *queue) down() {
	h := q.heap
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].less(&h[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		h[least], h[i] = h[i], h[least]
		i = least
	}
}

func (q *queue) close() {
	for _, r := range q.all {
		_ = r.Close() // returns nil
	}
}
