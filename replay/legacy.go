package replay

import (
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// Legacy is what a player that yields to the other one of a pair leaves to the player that
// stands by next in the same process: where it was, in case the other one is gone before
// it has said anything, and what it has sent or heard, for whoever missed some of it.
type Legacy struct {
	deck  wire.DeckNotice
	at    time.Time
	epoch *sentEpoch
	start map[int][]begun

	epochs []*sentEpoch
	gone   wire.Epoch
}

// Leave returns what the follower's player leaves; Run must have returned, where it was
// called. lineage is that of the epoch that it played, as Publisher.Lineage returns it. It
// is nil where the player has neither played nor heard anything.
func (f *Follower) Leave(lineage [][]wire.SessionPlace) *Legacy {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.player
	l := &Legacy{deck: f.deck, at: f.heard, epoch: f.epoch, start: f.start}
	l.epochs, l.gone = p.history.all(), p.history.gone
	if p.epoch.epoch != 0 {
		for s, places := range lineage {
			f.begins(s, p.epoch.epoch, startOf(places))
		}
		l.deck, l.at, l.epoch, l.start = p.lastNotice(), time.Now(), p.epoch, f.start
	}
	if l.epoch == nil {
		return nil
	}
	return l
}

// startOf is how an epoch began that has a lineage.
func startOf(places []wire.SessionPlace) *wire.SessionStart {
	if len(places) == 0 {
		return nil
	}
	return &wire.SessionStart{
		Reason: wire.TakeoverReason, PreviousEpoch: places[0].Epoch, PreviousNext: places[0].Next, Before: places[1:],
	}
}

// lastNotice is what the player would have said of itself before its run ended.
func (p *Player) lastNotice() wire.DeckNotice {
	st := p.State()
	switch {
	case p.waiting:
		st.Phase = Waiting
	case p.paused:
		st.Phase = Paused
	case p.ended:
		st.Phase = Held
	default:
		st.Phase = Playing
	}
	return p.notice(st)
}

// Inherit makes a follower that has not heard the other one begin with what the player of
// this process before left, which may be nil. What the other one says counts for more.
func (f *Follower) Inherit(l *Legacy) {
	if l == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deck, f.heard, f.epoch, f.start, f.own = l.deck, l.at, l.epoch, l.start, true
	f.player.history.inherit(l.epochs, l.gone)
}

// inherit takes over what another history remembered.
func (h *history) inherit(epochs []*sentEpoch, gone wire.Epoch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.epochs, h.gone = epochs, gone
}
