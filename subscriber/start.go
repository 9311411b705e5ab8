package subscriber

import "github.com/tapedeck/tapedeck/wire"

// Missing are sequences [From, To) of an epoch that did not arrive. Nothing is
// missing where they are equal.
type Missing struct {
	Epoch    wire.Epoch
	From, To wire.Seq
}

// None reports whether nothing is missing.
func (m Missing) None() bool { return m.From == m.To }

// Start takes in how the epoch at hand began, which a hello of it says: nil where it
// does not. It is called after Take has taken that hello's header; of further
// hellos of the epoch it makes nothing.
//
// Where the epoch before is the one that the publisher says it has left, that was
// not broken off. What is missing at its end is tail. This reader was there when the
// new one began: what it has not seen of the beginning, since messages were lost
// together with the first hello, is head.
//
// Where another publisher took over, its epoch may begin before the place that this
// reader had come to in the one before: these records are repeats, and Take says so. The
// same goes for an epoch that was taken over from and goes on, whatever its own hello says
// of its beginning.
func (s *Stream) Start(start *wire.SessionStart) (tail, head Missing) {
	left := s.before
	s.before = departure{}
	s.kin.Start(s.epoch, start)
	if at, known := s.kin.Begins(s.epoch, left.epoch); known {
		return s.takeOver(start, &left, at)
	}
	if start == nil || start.TakesOver() || left.epoch == 0 || left.epoch != start.PreviousEpoch || left.ended {
		return tail, head
	}
	s.broken--
	had := max(left.next, left.repeat)
	switch {
	case start.PreviousNext > had:
		tail = Missing{left.epoch, had, start.PreviousNext}
		s.miss(tail)
	case start.PreviousNext != left.next: // within repeats that did not come
		if start.PreviousNext < left.next {
			s.diverged++
		}
	case start.PreviousHash != left.hash && !left.overlap:
		s.diverged++
	}
	return tail, s.missHead()
}

func (s *Stream) miss(m Missing) {
	s.gaps++
	s.lost += uint64(m.To - m.From)
}
