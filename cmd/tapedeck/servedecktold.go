package main

import (
	"context"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/binarystar"
)

// pairOf is the deck's part in a pair, for its state. d.mu is held.
func (l *decksLink) pairOf(d *deck) *control.DeckPair {
	if l == nil {
		return nil
	}
	st := l.Status()
	p := &control.DeckPair{Role: l.role, State: st.State, Epoch: st.Epoch}
	other, state := l.heard()
	switch {
	case st.State != binarystar.Active.String():
		p.Ready = d.run.ready()
		if e := other.entry(d.name); e != nil {
			p.Other = l.reach(e.Shards)
		}
	case state == binarystar.Passive.String():
		if e := other.entry(d.name); e != nil {
			p.Other, p.Ready, p.Error = l.reach(e.Shards), e.Ready && e.Stream == d.run.stream, e.Error
		}
	default:
		p.Error = "the other one is not there"
	}
	return p
}

// decksPairStatus is how a pair of decks fares.
type decksPairStatus struct {
	binarystar.Status
	Decks   int  `json:"decks"`
	Readers int  `json:"readers"`
	Ready   bool `json:"ready"` // each deck of a passive one could take over
}

func (l *decksLink) fares() decksPairStatus {
	s := decksPairStatus{Status: l.Status()}
	list := l.house.list()
	s.Decks, s.Ready = len(list), s.State == binarystar.Passive.String() && !s.Silent
	for _, d := range list {
		d.mu.Lock()
		if !d.run.over {
			s.Readers += len(d.run.pub.Readers())
		}
		s.Ready = s.Ready && (d.run.ready() || d.run.rests.Load())
		d.mu.Unlock()
	}
	l.mu.Lock()
	s.Ready = s.Ready && len(l.faults) == 0 && l.active != nil && len(l.active.Decks) == len(list)
	l.mu.Unlock()
	return s
}

// tell writes what there is to say, from when the process has said what it serves: whose
// turn it is, and every second how the pair fares.
func (l *decksLink) tell(ctx context.Context, said *output, begun <-chan struct{}) error {
	select {
	case <-begun:
	case <-ctx.Done():
		return ctx.Err()
	}
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for n, last, ready := 0, (deckTurn{}), false; ; n++ {
		turn, moved := l.latest()
		if turn != last {
			last = turn
			name, text := "decks.passive", "passive"
			if turn.active {
				name, text = "decks.active", "active"
			}
			_ = said.message(name, turn, "")
			l.out.remark("the decks are %s in epoch %d: %s", text, turn.Epoch, turn.Reason)
		}
		st := l.fares()
		if n%4 == 0 || st.Ready != ready {
			_ = said.message("decks.pair", st, "")
		}
		if st.Ready && !ready {
			l.out.remark("the decks are ready to take over")
		}
		ready = st.Ready
		select {
		case <-tick.C:
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
