package main

import (
	"sync/atomic"

	"github.com/tapedeck/tapedeck/export"
	"github.com/tapedeck/tapedeck/internal/prefix"
	"github.com/tapedeck/tapedeck/tape"
)

// exportWalk opens walks over the selected records of a tape.
type exportWalk struct {
	tape   *tape.Tape
	cfg    tape.ReadConfig
	filter prefix.Set
	seen   atomic.Int64 // records of all walks, those not wanted included
}

func (w *exportWalk) open() export.Records {
	return &exportRecords{Records: w.tape.Records(w.cfg), walk: w}
}

// exportRecords are the selected records. It implements export.Records.
type exportRecords struct {
	*tape.Records
	walk *exportWalk
	n    int64 // not yet added to what the walk has seen
}

// Next moves to the next record with a topic that is wanted.
func (r *exportRecords) Next() bool {
	const tell = 1024
	for r.Records.Next() {
		if r.n++; r.n == tell {
			r.walk.seen.Add(r.n)
			r.n = 0
		}
		if r.walk.filter.Match(r.Record().Topic()) {
			return true
		}
	}
	return false
}
