package merge

import (
	"sync"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// stand is where all tapes stand before a place: everything that comes before it has
// been taken from each of them.
type stand struct {
	place wire.Ordinal
	tapes []wire.Ordinal // of each tape's next record, or before it where there is none
	// counts are how many of each shared topic each tape has had: see counts.each. nil
	// where nobody has looked.
	counts []uint32
}

// table returns the table of a block, from memory where it has been looked at of late.
func (s *Source) table(i, block int) (table, error) {
	k := tableKey{i, block}
	if t, ok := s.common.tables.get(k); ok {
		return t, nil
	}
	t, err := s.common.indexes[i].readTable(s.tapes[i].Tape(), block)
	if err != nil {
		return nil, err
	}
	s.common.tables.put(k, t)
	return t, nil
}

// firstAt returns the place of the first record of tape i whose key is at or above
// at, which is the first one whose time is; the tape's span where there is none.
func (s *Source) firstAt(i int, at wire.Nanos) (wire.Ordinal, error) {
	x := s.common.indexes[i]
	best := s.tapes[i].Span()
	e := x.epochWith(at)
	if e == nil {
		return best, nil
	}
	for r := range e.runs {
		b, ok := x.reaching(&e.runs[r], at)
		if !ok || x.placeOf(&b, b.FirstOrdinal) >= best {
			continue
		}
		t, err := s.table(i, b.Number)
		if err != nil {
			return 0, err
		}
		if place, ok := t.first(at); ok {
			best = min(best, place)
		}
	}
	return best, nil
}

// behind returns the place of the first record of tape i whose key is above at.
func (s *Source) behind(i int, at wire.Nanos) (wire.Ordinal, error) {
	if at == wire.NanosMax {
		return s.tapes[i].Span(), nil
	}
	return s.firstAt(i, at+1)
}

// keyAt returns the key at a place of tape i: the greatest time up to it.
func (s *Source) keyAt(i int, place wire.Ordinal) (wire.Nanos, error) {
	var blocks []int
	x := s.common.indexes[i]
	key, _ := x.keys(place, func(b *tape.BlockInfo) { blocks = append(blocks, b.Number) })
	for _, n := range blocks {
		t, err := s.table(i, n)
		if err != nil {
			return 0, err
		}
		key = max(key, t.upTo(place))
	}
	return key, nil
}

// stands returns where the tapes stand before a place.
func (s *Source) stands(place wire.Ordinal) (stand, error) {
	if st, ok := s.common.memory.near(place, 0); ok {
		return st, nil
	}
	st, err := s.search(place)
	if err == nil {
		s.common.memory.put(st)
	}
	return st, err
}

// search finds where the tapes stand before a place, without counts. Before the first record with a
// key, the tapes stand at a sum of places that rises with the key: the key is the
// greatest whose sum is not above the place. Among the records of that key, those of
// the first tape come first.
func (s *Source) search(place wire.Ordinal) (stand, error) {
	key, err := s.keyFor(place)
	if err != nil {
		return stand{}, err
	}
	st := stand{place: place, tapes: make([]wire.Ordinal, len(s.tapes))}
	rest := place
	for i := range s.tapes {
		from, err := s.firstAt(i, key)
		if err != nil {
			return stand{}, err
		}
		st.tapes[i] = from
		rest -= from
	}
	for i := range s.tapes {
		end, err := s.behind(i, key)
		if err != nil {
			return stand{}, err
		}
		step := min(rest, end-st.tapes[i])
		st.tapes[i] += step
		rest -= step
	}
	return st, nil
}

// keyFor returns the greatest key before whose first record the tapes stand at or
// before a place.
func (s *Source) keyFor(place wire.Ordinal) (wire.Nanos, error) {
	low, high := s.common.least, s.common.greatest
	for low < high {
		// Half of a distance that may not fit, rounded up.
		mid := low + wire.Nanos((uint64(high)-uint64(low)-1)/2+1)
		not, err := s.above(mid, place)
		if err != nil {
			return 0, err
		}
		if not {
			high = mid - 1
		} else {
			low = mid
		}
	}
	return low, nil
}

// above reports whether the tapes stand behind a place, before the first record with
// a key.
func (s *Source) above(key wire.Nanos, place wire.Ordinal) (bool, error) {
	var least, greatest wire.Ordinal
	for _, x := range s.common.indexes {
		from, to := x.between(key)
		least, greatest = least+from, greatest+to
	}
	if greatest <= place {
		return false, nil
	}
	if least > place {
		return true, nil
	}
	var sum wire.Ordinal
	for i := range s.tapes {
		from, err := s.firstAt(i, key)
		if err != nil {
			return false, err
		}
		sum += from
	}
	return sum > place, nil
}

// placeOf returns the place of a record of tape i, given its place there and its key.
func (s *Source) placeOf(i int, place wire.Ordinal, key wire.Nanos) (wire.Ordinal, error) {
	sum := place
	for j := range s.tapes {
		var (
			other wire.Ordinal
			err   error
		)
		switch {
		case j < i:
			other, err = s.behind(j, key)
		case j > i:
			other, err = s.firstAt(j, key)
		}
		if err != nil {
			return 0, err
		}
		sum += other
	}
	return sum, nil
}

// Find implements replay.Source.
func (s *Source) Find(c tape.Clock, at wire.Nanos, from wire.Ordinal) (wire.Ordinal, error) {
	if from >= s.span {
		return s.span, nil
	}
	st, err := s.stands(from)
	if err != nil {
		return 0, err
	}
	best, bestKey, bestPlace := -1, wire.NanosMax, wire.Ordinal(0)
	for i, t := range s.tapes {
		place, err := t.Find(c, at, st.tapes[i])
		if err != nil {
			return 0, err
		}
		if place >= t.Span() {
			continue
		}
		key, err := s.keyAt(i, place)
		if err != nil {
			return 0, err
		}
		if best < 0 || key < bestKey {
			best, bestKey, bestPlace = i, key, place
		}
	}
	if best < 0 {
		return s.span, nil
	}
	return s.placeOf(best, bestPlace, bestKey)
}

// memory keeps where the tapes stood of late: whoever reads on begins there.
type memory struct {
	mu   sync.Mutex
	list []stand
	next int
}

// Bounds of the memory.
const (
	standsMax     = 64
	standsMin     = 4
	standsEntries = 1 << 21 // counts of all, together: 8 MiB
)

func (m *memory) put(st stand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	room := standsMax
	if n := len(st.counts); n > 0 {
		room = min(max(standsEntries/n, standsMin), standsMax)
	}
	if len(m.list) < room {
		m.list = append(m.list, st)
		return
	}
	m.list[m.next%room] = st
	m.next++
}

// near returns the latest stand that is not behind a place, and not more than so
// much before it. It is shared and must not be changed.
func (m *memory) near(place, before wire.Ordinal) (st stand, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.list {
		if x := &m.list[i]; x.place <= place && place-x.place <= before && (!ok || x.place > st.place || x.place == st.place && st.counts == nil) {
			st, ok = *x, true
		}
	}
	return st, ok
}

// ends are places of the tapes from which on they have no record before a time: the
// last that was asked for, since a player asks for the same one again and again.
type ends struct {
	mu     sync.Mutex
	clock  tape.Clock
	to     wire.Nanos
	places []wire.Ordinal // of each tape; nil before the first
}

// ends returns a place of each tape from which on no block has a record before a
// time. It reads nothing.
func (s *Source) ends(c tape.Clock, to wire.Nanos) []wire.Ordinal {
	m := &s.common.ends
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.places != nil && m.clock == c && m.to == to {
		return m.places
	}
	places := make([]wire.Ordinal, len(s.tapes))
	for i, t := range s.tapes {
		for n := range t.Tape().Blocks() {
			b := t.Tape().Block(n)
			if place, ok := t.Place(b.Epoch, b.LastOrdinal); ok && spanOf(&b, c).Min < to {
				places[i] = max(places[i], place+1)
			}
		}
	}
	m.clock, m.to, m.places = c, to, places
	return places
}

// spanOf returns the range of a block's times by one clock.
func spanOf(b *tape.BlockInfo, c tape.Clock) tape.Span {
	switch c {
	case tape.ClockEvent:
		return b.Event
	case tape.ClockSend:
		return b.Send
	}
	return b.Receive
}
