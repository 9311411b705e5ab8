package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/binarystar"
	"github.com/tapedeck/tapedeck/control/majordomo"
)

// decksLink is the decks' half of a pair: all decks of a process are active together, or
// passive. Of a passive one each deck stands by for that of the same name. A nil one is
// no pair.
type decksLink struct {
	*pairLink
	house  *deckHouse
	role   string
	peer   string
	back   time.Duration
	host   string // where the other one's decks are followed; "": as it says
	out    *output
	asks   *majordomo.Client // of a bus that the other one is on, too; else nil
	bus    string            // of this process
	began  time.Time
	warned string    // of a voter that does not vote; the voter's own
	noted  sync.Once // that the other one says what this one does not understand

	mu      sync.Mutex
	turn    deckTurn
	moved   chan struct{}         // closed when turn is another one
	active  *decksNote            // what the other one said when it was active last
	standby *decksNote            // what it said when it was passive last
	faults  map[string]*deckFault // decks of the active one that cannot be had here
	pending chan struct{}         // something has come that keep should look at
}

// deckFault is why a deck cannot stand by.
type deckFault struct {
	err error
	at  time.Time
}

// decksPairSettings are the settings of decks that are a pair.
type decksPairSettings struct {
	pairSettings
	back time.Duration
	host string
}

func (p *decksPairSettings) settings() []setting {
	return append(p.pairSettings.settings(partDecks, "processes with decks"),
		timeSetting("decks.pair_back", &p.back, 0, "how far to go back, in a takeover, for readers that do not say how far they have come"),
		textSetting("decks.pair_follow", &p.host, `host at which the other one's decks are followed; "": where it says that they are bound or, where that is everywhere, the host of decks.pair_peer`),
	)
}

// checkDecks refuses what makes no pair of decks.
func (c *serveConfig) checkDecks() error {
	p := &c.decks.pair
	switch err := p.check(partDecks); {
	case err != nil:
		return err
	case p.role == "" && p.host != "":
		return usagef("decks.pair says which of a pair this one is: primary or backup")
	case p.role != "" && !c.has(partDecks):
		return usagef("decks.pair: there are no decks among the parts: %s", strings.Join(c.parts, ", "))
	}
	return nil
}

// pairDecks makes the decks of this process those of a pair, where the settings say so.
func (s *station) pairDecks() error {
	c := &s.cfg.decks.pair
	if c.role == "" {
		return nil
	}
	l := &decksLink{
		house: s.decks, role: c.role, peer: c.peer, back: c.back, host: c.host, out: s.out, bus: s.bus, began: time.Now(),
		moved: make(chan struct{}), faults: map[string]*deckFault{}, pending: make(chan struct{}, 1),
	}
	if s.sharesBus() {
		var err error
		if l.asks, err = majordomo.NewClient(majordomo.ClientConfig{Endpoints: s.join, Context: s.inproc, Local: s.broker != nil, Timeout: busPatience, Tries: 1}); err != nil {
			return err
		}
		s.hold("decks' voter", l.asks.Close)
	}
	f := c.flags()
	f.dir = filepath.Join(s.cfg.workDir(s.tapes.root), partDecks+"-"+f.role)
	cfg := f.config(s.out)
	cfg.Vote, cfg.OnActive, cfg.OnPassive = l.vote, l.onTurn(true), l.onTurn(false)
	cfg.OnNote = func(note []byte) { l.hear(note, &l.active) }
	cfg.OnPassiveNote = func(note []byte) { l.hear(note, &l.standby) }
	s.decks.link = l
	var err error
	if l.pairLink, err = f.open("deck", cfg); err != nil {
		return withHint(err, "decks.pair_bind, decks.pair_peer and decks.pair_bus say where the two of a pair talk, and are asked")
	}
	s.start("decks' pair", l.Run, l.Close)
	if l.pairLink.bus != nil {
		return errors.Join(
			l.pairLink.bus.offer(control.ServiceDeck, s.decks.commands()),
			l.pairLink.bus.offer(control.ServiceReaders, s.decks.readersCommands()),
		)
	}
	return nil
}

