package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/binarystar"
)

// decksNote is what the decks of a pair tell each other beside who is active: the active
// ones what there is to stand by for, the passive ones what they have of that. It goes with
// every announcement, as JSON; what is not known in it is ignored.
type decksNote struct {
	Bus   string      `json:"bus"` // where commands are taken
	Decks []deckEntry `json:"decks"`
}

// deckEntry is a deck of a decksNote.
type deckEntry struct {
	// Args are those of the command that opened it, without where it is bound.
	Args control.DeckOpen `json:"args"`
	// Stream is another one for each stream: a deck that is stopped and played again has
	// a new one, and one that takes over goes on with the other one's.
	Stream uint64   `json:"stream,omitempty"`
	Shards []string `json:"shards,omitempty"` // none: it could not be opened
	Other  []string `json:"other,omitempty"`  // those of the other one, as far as was heard
	Over   bool     `json:"over,omitempty"`   // the stream has ended
	Ready  bool     `json:"ready,omitempty"`  // it could take over
	Error  string   `json:"error,omitempty"`  // why it could not
}

// parseDecksNote reads what another process has written.
func parseDecksNote(b []byte) (*decksNote, error) {
	n := &decksNote{}
	if err := json.Unmarshal(b, n); err != nil {
		return nil, fmt.Errorf("a note of no decks: %w", err)
	}
	for i := range n.Decks {
		if err := control.CheckName("deck", n.Decks[i].Args.Deck); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// entry finds a deck; nil where it is not there.
func (n *decksNote) entry(name string) *deckEntry {
	if n == nil {
		return nil
	}
	i := slices.IndexFunc(n.Decks, func(e deckEntry) bool { return e.Args.Deck == name })
	if i < 0 {
		return nil
	}
	return &n.Decks[i]
}

// heard is what the other one says now; nil where it does not.
func (l *decksLink) heard() (note *decksNote, state string) {
	st := l.Status()
	if st.Silent {
		return nil, ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch st.Peer {
	case binarystar.Active.String():
		return l.active, st.Peer
	case binarystar.Passive.String():
		return l.standby, st.Peer
	}
	return nil, st.Peer
}

// entry is what the other one said of a deck last, whatever it was.
func (l *decksLink) entry(name string) *deckEntry {
	active := l.leads()
	l.mu.Lock()
	defer l.mu.Unlock()
	if active {
		if e := l.standby.entry(name); e != nil {
			return e
		}
	}
	return l.active.entry(name)
}

// note is what there is to tell.
func (l *decksLink) note() *decksNote {
	n := &decksNote{Bus: l.bus, Decks: []deckEntry{}}
	for _, d := range l.house.list() {
		n.Decks = append(n.Decks, d.entry())
	}
	if l.leads() {
		return n
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, f := range l.faults {
		if n.entry(name) == nil {
			n.Decks = append(n.Decks, deckEntry{Args: control.DeckOpen{Deck: name}, Error: firstLine(f.err.Error())})
		}
	}
	slices.SortFunc(n.Decks, func(a, b deckEntry) int { return bytes.Compare([]byte(a.Args.Deck), []byte(b.Args.Deck)) })
	return n
}

// plainArgs are arguments without where the deck is bound, which is each one's own.
func plainArgs(a control.DeckOpen) control.DeckOpen {
	a.Bind, a.ResyncBind = "", ""
	return a
}

func sameArgs(a, b control.DeckOpen) bool {
	x, err := json.Marshal(plainArgs(a))
	y, err2 := json.Marshal(plainArgs(b))
	return err == nil && err2 == nil && bytes.Equal(x, y)
}

// entry is the deck in a note.
func (d *deck) entry() deckEntry {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.run
	e := deckEntry{Args: plainArgs(d.args), Stream: r.stream, Shards: r.endpoints, Over: r.over || r.rests.Load(), Ready: r.ready()}
	if r.err != nil {
		e.Error = firstLine(r.err.Error())
	}
	if other := d.house.link.entry(d.name); other != nil {
		e.Other = other.Shards
	}
	return e
}

// prepare makes the arguments of a new deck those of one of a pair. own: they are of a
// table of this process.
func (l *decksLink) prepare(args *control.DeckOpen, own bool) error {
	if l == nil {
		return nil
	}
	c := &l.house.cfg.decks
	place := l.house.binds[args.Deck]
	switch {
	case len(args.Barrier) > 0 || args.Faults != "":
		return &control.Error{Code: control.Refused, Reason: "the decks here are a pair, which plays to readers at their own pace, over a good network: no barrier, no faults",
			Try: "leave them out, or open the deck at a serve that is none of a pair"}
	case own:
		place = deckBinds{args.Bind, args.ResyncBind}
		l.house.binds[args.Deck] = place
	case args.Bind != "" || args.ResyncBind != "" && args.ResyncBind != "off":
		return &control.Error{Code: control.Refused, Reason: "the decks here are a pair, and each of the two has endpoints of its own",
			Try: "leave bind and resync_bind out: decks.address and decks.ports choose them, or a [[deck]] of this name in the configuration of each (docs/CONFIG.md)"}
	}
	if args.Clock == "" {
		args.Clock = c.clock
	}
	if args.Speed == "" {
		args.Speed = c.speed
	}
	if args.Bind == "" {
		args.Bind = place.bind
	}
	if args.ResyncBind == "" {
		args.ResyncBind = place.resync
	}
	return l.checkRoom(args)
}

// checkRoom refuses a deck that the other one could not be told of.
func (l *decksLink) checkRoom(args *control.DeckOpen) error {
	n := l.note()
	n.Decks = append(n.Decks, deckEntry{Args: *args})
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if len(b) > binarystar.NoteMax-noteRoom {
		return &control.Error{Code: control.Busy, Reason: "the other one of the pair cannot be told of one more deck", Try: "close a deck, or name topics by shorter or fewer prefixes"}
	}
	return nil
}

// noteRoom is how much of a note is left for what there is to say of decks later on.
const noteRoom = 16 << 10

// awaitStandby waits until the other one has said how it stands by for a deck, if it is
// there, and for not longer than a few announcements take.
func (l *decksLink) awaitStandby(ctx context.Context, d *deck) {
	if l == nil {
		return
	}
	l.wake()
	ctx, cancel := context.WithTimeout(ctx, standbyBeats*max(l.house.cfg.decks.pair.heartbeat, standbyLook))
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		note, state := l.heard()
		if state != binarystar.Passive.String() {
			return // nobody stands by
		}
		stream := d.entry().Stream
		if e := note.entry(d.name); e != nil && (e.Error != "" || e.Stream == stream && e.Ready) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// standbyBeats is how many heartbeats a command waits for the word of who stands by.
const standbyBeats = 4
