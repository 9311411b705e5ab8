package replay

import (
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// ordinals turns the ordinals on a tape, which start again with each epoch, into
// those of a run: epochs follow one another in tape order and passes follow one
// another, whatever order the blocks of the shards lie in.
type ordinals struct {
	epochs map[wire.Epoch]wire.Ordinal // what to add in the first pass; it may wrap
	span   wire.Ordinal                // ordinals that one pass takes
	pass   wire.Ordinal                // what to add in this pass
	epoch  wire.Epoch                  // the latest that was asked for
	offset wire.Ordinal                // what to add for it
}

// newOrdinals looks at the index of the tape, not at its records.
func newOrdinals(t *tape.Tape) ordinals {
	type extent struct{ first, last wire.Ordinal }
	extents := map[wire.Epoch]extent{}
	for n := range t.Blocks() {
		b := t.Block(n)
		x, known := extents[b.Epoch]
		if !known {
			x = extent{b.FirstOrdinal, b.LastOrdinal}
		}
		extents[b.Epoch] = extent{min(x.first, b.FirstOrdinal), max(x.last, b.LastOrdinal)}
	}
	o := ordinals{epochs: make(map[wire.Epoch]wire.Ordinal, len(extents))}
	for _, e := range t.Epochs() {
		x, known := extents[e]
		if !known {
			continue
		}
		o.epochs[e] = o.span - x.first
		o.span += x.last - x.first + 1
	}
	return o
}

// nextPass makes what follows lie behind everything before.
func (o *ordinals) nextPass() {
	o.pass += o.span
	o.epoch = 0
}

// of returns the run's ordinal for one on the tape.
func (o *ordinals) of(epoch wire.Epoch, at wire.Ordinal) wire.Ordinal {
	if epoch != o.epoch {
		o.epoch, o.offset = epoch, o.pass+o.epochs[epoch]
	}
	return at + o.offset
}
