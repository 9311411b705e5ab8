package main

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// TestDeckInLockStep: a deck waits for the reader that it names, takes commands
// meanwhile, and plays when it is there; its network may be a bad one.
func TestDeckInLockStep(t *testing.T) {
	d := newDeckTest(t, 500, 2)
	deck := control.ServiceDeck
	for _, args := range []control.DeckOpen{
		{Barrier: []string{"desk"}, Live: true}, {Barrier: []string{"desk", "desk"}}, {Barrier: []string{"desk"}, BarrierWindow: -1},
		{Barrier: []string{"desk"}, BarrierTimeout: "soon"}, {Faults: "drop=2"}, {Faults: "lose=1%"},
	} {
		args.Tapes, args.Bind = []string{"day.tape"}, "tcp://127.0.0.1:*"
		d.fails(deck, "open", args, control.BadRequest, "")
	}
	r := d.open(control.DeckOpen{Speed: "max", Barrier: []string{"desk"}, BarrierWindow: 10, Faults: "dup=20%,seed=1"})
	if r.Phase != "waiting" || r.Lossless || len(r.Barrier) != 1 || r.Faults == "" {
		t.Errorf("%+v", r.DeckState)
	}
	d.do("pause", nil)
	d.do("resume", nil)
	l := &listener{records: map[wire.Epoch]int{}}
	l.more = sync.NewCond(&l.mu)
	sub, err := subscriber.New(subscriber.Config{Endpoints: r.Shards, Name: "desk", LockStep: true}, l)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sub.Run(ctx) }()
	d.awaitPhase("day", "held")
	sum := sub.Summary() // all of it was handled before
	if sum.Records != 500 || sum.Lost != 0 || sum.Repeated == 0 {
		t.Errorf("%+v", sum)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
