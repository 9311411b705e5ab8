package replay

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// history is what has been sent, for whoever missed some of it: epochs, oldest
// first, each with where on the tape its records come from. See refill.go.
type history struct {
	mu     sync.Mutex
	epochs []*sentEpoch
	gone   wire.Epoch // the latest that is not remembered any more; 0: none

	opened sync.Once
	src    Source // for reading here and there; see Source.Reopen
	again  Source // the same where it was opened for this
	hints  hints
	last   lastCache
}

// epochsMax is how many epochs are remembered.
const epochsMax = 256

// sentEpoch is one epoch of the stream. Everything but lead, place and trails stays as
// it is.
type sentEpoch struct {
	epoch  wire.Epoch
	began  wire.Nanos     // wall clock
	start  wire.Ordinal   // place of its first record, counted through all passes
	places []wire.Ordinal // likewise, of each shard's; nil: start
	asOf   lastPlace      // of its last values
	topics *topics        // that are played
	lead   atomic.Uint64
	place  atomic.Uint64 // ordinal up to which everything has gone out; not while shards play by themselves
	trails []*trail
}

// lastPlace is the place that last values come before. The zero value has none.
type lastPlace struct {
	place wire.Ordinal // in a pass
	known bool
}

// leadUnknown: last values are still being sent.
const leadUnknown = math.MaxUint64

// startEpoch begins to write down another epoch. It takes the place of its first
// record.
func (p *Player) startEpoch(place wire.Ordinal, asOf lastPlace) {
	for _, t := range p.trails {
		t.finish()
	}
	e := &sentEpoch{began: wire.NanosOf(time.Now()), start: place, asOf: asOf, topics: p.topics, trails: make([]*trail, p.cfg.Shards)}
	for s := range e.trails {
		e.trails[s] = newTrail()
	}
	e.lead.Store(leadUnknown)
	p.epoch, p.trails = e, e.trails
	clear(p.next)
	p.lead, p.taken = 0, 0
	if !asOf.known {
		p.land(place, 0)
	}
}

// standAt puts every shard of an epoch that has just begun, without last values, at a place
// of its own, counted through all passes. The places stay as they are from then on.
func (p *Player) standAt(places []wire.Ordinal) {
	p.epoch.places = places
	for s, place := range places {
		p.next[s] = place
		p.trails[s].from(place)
	}
	p.stand()
}

// nameEpoch says which epoch it is that was begun.
func (p *Player) nameEpoch(epoch wire.Epoch) {
	p.status.mu.Lock()
	p.epoch.epoch = epoch
	p.status.mu.Unlock()
	p.history.add(p.epoch)
	p.show()
}

// land says that the last values are through: there were so many.
func (e *sentEpoch) land(lead wire.Ordinal) {
	for _, t := range e.trails {
		t.reach(e.start + lead)
	}
	e.place.Store(uint64(e.start + lead))
	e.lead.Store(uint64(lead))
}

// reached is the place, counted through all passes, up to which everything of the epoch
// has gone out: where shards play by themselves that of the one furthest behind.
func (e *sentEpoch) reached(lanes bool) wire.Ordinal {
	lead := e.lead.Load()
	if lead == leadUnknown {
		return e.start
	}
	at := e.place.Load()
	if lanes {
		at = e.trails[0].at.Load()
		for _, t := range e.trails {
			at = min(at, t.at.Load())
		}
	}
	return wire.Ordinal(at - lead)
}

// furthest is the place, counted through all passes, behind the latest record that has
// gone out.
func (e *sentEpoch) furthest() wire.Ordinal {
	lead := e.lead.Load()
	if lead == leadUnknown {
		return e.start
	}
	at := uint64(0)
	for _, t := range e.trails {
		at = max(at, t.at.Load())
	}
	return wire.Ordinal(at - lead)
}

func (h *history) add(e *sentEpoch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.epochs) == epochsMax {
		h.gone = h.epochs[0].epoch
		h.epochs = append(h.epochs[:0:0], h.epochs[1:]...)
	}
	h.epochs = append(h.epochs, e)
}

// all returns the epochs, oldest first.
func (h *history) all() []*sentEpoch {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.epochs[:len(h.epochs):len(h.epochs)]
}

// find returns an epoch, whether it is the one at hand, or why it is not there.
func (h *history) find(epoch wire.Epoch) (e *sentEpoch, latest bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, e := range h.epochs {
		if e.epoch == epoch {
			return e, i == len(h.epochs)-1, nil
		}
	}
	if h.gone != 0 && epoch <= h.gone {
		return nil, false, tape.ErrGone
	}
	return nil, false, tape.ErrUnknownEpoch
}

// source returns a source to read from here and there.
func (h *history) source(s Source) Source {
	h.opened.Do(func() {
		h.src = s // where it cannot be opened once more, it serves as well
		if again, err := s.Reopen(); err == nil {
			h.src, h.again = again, again
		}
	})
	return h.src
}

// close lets go of the source. Nobody may read any more.
func (h *history) close() {
	h.last.forget()
	if h.again != nil {
		_ = h.again.Close() // it was opened for reading
		h.again = nil
	}
}
