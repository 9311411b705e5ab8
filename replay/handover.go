package replay

import (
	"sync/atomic"

	"github.com/tapedeck/tapedeck/wire"
)

// tapeClock is what time it is on the tape, for others to see while a player plays: a
// tape time, and the moment, by the wall clock, when it was that. It is written by who
// plays, at each batch that is paced; the two change where the schedule does, seldom.
type tapeClock struct {
	tape atomic.Int64
	at   atomic.Int64 // 0: the clock stands
}

func (c *tapeClock) runs(tape, at wire.Nanos) {
	c.tape.Store(int64(tape))
	c.at.Store(int64(at))
}

// stands says that the clock stands at a time, or, where that is 0, begins with the next
// record.
func (c *tapeClock) stands(tape wire.Nanos) {
	c.tape.Store(int64(tape))
	c.at.Store(0)
}

// now is the tape's time at a moment.
func (c *tapeClock) now(at wire.Nanos, speed Speed) wire.Nanos {
	tape, since := wire.Nanos(c.tape.Load()), wire.Nanos(c.at.Load())
	if since == 0 || speed == Max {
		return tape
	}
	return later(tape, wire.Nanos(float64(at-since)*float64(speed)))
}

// deckStream is what another player of the tape needs to go on in the place of this one:
// how the epoch at hand lies on the tape. It reads what whoever plays writes
// atomically, and takes no lock that play takes. It is nil where another epoch has begun
// since.
func (p *Player) deckStream(d *wire.DeckNotice) *wire.DeckStream {
	p.status.mu.Lock()
	v := p.status.view
	p.status.mu.Unlock()
	if v.named != d.Epoch {
		return nil
	}
	s := &wire.DeckStream{
		From: p.cfg.From, To: p.cfg.To, Passes: p.cfg.Passes,
		Clock: p.progress.clock.now(d.Time, v.speed),
	}
	if l := v.loop; l != nil {
		s.LoopFrom, s.LoopTo, s.LoopWaits = l.from, l.to, l.waits
	}
	e := v.epoch
	if e == nil {
		return s
	}
	s.Start, s.Starts = e.start, e.places
	if e.asOf.known {
		s.AsOf = &e.asOf.place
	}
	if lead := e.lead.Load(); lead != leadUnknown {
		values := wire.Ordinal(lead)
		s.Values = &values
	}
	s.Points = make([]*wire.DeckPoint, len(e.trails))
	for i, t := range e.trails {
		if first, latest, ok := t.ends(); ok && t.next.Load() > 0 {
			s.Points[i] = &wire.DeckPoint{First: first.ordinal, Seq: latest.seq, Ordinal: latest.ordinal}
		}
	}
	return s
}

// ends returns the first and the latest point of a trail.
func (t *trail) ends() (first, latest point, ok bool) {
	p := t.points.Load()
	n := int(p.n.Load())
	if n == 0 {
		return first, latest, false
	}
	return p.list[0], p.list[n-1], true
}
