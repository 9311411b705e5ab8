// Package timeorder is the order in which the records of several inputs come as
// one, by one of their times.
//
// Each input keeps its own order, also where its times go back: a record's key is
// the greatest time up to it on its input. The record with the least key comes next;
// among equal keys the inputs come in the order of their numbers. So the order
// depends on the records alone, and what several tapes are merged into is what they
// give when they are played together.
package timeorder

import (
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// Time returns the time of a record that orders it. By the send clock that is its
// block's, which the caller gives, or the receive time where it is 0, unknown.
func Time(rec wire.Record, c tape.Clock, send wire.Nanos) wire.Nanos {
	switch {
	case c == tape.ClockEvent:
		return rec.Event()
	case c == tape.ClockSend && send != 0:
		return send
	}
	return rec.Receive()
}

// Queue says which input's record comes next. It holds one record's key of each
// input, whose records the caller has. The zero Queue is empty.
type Queue struct {
	heap []head // the least on top
	back uint64
}

// head is an input's record.
type head struct {
	key   wire.Nanos
	input int
}

func (h *head) less(o *head) bool {
	return h.key < o.key || h.key == o.key && h.input < o.input
}

// Add adds an input that the queue does not have, whose record has a time.
//
// An order may be taken up in the middle, with each input's next record, and then
// goes on as if it had been followed from the start. The one input whose next record
// has a greater key than its time, if there is one, gave the record before; so its
// next one comes next by its key, and it does by its time.
func (q *Queue) Add(input int, at wire.Nanos) {
	q.heap = append(q.heap, head{at, input})
	for i := len(q.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if q.heap[parent].less(&q.heap[i]) {
			break
		}
		q.heap[parent], q.heap[i] = q.heap[i], q.heap[parent]
		i = parent
	}
}

// Len is the number of inputs that have a record.
func (q *Queue) Len() int { return len(q.heap) }

// Top returns the input whose record comes next. The queue must not be empty.
func (q *Queue) Top() int { return q.heap[0].input }

// Back is the number of records, since the inputs were added, whose time is below
// their key.
func (q *Queue) Back() uint64 { return q.back }

// Next says that the input on top has a next record, of that time.
func (q *Queue) Next(at wire.Nanos) {
	top := &q.heap[0]
	if at < top.key {
		q.back++
		return // the key stays, and with it the place
	}
	top.key = at
	q.down()
}

// End says that the input on top has no further record.
func (q *Queue) End() {
	n := len(q.heap) - 1
	q.heap[0] = q.heap[n]
	q.heap = q.heap[:n]
	q.down()
}

// down puts the top where it belongs. Runs of one input are common, so it mostly
// stays: then this is at most two comparisons.
func (q *Queue) down() {
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
