package subscriber

import "github.com/tapedeck/tapedeck/wire"

// Two publishers that take over from each other play one source, so their epochs lie on
// it one beside the other: what came in one of them is known to be a repeat in any other,
// whichever of them the reader was in. A publisher may have been taken for dead and have
// gone on, and one that took over may have gone before this reader heard it.

// takeOver is Start where the epoch at hand is known to begin in the one that was left,
// with that one's record at: another publisher took over, or the one that was taken over
// from goes on.
func (s *Stream) takeOver(start *wire.SessionStart, left *departure, at int64) (tail, head Missing) {
	if !left.ended {
		s.broken--
	}
	had := int64(max(left.next, left.repeat))
	direct := start != nil && start.TakesOver() && left.epoch == start.PreviousEpoch
	switch {
	case at > had:
		tail = s.tail(start, left, had, at)
		s.miss(tail)
	case at < had:
		s.repeat = wire.Seq(had - at)
	case direct && left.next == start.PreviousNext && start.PreviousHash != left.hash && !left.overlap && start.PreviousHash != 0:
		s.diverged++
	}
	return tail, s.missHead()
}

// tail is what is missing of the epoch that was left before record at: by the numbers of
// the one that was gone on with, where all of them lie in that, which had them.
func (s *Stream) tail(start *wire.SessionStart, left *departure, had, at int64) Missing {
	if start != nil && start.TakesOver() {
		if by, known := s.kin.Begins(left.epoch, start.PreviousEpoch); known && had+by >= 0 {
			return Missing{start.PreviousEpoch, wire.Seq(had + by), wire.Seq(at + by)}
		}
	}
	return Missing{left.epoch, wire.Seq(had), wire.Seq(at)}
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
