package resync

import (
	"slices"

	"github.com/tapedeck/tapedeck/wire"
)

// start takes note of how an epoch began.
func (m *machine) start(id wire.Epoch, s *wire.SessionStart) {
	if s.TakesOver() {
		m.takesOver(id, s)
		return
	}
	m.follows(id, s.PreviousEpoch, s.PreviousNext, s.PreviousHash)
}

// follows takes note of what a publisher says about the epoch before one of its
// own: that it ended at next, with that rolling hash, without an end mark.
func (m *machine) follows(id, before wire.Epoch, next wire.Seq, hash wire.Hash) {
	p := m.predecessor(id, before)
	if p == nil {
		return
	}
	m.extend(p, next)
	if p.chained && p.liveNext == next && p.liveHash != hash {
		m.diverge(p)
	}
	if p.ended {
		return
	}
	p.ended, p.end = true, next
	m.extend(p, next)
}

// predecessor returns the epoch that came before another one, as its publisher says; nil
// where nothing is wanted of it.
func (m *machine) predecessor(id, before wire.Epoch) *epoch {
	e := m.find(id)
	if e == nil || before == 0 || before == id || m.wasLeft(before) {
		return nil
	}
	p := m.find(before)
	if p == nil {
		if e.begun || m.opening || e.id == m.first {
			return nil // nothing before it was asked for
		}
		// A whole epoch went by unseen.
		p = &epoch{id: before, known: true, whole: true}
		m.insertBefore(e, p)
	}
	return p
}

func (m *machine) insertBefore(e, p *epoch) {
	for i, q := range m.epochs {
		if q == e {
			m.epochs = append(m.epochs[:i:i], append([]*epoch{p}, m.epochs[i:]...)...)
			return
		}
	}
}

func (m *machine) find(id wire.Epoch) *epoch {
	// The newest is nearly always the one.
	for i := len(m.epochs) - 1; i >= 0; i-- {
		if m.epochs[i].id == id {
			return m.epochs[i]
		}
	}
	return nil
}

func (m *machine) wasLeft(id wire.Epoch) bool {
	return slices.Contains(m.left[:], id)
}

// epochOf returns the state of an epoch; a new one goes to the end of the queue.
// Of an epoch that has been left it is nil. seen is the sequence that the live
// stream was at when the epoch was first seen.
func (m *machine) epochOf(id wire.Epoch, seen wire.Seq) *epoch {
	if e := m.find(id); e != nil {
		if !e.live {
			e.live, e.seen = true, seen
		}
		return e
	}
	if m.wasLeft(id) {
		return nil
	}
	e := &epoch{id: id, seen: seen, live: true}
	switch {
	case m.opening:
		// open decides where it begins.
	case m.first == 0:
		// This reader joins here.
		e.known, e.next, e.whole = true, seen, seen == 0
		if m.cfg.whole {
			e.next, e.whole = 0, true
			m.extend(e, seen)
		}
		m.first = id
	default:
		e.known, e.whole = true, true
	}
	m.epochs = append(m.epochs, e)
	return e
}

// start is where delivery of an epoch shall begin.
type start struct {
	epoch wire.Epoch
	from  wire.Seq
}

// wait makes the machine hold everything until open.
func (m *machine) wait() { m.opening = true }

// open says where to begin: with these epochs, oldest first, and which epochs are
// older. What the live stream has shown before the first of the starts is older, too;
// what it has shown between two of them, or behind the last, is delivered there, from
// its beginning. Numbers say what comes first where nothing better does: publishers take
// the time for them. With no starts at all the first epoch that was shown is delivered from
// where it was joined.
func (m *machine) open(starts []start, older []wire.Epoch) {
	m.opening = false
	seen := m.epochs
	m.epochs = nil
	starts, anchored := placed(starts, seen)
	for _, s := range starts {
		e := &epoch{id: s.epoch}
		if i := slices.IndexFunc(seen, func(l *epoch) bool { return l.id == s.epoch }); i >= 0 {
			e = seen[i]
		}
		if e.known {
			continue // twice in the list: the first one counts
		}
		e.known, e.next, e.whole, e.top = true, s.from, true, max(e.top, s.from)
		m.epochs = append(m.epochs, e)
	}
	after := 0 // where nobody knows better, the lesser number is first
	for i, e := range seen {
		if e.known {
			continue
		}
		e.known, e.whole = true, true
		switch next := slices.IndexFunc(seen[i:], func(l *epoch) bool { return slices.ContainsFunc(starts, l.starts) }); {
		case slices.Contains(older, e.id), next >= 0 && seen[i+next] == m.epochs[0]:
			m.drain(e)
			m.leave(e.id)
		case next >= 0:
			at := slices.Index(m.epochs, seen[i+next])
			for at > 1 && !m.epochs[at-1].live && m.epochs[at-1].id > e.id {
				at--
			}
			m.epochs = slices.Insert(m.epochs, at, e)
		case len(m.epochs) == 0:
			e.next, e.whole = e.seen, e.seen == 0
			m.epochs = append(m.epochs, e)
		case anchored:
			m.epochs = append(m.epochs, e)
		default:
			for after++; after < len(m.epochs) && m.epochs[after].id < e.id; {
				after++
			}
			m.epochs = slices.Insert(m.epochs, after, e)
		}
	}
	for _, id := range older[max(len(older)-leftMax, 0):] {
		m.leave(id)
	}
	if len(m.epochs) > 0 {
		m.first = m.epochs[0].id
	}
}

// placed are the starts whose place among the epochs that the live stream has shown
// is known. It is not where the stream has shown further epochs behind one of them,
// and none of those that follow that one in the list: what the stream will show
// belongs where it shows it. anchored: the stream has shown one of them.
func placed(starts []start, seen []*epoch) (list []start, anchored bool) {
	at, last := -1, -1 // the last start that was shown, and where
	for i, s := range starts {
		if n := slices.IndexFunc(seen, func(e *epoch) bool { return e.starts(s) }); n > at {
			at, last = n, i
		}
	}
	if at >= 0 && at < len(seen)-1 {
		return starts[:last+1], true
	}
	return starts, at >= 0
}

// starts reports whether s is a start in this epoch.
func (e *epoch) starts(s start) bool { return e.id == s.epoch }

// leave takes note that nothing more of an epoch is wanted.
func (m *machine) leave(id wire.Epoch) {
	if !m.wasLeft(id) {
		m.left[m.leftN%leftMax] = id
		m.leftN++
	}
}

// drain drops everything that is held of an epoch.
func (m *machine) drain(e *epoch) {
	for len(e.held) > 0 {
		m.drop(e.held.shift())
	}
}
