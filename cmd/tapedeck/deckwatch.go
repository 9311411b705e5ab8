package main

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/control"
)

func newDeckWatch(f *deckFlags) *cobra.Command {
	return &cobra.Command{
		Use: "watch [DECK]", Short: "Follow a deck, until it is closed",
		Long: `Follow a deck: a line for each change, until the deck is closed or you press Ctrl-C.
On a terminal the last line is where the deck is. With --json its position is there,
too, up to five times a second.`,
		Example: example("tapedeck deck watch", "tapedeck deck watch es --json | jq .position_time"),
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			of, _, err := f.of(args, 0)
			if err != nil {
				return err
			}
			var at control.DeckWatch
			if err := f.bus.ask(cmd.Context(), control.ServiceDeck, "watch", of, &at); err != nil {
				return err
			}
			follow, err := newFollower(at.ClonePlace, at.Prefix)
			if err != nil {
				return withHint(err, "tapedeck deck state shows a deck once")
			}
			w := &deckWatcher{out: newOutput(cmd), follow: follow, stateKey: at.Prefix + control.KeyState, positionKey: at.Prefix + control.KeyPosition}
			w.state.Store(&at.State)
			stop := watch(cmd.Context(), w.out, w.line)
			defer stop()
			return follow.run(cmd.Context(), w.out, positionPause, w.step)
		},
	}
}

// positionPause is how often at most positions are shown.
const positionPause = 200 * time.Millisecond

// deckPositionLine is the JSON form of where a deck is.
type deckPositionLine struct {
	Deck string `json:"deck"`
	control.DeckPosition
}

// deckWatcher prints what happens to a deck.
type deckWatcher struct {
	out                   *output
	follow                *follower
	stateKey, positionKey string
	seen                  uint64                            // version that was printed last
	state                 atomic.Pointer[control.DeckState] // with the latest position
}

func (w *deckWatcher) line() string { return deckLine(w.state.Load()) }

// step prints what has changed.
func (w *deckWatcher) step() (more bool, err error) {
	keys, values := w.follow.take()
	for _, key := range keys {
		switch value := values[key]; {
		case key == w.stateKey && value == nil:
			return false, w.out.message("deck.closed", struct {
				Deck string `json:"deck"`
			}{w.state.Load().Deck}, w.state.Load().Deck+": closed")
		case key == w.stateKey:
			if err := w.changed(value); err != nil {
				return false, err
			}
		case key == w.positionKey && value != nil:
			if err := w.moved(value); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

func (w *deckWatcher) changed(value []byte) error {
	state := new(control.DeckState)
	if err := json.Unmarshal(value, state); err != nil {
		return fmt.Errorf("%s: %w", w.stateKey, err)
	}
	w.state.Store(state)
	if state.Version == w.seen {
		return nil
	}
	w.seen = state.Version
	return w.out.message("deck", state, deckLine(state))
}

func (w *deckWatcher) moved(value []byte) error {
	line := deckPositionLine{Deck: w.state.Load().Deck}
	if err := json.Unmarshal(value, &line.DeckPosition); err != nil {
		return fmt.Errorf("%s: %w", w.positionKey, err)
	}
	state := *w.state.Load()
	state.DeckPosition = line.DeckPosition
	w.state.Store(&state)
	return w.out.message("deck.position", &line, "")
}
