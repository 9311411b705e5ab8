package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tapedeck/tapedeck/control"
)

// deckHouse is every deck that is open in this process.
type deckHouse struct {
	cfg   *serveConfig
	tapes *tapesDir
	board *cloneBoard     // where their state is shown; may be nil
	shown *metricsService // where their numbers are; may be nil
	out   *output
	life  context.Context // of the decks
	ports portPool
	link  *decksLink           // to the other one of a pair; nil: these are none
	binds map[string]deckBinds // of a pair: where decks of the configuration are bound, by name

	mu     sync.Mutex
	closed bool
	decks  map[string]*deck // nil where one is being opened
	ending sync.WaitGroup   // decks that are open, or being opened or closed
}

// deckBinds is where a deck is bound, as it was told to be.
type deckBinds struct{ bind, resync string }

func newDeckHouse(life context.Context, cfg *serveConfig, tapes *tapesDir, board *cloneBoard, shown *metricsService, out *output) (*deckHouse, error) {
	first, last, err := portRange(cfg.decks.ports)
	if err != nil {
		return nil, usagef("decks.ports: %v", err)
	}
	return &deckHouse{
		cfg: cfg, tapes: tapes, board: board, shown: shown, out: out, life: life,
		ports: portPool{first: first, last: last, taken: map[int]bool{}}, decks: map[string]*deck{},
		binds: map[string]deckBinds{},
	}, nil
}

// find returns a deck; where no name is given, the one that is open.
func (h *deckHouse) find(name string) (*deck, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if name == "" {
		names := h.namesLocked()
		switch len(names) {
		case 0:
			return nil, &control.Error{Code: control.NotFound, Reason: "no deck is open", Try: "tapedeck deck play TAPE opens one; tapedeck tapes list shows the tapes"}
		case 1:
			return h.decks[names[0]], nil
		}
		return nil, &control.Error{Code: control.Refused, Reason: fmt.Sprintf("%d decks are open, and none was named", len(names)),
			Try: "name one of " + strings.Join(names, ", ")}
	}
	if err := control.CheckName("deck", name); err != nil {
		return nil, err
	}
	d, known := h.decks[name]
	switch {
	case !known:
		try := "tapedeck deck play TAPE opens one"
		if names := h.namesLocked(); len(names) > 0 {
			try = "open are " + strings.Join(names, ", ")
		}
		return nil, &control.Error{Code: control.NotFound, Reason: "there is no deck " + name, Try: try}
	case d == nil:
		return nil, &control.Error{Code: control.Refused, Reason: "deck " + name + " is being opened", Try: "say it again in a moment"}
	}
	return d, nil
}

// namesLocked are the names of the open decks.
func (h *deckHouse) namesLocked() []string {
	var names []string
	for name, d := range h.decks {
		if d != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// list returns the open decks, by name.
func (h *deckHouse) list() []*deck {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []*deck
	for _, name := range h.namesLocked() {
		list = append(list, h.decks[name])
	}
	return list
}

// states are the open decks as they are.
func (h *deckHouse) states() []control.DeckState {
	states := []control.DeckState{}
	for _, d := range h.list() {
		states = append(states, d.state())
	}
	return states
}

// open opens a deck. own: the configuration of this process has it.
func (h *deckHouse) open(args *control.DeckOpen, own bool) (*deck, error) {
	if len(args.Tapes) == 0 {
		return nil, &control.Error{Code: control.BadRequest, Reason: "no tape was named", Try: "tapedeck tapes list shows what there is"}
	}
	if args.Deck == "" {
		args.Deck = baseName(args.Tapes[0])
	}
	if err := control.CheckName("deck", args.Deck); err != nil {
		return nil, err
	}
	if err := h.link.prepare(args, own); err != nil {
		return nil, err
	}
	return h.openAs(args, runOptions{})
}

// openAs is open for arguments that are whole.
func (h *deckHouse) openAs(args *control.DeckOpen, o runOptions) (*deck, error) {
	if err := h.reserve(args.Deck); err != nil {
		return nil, err
	}
	d, err := newServedDeck(h, args, o)
	if err == nil && !h.take(d) {
		err = &control.Error{Code: control.NotAvailable, Reason: "serve is stopping", Try: "say it again when it has come back"}
		_ = d.close() // nobody has seen it
	}
	if err != nil {
		h.mu.Lock()
		delete(h.decks, args.Deck)
		h.mu.Unlock()
		h.ending.Done()
		return nil, err
	}
	d.begin()
	return d, nil
}

// has reports whether there is a deck of a name, or about to be.
func (h *deckHouse) has(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, known := h.decks[name]
	return known
}

// take puts a deck on the list, unless there are to be no more.
func (h *deckHouse) take(d *deck) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.decks[d.name] = d
	}
	return !h.closed
}

// reserve takes a name.
func (h *deckHouse) reserve(name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	d, known := h.decks[name]
	switch {
	case h.closed:
		return &control.Error{Code: control.NotAvailable, Reason: "serve is stopping", Try: "say it again when it has come back"}
	case known && d == nil:
		return &control.Error{Code: control.Refused, Reason: "deck " + name + " is being opened", Try: "tapedeck deck list shows it in a moment"}
	case known:
		return &control.Error{Code: control.Refused, Reason: "deck " + name + " is open", Try: "tapedeck deck play " + name + " plays it; close lets go of it; or choose another name"}
	case len(h.decks) >= h.cfg.decks.max:
		return &control.Error{Code: control.Busy, Reason: fmt.Sprintf("%d decks are open, which is decks.max", len(h.decks)), Try: "tapedeck deck close lets go of one"}
	}
	h.decks[name] = nil
	h.ending.Add(1)
	return nil
}

// close closes a deck. It returns when nothing of it is left, or with the context,
// while the deck goes on closing.
func (h *deckHouse) close(ctx context.Context, d *deck) error {
	done := make(chan error, 1)
	go func() { done <- d.close() }()
	select {
	case err := <-done:
		h.gone(d)
		return err
	case <-ctx.Done():
		go func() {
			<-done
			h.gone(d)
		}()
		return ctx.Err()
	}
}

// gone takes a closed deck off the list, once.
func (h *deckHouse) gone(d *deck) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.decks[d.name] == d {
		delete(h.decks, d.name)
		h.ending.Done()
	}
}

// closeAll closes every deck and takes no more.
func (h *deckHouse) closeAll() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	for _, d := range h.list() {
		go func() {
			if err := d.close(); err != nil {
				h.out.remark("deck %s: %v", d.name, err)
			}
			h.gone(d)
		}()
	}
	h.ending.Wait()
}

// portPool gives decks ports of their own.
type portPool struct {
	first, last int
	mu          sync.Mutex
	taken       map[int]bool
}

// take gives n ports in a row that no deck has, from one on; 0 where there are none.
func (p *portPool) take(from, n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at := max(from, p.first); at+n-1 <= p.last; at++ {
		free := true
		for i := range n {
			free = free && !p.taken[at+i]
		}
		if free {
			for i := range n {
				p.taken[at+i] = true
			}
			return at
		}
	}
	return 0
}

// give takes ports back.
func (p *portPool) give(at, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range n {
		delete(p.taken, at+i)
	}
}
