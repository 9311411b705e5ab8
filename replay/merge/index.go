package merge

import (
	"sort"

	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// index finds places of one tape by time, and the key at a place: the greatest time
// up to it, by the clock of the merge. It has a number or two for each block, as the
// tape's own index does, and does not change.
type index struct {
	source *replay.TapeSource
	clock  tape.Clock
	epochs []epochIndex // in the order of their places
	ranks  map[wire.Epoch]int
	least  wire.Nanos // of all times
}

// epochIndex is the part of an index that one epoch has.
type epochIndex struct {
	upTo wire.Nanos // greatest time up to the epoch's end
	runs []run      // of each shard
}

// run is the blocks of a shard in an epoch, in order.
type run struct {
	blocks []int32
	upTo   []wire.Nanos // greatest time of the run up to each block's end
}

func newIndex(s *replay.TapeSource, c tape.Clock) *index {
	t := s.Tape()
	x := &index{source: s, clock: c, ranks: map[wire.Epoch]int{}, least: wire.NanosMax}
	for _, e := range t.Epochs() {
		x.ranks[e] = len(x.epochs)
		x.epochs = append(x.epochs, epochIndex{upTo: wire.NanosMin, runs: make([]run, t.Shards())})
	}
	for n := range t.Blocks() {
		b := t.Block(n)
		span := x.span(&b)
		e := &x.epochs[x.ranks[b.Epoch]]
		e.upTo, x.least = max(e.upTo, span.Max), min(x.least, span.Min)
		e.runs[b.Shard].add(n, span.Max)
	}
	for i := 1; i < len(x.epochs); i++ {
		x.epochs[i].upTo = max(x.epochs[i].upTo, x.epochs[i-1].upTo)
	}
	return x
}

func (r *run) add(block int, greatest wire.Nanos) {
	if n := len(r.upTo); n > 0 {
		greatest = max(greatest, r.upTo[n-1])
	}
	r.blocks, r.upTo = append(r.blocks, int32(block)), append(r.upTo, greatest)
}

// before is the greatest time of the run before block i.
func (r *run) before(i int) wire.Nanos {
	if i == 0 {
		return wire.NanosMin
	}
	return r.upTo[i-1]
}

// span is the range of the times that order a block's records.
func (x *index) span(b *tape.BlockInfo) tape.Span {
	switch {
	case x.clock == tape.ClockEvent:
		return b.Event
	case x.clock == tape.ClockSend && blockSend(b) != 0:
		return tape.Span{Min: b.Send.Min, Max: b.Send.Min}
	}
	return b.Receive
}

// blockSend is the send time that all records of a block have; 0 where it is not
// known.
func blockSend(b *tape.BlockInfo) wire.Nanos {
	if b.NoSend {
		return 0
	}
	return b.Send.Min
}

// greatest is the greatest time on the tape.
func (x *index) greatest() wire.Nanos {
	if n := len(x.epochs); n > 0 {
		return x.epochs[n-1].upTo
	}
	return wire.NanosMin
}

// placeOf is the place of an ordinal of a block of the tape.
func (x *index) placeOf(b *tape.BlockInfo, ordinal wire.Ordinal) wire.Ordinal {
	place, _ := x.source.Place(b.Epoch, ordinal)
	return place
}

// epochWith returns the first epoch with a record at or after a time, or nil.
func (x *index) epochWith(at wire.Nanos) *epochIndex {
	i := sort.Search(len(x.epochs), func(i int) bool { return x.epochs[i].upTo >= at })
	if i == len(x.epochs) {
		return nil
	}
	return &x.epochs[i]
}

// reaching returns the first block of the run with a record at or after a time.
func (x *index) reaching(r *run, at wire.Nanos) (b tape.BlockInfo, ok bool) {
	i := sort.Search(len(r.upTo), func(i int) bool { return r.upTo[i] >= at })
	if i == len(r.upTo) {
		return b, false
	}
	return x.source.Tape().Block(int(r.blocks[i])), true
}

// between returns two places: the first record whose time is at or after at lies
// neither before the one nor behind the other. It reads nothing.
func (x *index) between(at wire.Nanos) (from, to wire.Ordinal) {
	from, to = x.source.Span(), x.source.Span()
	e := x.epochWith(at)
	if e == nil {
		return from, to
	}
	for i := range e.runs {
		if b, ok := x.reaching(&e.runs[i], at); ok {
			from, to = min(from, x.placeOf(&b, b.FirstOrdinal)), min(to, x.placeOf(&b, b.LastOrdinal))
		}
	}
	return from, to
}

// keys returns the least and the greatest that the key at a place can be. It reads
// nothing. straddling, if not nil, is called with the blocks that make the difference.
func (x *index) keys(place wire.Ordinal, straddling func(*tape.BlockInfo)) (least, greatest wire.Nanos) {
	epoch, ordinal := x.source.OnTape(place)
	rank := x.ranks[epoch]
	least = wire.NanosMin
	if rank > 0 {
		least = x.epochs[rank-1].upTo
	}
	greatest = least
	t := x.source.Tape()
	for i := range x.epochs[rank].runs {
		r := &x.epochs[rank].runs[i]
		n := sort.Search(len(r.blocks), func(i int) bool {
			b := t.Block(int(r.blocks[i]))
			return b.FirstOrdinal > ordinal
		}) - 1
		if n < 0 {
			continue
		}
		b := t.Block(int(r.blocks[n]))
		if b.LastOrdinal <= ordinal {
			least = max(least, r.upTo[n])
		} else {
			least = max(least, r.before(n))
			if straddling != nil {
				straddling(&b)
			}
		}
		greatest = max(greatest, r.upTo[n])
	}
	return least, greatest
}
