package replay

import (
	"time"

	"github.com/tapedeck/tapedeck/wire"
	"github.com/tapedeck/tapedeck/wire/lineage"
)

// Legacy is what a player that yields to the other one of a pair leaves to the player that
// stands by next in the same process: where it was, in case the other one is gone before
// it has said anything, whether that was the end, and what it has sent or heard, for
// whoever missed some of it.
type Legacy struct {
	deck  wire.DeckNotice
	at    time.Time
	epoch *sentEpoch
	kin   []lineage.Book
	ended bool // the stream, everything having been played

	epochs []*sentEpoch
	gone   wire.Epoch
}

// Leave returns what the follower's player leaves; Run must have returned, where it was
// called. places are those of the epoch that it played, as Publisher.Lineage returns them. It
// is nil where the player has neither played nor heard anything.
func (f *Follower) Leave(places [][]wire.SessionPlace) *Legacy {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.player
	l := &Legacy{deck: f.deck, at: f.heard, epoch: f.epoch, kin: f.kin}
	l.epochs, l.gone = p.history.all(), p.history.gone
	if p.epoch.epoch != 0 {
		for s, list := range places {
			for _, at := range list {
				f.kin[s].Connect(p.epoch.epoch, at.Epoch, int64(at.Next))
			}
		}
		l.deck, l.at, l.epoch, l.ended = p.lastNotice(), time.Now(), p.epoch, p.through
	}
	if l.epoch == nil {
		return nil
	}
	return l
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
	f.deck, f.heard, f.epoch, f.kin, f.own = l.deck, l.at, l.epoch, l.kin, true
	if l.ended {
		f.ended = map[int]bool{} // until the other one's hello says that it plays
		for s := range f.player.cfg.Shards {
			f.ended[s] = true
		}
	}
	f.player.history.inherit(l.epochs, l.gone)
}

// inherit takes over what another history remembered.
func (h *history) inherit(epochs []*sentEpoch, gone wire.Epoch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.epochs, h.gone = epochs, gone
}
