package main

import (
	"context"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/control/binarystar"
	"github.com/tapedeck/tapedeck/wire"
)

// deckPairStatus is how a pair fares, with what a passive player knows of the other one.
type deckPairStatus struct {
	binarystar.Status
	Readers  int        `json:"readers"`
	Stream   wire.Epoch `json:"stream,omitempty"` // epoch that the active one plays, as this one heard
	Heard    int64      `json:"heard_ns"`         // how long ago
	Position wire.Nanos `json:"position,omitempty"`
	Ready    bool       `json:"ready"` // a passive one knows what a takeover needs
}

func (p *deckPair) status() (s deckPairStatus) {
	s.Status = p.Status()
	h := p.current.Load()
	if h == nil {
		return s
	}
	s.Readers = len(h.pub.Readers())
	f := h.follower.Following()
	if s.State != binarystar.Passive.String() || !f.Known {
		return s
	}
	s.Stream, s.Position, s.Heard = f.Deck.Epoch, f.Deck.Position, int64(time.Since(f.Heard))
	s.Ready = s.Heard < int64(readyWithin) && !s.Silent
	return s
}

// readyWithin is how lately a passive player must have heard what the other one does.
const readyWithin = 2 * time.Second

// watch says every second how the pair fares, and when a passive player has become ready.
func (p *deckPair) watch(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for n, was := 0, false; ; n++ {
			st := p.status()
			if n%4 == 0 || st.Ready != was {
				_ = p.out.message("play.pair", st, "")
			}
			if st.Ready && !was {
				p.out.remark("ready to take over")
			}
			was = st.Ready
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}