// sharesBus reports whether others may be on the bus, the other one of the pair too.
func (s *station) sharesBus() bool { return s.broker == nil || s.pair != nil || len(s.join) > 1 }

// offerDecks puts the decks' services on the bus. On a bus that both of a pair are on,
// the active one alone is there, for a broker gives commands to any who offers.
func (s *station) offerDecks() error {
	if s.decks.link != nil && s.sharesBus() {
		s.start("decks on the bus", s.offerInTurn, nil)
		return nil
	}
	return errors.Join(
		s.serve(control.ServiceDeck, s.cfg.decks.commands, control.ServiceConfig{}, s.decks.commands()...),
		s.serve(control.ServiceReaders, 2, control.ServiceConfig{}, s.decks.readersCommands()...),
	)
}

// offerInTurn is offerDecks while the decks are active.
func (s *station) offerInTurn(ctx context.Context) error {
	for {
		turn, moved := s.decks.link.latest()
		if !turn.active {
			select {
			case <-moved:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := errors.Join(s.offerOnce(ctx), ctx.Err()); err != nil {
			return err
		}
	}
}

func (s *station) offerOnce(ctx context.Context) error {
	parts := newSupervisor()
	deck, err := s.serveBy(parts, control.ServiceDeck, s.cfg.decks.commands, control.ServiceConfig{}, s.decks.commands()...)
	if err != nil {
		return err
	}
	readers, err := s.serveBy(parts, control.ServiceReaders, 2, control.ServiceConfig{}, s.decks.readersCommands()...)
	if err != nil {
		return errors.Join(err, parts.stop())
	}
	hide := s.shown.showAs(showServices(deck, readers))
	ctx, cancel := context.WithCancel(ctx)
	go func() { // until it is the other one's turn
		defer cancel()
		for {
			turn, moved := s.decks.link.latest()
			if !turn.active {
				return
			}
			select {
			case <-moved:
			case <-ctx.Done():
				return
			}
		}
	}()
	err = parts.wait(ctx)
	cancel()
	hide()
	if stopErr := parts.stop(); err == nil {
		err = stopErr
	}
	return err
}

func (l *decksLink) onTurn(active bool) func(uint64, string) {
	return func(epoch uint64, reason string) {
		l.mu.Lock()
		l.turn = deckTurn{active: active, Epoch: epoch, Reason: reason}
		close(l.moved)
		l.moved = make(chan struct{})
		l.mu.Unlock()
		l.wake()
	}
}

// latest is whose turn it is, and a channel that is closed when that changes.
func (l *decksLink) latest() (deckTurn, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.turn, l.moved
}

func (l *decksLink) wake() {
	if l == nil {
		return
	}
	select {
	case l.pending <- struct{}{}:
	default:
	}
}

// leads reports whether decks play here: always, where there is no pair.
func (l *decksLink) leads() bool {
	if l == nil {
		return true
	}
	turn, _ := l.latest()
	return turn.active
}

// alone reports whether there is no other one that would go on.
func (l *decksLink) alone() bool {
	st := l.Status()
	return st.Silent || st.Peer != binarystar.Passive.String()
}

// accept refuses a command that changes something where the other one is to be told. A
// command is a client's vote.
func (l *decksLink) accept(ctx context.Context) error {
	if l == nil {
		return nil
	}
	if refused := l.Accept(ctx); refused != "" {
		return l.refusal(string(refused))
	}
	return nil
}

// refusal says who is to be told.
func (l *decksLink) refusal(why string) error {
	other := binarystar.Primary
	if l.role == other.String() {
		other = binarystar.Backup
	}
	st := l.Status()
	if st.State != binarystar.Passive.String() {
		return &control.Error{Code: control.Refused, Reason: fmt.Sprintf("the decks here, of the %s, are not active: %s", l.role, why),
			Try: "tapedeck pair status shows how the two stand, and pair promote makes one of them active (docs/OPERATIONS.md)"}
	}
	bus := ""
	l.mu.Lock()
	if l.active != nil {
		bus = l.active.Bus
	}
	l.mu.Unlock()
	if bus == "" {
		bus = "unknown"
	}
	return &control.Error{Code: control.Refused, Reason: fmt.Sprintf("the decks here, of the %s, are passive: those of the %v are active, and their bus is %s", l.role, other, bus),
		Try: "say it there: --bus " + bus}
}

// hear takes in what the other one has said.
func (l *decksLink) hear(note []byte, into **decksNote) {
	n, err := parseDecksNote(note)
	if err != nil {
		l.noted.Do(func() { l.out.remark("warning: from the other one of the decks' pair: %v", err) })
		return
	}
	l.mu.Lock()
	*into = n
	l.mu.Unlock()
	l.wake()
}

// vote tries the way that readers take or, where no deck is read, asks the bus whether
// the other one is there. Who hears the other one play does not take over, though the
// pair's link is silent; nor does who has not heard what the other one plays.
func (l *decksLink) vote(ctx context.Context) error {
	err := l.mayLead(ctx)
	if errors.Is(err, errUnasked) {
		err = l.unserved(ctx)
	}
	if err == nil || errors.Is(err, errUnasked) || errors.Is(err, errEarly) || ctx.Err() != nil {
		return err
	}
	if why := err.Error(); why != l.warned {
		l.warned = why
		l.out.remark("warning: the other one of the decks' pair is silent, and this one does not take over: %v", err)
	}
	return err
}

func (l *decksLink) mayLead(ctx context.Context) error {
	err := errUnasked
	passive := l.Status().State == binarystar.Passive.String()
	list := l.house.list()
	for _, d := range list {
		if r := d.standing(); r != nil && r.half.plays(ctx, l.house.cfg.decks.pair.heartbeat) {
			return fmt.Errorf("deck %s plays, as is heard at %s", d.name, strings.Join(r.follows, ","))
		}
	}
	for _, d := range list {
		r := d.standing()
		if r == nil || !r.pub.Wanted() {
			continue
		}
		switch {
		case r.half.follower.Following().Known:
		case passive:
			err = fmt.Errorf("what deck %s plays was not heard at %s", d.name, strings.Join(r.follows, ","))
			continue
		case r.half.elsewhere():
			return fmt.Errorf("readers of deck %s go on with a stream that was not heard here", d.name)
		case time.Since(l.began) < aloneWait:
			return errEarly
		}
		if err = greets(ctx, r.half.at[0]); err == nil {
			return nil
		}
	}
	return err
}

// unserved returns nil where nobody serves those who give commands.
func (l *decksLink) unserved(ctx context.Context) error {
	if l.asks == nil {
		switch {
		case l.Status().State != binarystar.WaitingPrimary.String():
			return errUnasked
		case time.Since(l.began) < aloneWait:
			return errEarly // readers of the other one may come
		}
		return nil // its bus is its own
	}
	reply, err := l.asks.Request(ctx, majordomo.ServiceMMI, []byte(control.ServiceDeck))
	if err != nil || len(reply) != 1 || string(reply[0]) != "404" {
		return errUnasked
	}
	return nil
}

// reach is where endpoints of the other one are reached from here.
func (l *decksLink) reach(endpoints []string) []string {
	list := make([]string, len(endpoints))
	for i, e := range endpoints {
		list[i] = e
		address, ok := strings.CutPrefix(e, "tcp://")
		host, port, err := net.SplitHostPort(address)
		if !ok || err != nil {
			continue
		}
		to := l.host
		if ip := net.ParseIP(host); to == "" && (host == "*" || ip != nil && ip.IsUnspecified()) {
			to = hostOf(l.peer)
		}
		if to != "" {
			list[i] = "tcp://" + net.JoinHostPort(to, port)
		}
	}
	return list
}

// hostOf is the host of a tcp endpoint, or "".
func hostOf(endpoint string) string {
	address, ok := strings.CutPrefix(endpoint, "tcp://")
	host, _, err := net.SplitHostPort(address)
	if !ok || err != nil {
		return ""
	}
	return host
}
