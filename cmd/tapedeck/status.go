package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/control"
)

func newStatus() *cobra.Command {
	var (
		f     busFlags
		watch bool
	)
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what tapedeck serve is doing",
		Long: `Show decks, recorders, readers and jobs of a tapedeck serve. With --watch it is shown
anew whenever something has changed; that costs nobody anything, since the state is
followed, not asked for.`,
		Example: example("tapedeck status", "tapedeck status --watch", "tapedeck status --json | jq .decks"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch {
				return watchStatus(cmd, &f)
			}
			var s control.Status
			if err := f.ask(cmd.Context(), control.ServiceStatus, "status", nil, &s); err != nil {
				return err
			}
			return newOutput(cmd).message("status", &s, statusText(&s, nil, 0, 0))
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "follow it")
	return cmd
}

// statusPause is how often at most the status is shown anew.
const statusPause = 500 * time.Millisecond

// watchStatus shows the status until the context ends: on a terminal in place,
// otherwise one after the other.
func watchStatus(cmd *cobra.Command, f *busFlags) error {
	var first control.Status
	if err := f.ask(cmd.Context(), control.ServiceStatus, "status", nil, &first); err != nil {
		return err
	}
	follow, err := newFollower(first.Clone, "")
	if err != nil {
		return withHint(err, "tapedeck status shows it once")
	}
	out := newOutput(cmd)
	inPlace := !out.json && isTerminal(cmd.OutOrStdout())
	return follow.run(cmd.Context(), out, statusPause, func() (bool, error) {
		follow.take()
		s, readers, err := statusOf(&first, follow.all())
		if err != nil {
			return false, err
		}
		if out.json {
			return true, out.message("status", &statusLine{s, readers}, "")
		}
		if !inPlace {
			return true, out.text(statusText(s, readers, 0, 0) + "\n")
		}
		const home, eraseLine, eraseBelow = "\x1b[H", "\x1b[K", "\x1b[J"
		width, height := terminalSize(cmd)
		text := statusText(s, readers, width, height-1)
		return true, out.text(home + strings.ReplaceAll(text, "\n", eraseLine+"\n") + eraseLine + "\n" + eraseBelow)
	})
}

// statusLine is the message status of status --watch.
type statusLine struct {
	*control.Status
	Readers []control.ReaderState `json:"readers"`
}

// statusOf puts a status together from the keys that are shared.
func statusOf(first *control.Status, values map[string][]byte) (*control.Status, []control.ReaderState, error) {
	s := *first
	s.Decks, s.Recorders = nil, nil
	readers := []control.ReaderState{}
	positions := map[string]control.DeckPosition{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		var err error
		switch value := values[key]; {
		case key == control.KeyStatus:
			decks, recorders := s.Decks, s.Recorders
			err = json.Unmarshal(value, &s)
			s.Decks, s.Recorders = decks, recorders
		case strings.HasPrefix(key, control.KeyDecks) && strings.HasSuffix(key, "/"+control.KeyState):
			s.Decks, err = appendValue(s.Decks, value)
		case strings.HasPrefix(key, control.KeyDecks) && strings.HasSuffix(key, "/"+control.KeyPosition):
			var p control.DeckPosition
			err = json.Unmarshal(value, &p)
			positions[strings.Split(key, "/")[2]] = p
		case strings.HasPrefix(key, control.KeyRecorders):
			s.Recorders, err = appendValue(s.Recorders, value)
		case strings.HasPrefix(key, control.KeyReaders):
			readers, err = appendValue(readers, value)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	for i := range s.Decks {
		if p, ok := positions[s.Decks[i].Deck]; ok {
			s.Decks[i].DeckPosition = p
		}
	}
	return &s, readers, nil
}

func appendValue[T any](list []T, value []byte) ([]T, error) {
	var v T
	err := json.Unmarshal(value, &v)
	return append(list, v), err
}

// terminalSize is the size of the terminal on standard output; 80 by 24 where it
// does not say.
func terminalSize(cmd *cobra.Command) (width, height int) {
	if f, ok := cmd.OutOrStdout().(interface{ Fd() uintptr }); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 && size.Row > 0 {
			return int(size.Col), int(size.Row)
		}
	}
	return 80, 24
}
