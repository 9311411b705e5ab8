package resync

import "github.com/tapedeck/tapedeck/wire"

// Epochs of publishers that stand in for each other lie on one source (docs/WIRE.md,
// section 7): what was delivered of one of them is known to be a repeat in any other,
// also where the reader was in another epoch than the one that is gone on with.

// kin is where an epoch begins in another one: its record n is that one's at+n. It is
// below 0 where the other one begins later.
type kin struct {
	epoch wire.Epoch
	at    int64
}

// kinMax is how many of them are remembered of an epoch.
const kinMax = 32

// relate takes note of where e begins in another epoch, the first time that is said.
func (e *epoch) relate(other wire.Epoch, at int64) {
	if _, known := e.beginsIn(other); !known && other != e.id && len(e.kin) < kinMax {
		e.kin = append(e.kin, kin{other, at})
	}
}

func (e *epoch) beginsIn(other wire.Epoch) (at int64, known bool) {
	for _, k := range e.kin {
		if k.epoch == other {
			return k.at, true
		}
	}
	return 0, false
}

// behind says where e begins in another epoch, by what is said of both; not known where
// they are not of one source.
func (e *epoch) behind(o *epoch) (at int64, known bool) {
	if at, known = e.beginsIn(o.id); known {
		return at, true
	}
	if at, known = o.beginsIn(e.id); known {
		return -at, true
	}
	for _, k := range o.kin {
		if at, known = e.beginsIn(k.epoch); known {
			return at - k.at, true
		}
	}
	return 0, false
}

// takesOver takes note of an epoch of another publisher, which goes on where the one
// before had come to, and may have come further. The hash is 0 where it is not known.
func (m *machine) takesOver(id wire.Epoch, s *wire.SessionStart) {
	e := m.find(id)
	if e == nil {
		return
	}
	e.relate(s.PreviousEpoch, int64(s.PreviousNext))
	for _, b := range s.Before {
		e.relate(b.Epoch, int64(b.Next))
	}
	p := m.predecessor(id, s.PreviousEpoch)
	if p == nil {
		return
	}
	for _, b := range s.Before {
		p.relate(b.Epoch, int64(b.Next)-int64(s.PreviousNext))
	}
	if s.PreviousHash != 0 && p.chained && p.liveNext == s.PreviousNext && p.liveHash != s.PreviousHash {
		m.diverge(p)
	}
	p.taken, p.ended = true, true
	m.extend(p, s.PreviousNext)
}

// takeUp lets an epoch begin behind what it repeats of the one before, which has been
// delivered.
func (e *epoch) takeUp(before *epoch) {
	at, known := e.behind(before)
	if !known {
		return
	}
	e.relate(before.id, at)
	for _, k := range before.kin {
		e.relate(k.epoch, k.at+at)
	}
	if had := int64(before.next) - at; had > 0 {
		e.next = max(e.next, wire.Seq(had))
		e.top = max(e.top, e.next)
	}
}

// reach takes note that an epoch ends where the live stream left it, and has what lies
// before the one that comes after it, where that is of another publisher of the source,
// whichever epoch it says that it goes on with.
func (m *machine) reach(e, after *epoch) {
	if e.marked || len(after.kin) == 0 {
		return
	}
	if at, known := after.behind(e); known && (!e.taken || at > int64(e.top)) {
		e.taken, e.ended = true, true
		m.extend(e, wire.Seq(max(at, 0)))
	}
}
