package replay

import (
	"sort"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// numbering gives every record of a tape its place: ordinals on a tape start again
// with each epoch, places go on through all of them, from 0, whatever order the
// blocks of the shards lie in. It does not change.
type numbering struct {
	offsets map[wire.Epoch]wire.Ordinal // what to add to an ordinal; it may wrap
	starts  []epochStart                // in order of their places
	span    wire.Ordinal                // places that the tape has
	ordered bool                        // the blocks of each shard come in order of their places
}

// epochStart is the first place of an epoch.
type epochStart struct {
	place wire.Ordinal
	epoch wire.Epoch
}

// newNumbering looks at the index of the tape, not at its records.
func newNumbering(t *tape.Tape) *numbering {
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
	o := &numbering{offsets: make(map[wire.Epoch]wire.Ordinal, len(extents))}
	for _, e := range t.Epochs() {
		x, known := extents[e]
		if !known {
			continue
		}
		o.offsets[e] = o.span - x.first
		o.starts = append(o.starts, epochStart{o.span, e})
		o.span += x.last - x.first + 1
	}
	o.ordered = len(extents) < 2 || o.inOrder(t)
	return o
}

// inOrder looks whether each shard's epochs follow one another as the tape's do.
func (o *numbering) inOrder(t *tape.Tape) bool {
	next := make([]wire.Ordinal, t.Shards())
	for n := range t.Blocks() {
		b := t.Block(n)
		if int(b.Shard) >= len(next) {
			continue
		}
		place := b.FirstOrdinal + o.offsets[b.Epoch]
		if place < next[b.Shard] {
			return false
		}
		next[b.Shard] = place + 1
	}
	return true
}

// onTape returns the epoch and the ordinal that a place below span is of.
func (o *numbering) onTape(place wire.Ordinal) (wire.Epoch, wire.Ordinal) {
	n := sort.Search(len(o.starts), func(i int) bool { return o.starts[i].place > place })
	e := o.starts[n-1].epoch
	return e, place - o.offsets[e]
}

// ordinals turns places into ordinals of a stream, and the ordinals on a tape.
type ordinals struct {
	*numbering              // of the tape; nil where the source is another
	span       wire.Ordinal // places that the source has
	base       wire.Ordinal // what to add to a place: last values and whole passes before
	epoch      wire.Epoch   // the latest that was asked for
	offset     wire.Ordinal // what to add for it
}

// rebase changes what is added to a place.
func (o *ordinals) rebase(base wire.Ordinal) { o.base, o.epoch, o.offset = base, 0, 0 }

// of returns the stream's ordinal for one on the tape.
func (o *ordinals) of(epoch wire.Epoch, at wire.Ordinal) wire.Ordinal {
	if epoch != o.epoch {
		o.epoch, o.offset = epoch, o.base+o.offsets[epoch]
	}
	return at + o.offset
}
