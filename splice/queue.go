package splice

import (
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/tape/timeorder"
	"github.com/tapedeck/tapedeck/wire"
)

// queue yields the records of several tapes in one order: see package timeorder.
type queue struct {
	clock  tape.Clock
	inputs []input
	order  timeorder.Queue
}

// input is a tape's next record.
type input struct {
	rec     wire.Record // borrowed until the walk moves on
	records *tape.Records
}

// add adds a tape. Tapes without records add nothing.
func (q *queue) add(t *tape.Tape) error {
	in := input{records: t.Records(tape.ReadConfig{})}
	n := len(q.inputs)
	q.inputs = append(q.inputs, in)
	if at, ok := q.advance(&q.inputs[n]); ok {
		q.order.Add(n, at)
	}
	return in.records.Err()
}

// advance moves to a tape's next record, if there is one, and returns its time.
func (q *queue) advance(in *input) (wire.Nanos, bool) {
	if !in.records.Next() {
		return 0, false
	}
	in.rec = in.records.Record()
	send := wire.Nanos(0)
	if q.clock == tape.ClockSend {
		send = in.records.At().Send
	}
	return timeorder.Time(in.rec, q.clock, send), true
}

// record returns the record whose turn it is; ok is false behind the last one.
func (q *queue) record() (rec wire.Record, ok bool) {
	if q.order.Len() == 0 {
		return nil, false
	}
	return q.inputs[q.order.Top()].rec, true
}

// next moves on from the record whose turn it is.
func (q *queue) next() error {
	in := &q.inputs[q.order.Top()]
	at, ok := q.advance(in)
	if !ok {
		q.order.End()
		return in.records.Err()
	}
	q.order.Next(at)
	return nil
}

func (q *queue) close() {
	for i := range q.inputs {
		_ = q.inputs[i].records.Close() // returns nil
	}
}
