package resync

import "github.com/tapedeck/tapedeck/wire"

// Epochs of publishers that stand in for each other lie on one source (docs/WIRE.md,
// section 7): what was delivered of one of them is known to be a repeat in any other,
// also where the reader was in another epoch than the one that is gone on with.

// takesOver takes note of an epoch of another publisher, which goes on where the one
// before had come to, and may have come further. The hash is 0 where it is not known.
func (m *machine) takesOver(id wire.Epoch, s *wire.SessionStart) {
	e := m.find(id)
	if e == nil {
		return
	}
	m.kin.Start(id, s)
	p := m.predecessor(id, s.PreviousEpoch)
	if p == nil {
		return
	}
	if s.PreviousHash != 0 && p.chained && p.liveNext == s.PreviousNext && p.liveHash != s.PreviousHash {
		m.diverge(p)
	}
	p.taken, p.ended = true, true
	m.extend(p, s.PreviousNext)
}

// takeUp lets an epoch begin behind what it repeats of the one before, which has been
// delivered.
func (m *machine) takeUp(e, before *epoch) {
	at, known := m.kin.Begins(e.id, before.id)
	if !known {
		return
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
	if e.marked {
		return
	}
	if at, known := m.kin.Begins(after.id, e.id); known && (!e.taken || at > int64(e.top)) {
		e.taken, e.ended = true, true
		m.extend(e, wire.Seq(max(at, 0)))
	}
}
