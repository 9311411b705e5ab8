package subscriber

import "github.com/tapedeck/tapedeck/wire"

// Two publishers that take over from each other play one source, so their epochs lie on
// it one beside the other: what came in one of them is known to be a repeat in any other,
// whichever of them the reader was in. A publisher may have been taken for dead and have
// gone on, and one that took over may have gone before this reader heard it.

// kin is where the epoch at hand begins in another epoch of the same play: the record
// with its sequence n would have been, or was, that one's offset+n. It is below 0 where
// the other one begins later.
type kin struct {
	epoch  wire.Epoch
	offset int64
}

// kinMax is how many of them are remembered.
const kinMax = 32

// relatives are the kin of an epoch, the latest known first.
type relatives struct {
	list [kinMax]kin
	n    int
}

func (r *relatives) add(epoch wire.Epoch, offset int64) {
	if r.n < kinMax && epoch != 0 && !r.has(epoch) {
		r.list[r.n] = kin{epoch, offset}
		r.n++
	}
}

func (r *relatives) has(epoch wire.Epoch) bool {
	for _, k := range r.list[:r.n] {
		if k.epoch == epoch {
			return true
		}
	}
	return false
}

// had is how many records of an epoch the reader has had that left d, had that epoch
// gone on for so long; not known where the two are not of one play.
func (d *departure) had(epoch wire.Epoch) (n int64, known bool) {
	here := int64(max(d.next, d.repeat))
	if epoch == d.epoch && epoch != 0 {
		return here, true
	}
	for _, k := range d.kin.list[:d.kin.n] {
		if k.epoch == epoch {
			return k.offset + here, true
		}
	}
	return 0, false
}

// meet finds an epoch that the reader knows among those that epoch goes on with, and how
// far start says that they had come. None of them needs to be known where epoch itself
// is: the one that was left took over from it, and its publisher goes on.
func (d *departure) meet(epoch wire.Epoch, start *wire.SessionStart) (met wire.Epoch, had, next int64, known bool) {
	if had, known = d.had(start.PreviousEpoch); known {
		return start.PreviousEpoch, had, int64(start.PreviousNext), true
	}
	for _, b := range start.Before {
		if had, known = d.had(b.Epoch); known {
			return b.Epoch, had, int64(b.Next), true
		}
	}
	if had, known = d.had(epoch); known {
		here, _ := d.had(d.epoch)
		return d.epoch, here, here - had, true
	}
	return 0, 0, 0, false
}

// relate notes how the epoch at hand lies beside others: those of which its publisher
// says so, and those that the reader knew.
func (s *Stream) relate(start *wire.SessionStart, left *departure) {
	s.kin.add(start.PreviousEpoch, int64(start.PreviousNext))
	for _, b := range start.Before {
		s.kin.add(b.Epoch, int64(b.Next))
	}
	_, had, next, known := left.meet(s.epoch, start)
	if !known {
		return
	}
	here, _ := left.had(left.epoch)
	from := here - (had - next) // where the epoch at hand begins in the one that was left
	s.kin.add(left.epoch, from)
	for _, k := range left.kin.list[:left.kin.n] {
		if k.epoch != s.epoch {
			s.kin.add(k.epoch, k.offset+from)
		}
	}
}

// takeOver is Start where another publisher took over, or where the one that was taken over
// from goes on.
func (s *Stream) takeOver(start *wire.SessionStart, left *departure) (tail, head Missing) {
	s.relate(start, left)
	epoch, had, next, known := left.meet(s.epoch, start)
	if !known {
		return tail, head
	}
	if !left.ended {
		s.broken--
	}
	direct := epoch == left.epoch && epoch == start.PreviousEpoch
	switch {
	case next > had:
		tail = Missing{epoch, wire.Seq(max(had, 0)), wire.Seq(next)}
		s.miss(tail)
	case next < had:
		s.repeat = wire.Seq(had - next)
	case direct && left.next == start.PreviousNext && start.PreviousHash != left.hash && !left.overlap && start.PreviousHash != 0:
		s.diverged++
	}
	return tail, s.missHead()
}

// missHead takes note that what the reader has not seen of the epoch's beginning, since
// it was there, is missing.
func (s *Stream) missHead() (head Missing) {
	if s.start > s.repeat {
		head = Missing{s.epoch, s.repeat, s.start}
		s.miss(head)
	}
	if s.start > 0 {
		s.start = 0
		s.spoil()
	}
	return head
}
