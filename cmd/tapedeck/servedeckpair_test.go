package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// pairedDecks are two processes of serve, each with decks that are one half of a pair and,
// where brokers is set, with a broker that is, too.
type pairedDecks struct {
	*stationTest // a client of both
	dir, tapes   string
	bus, link    [2]string
	brokerLink   [2]string
	asked        [2]string // where each of the two is asked by itself
	brokers      bool
	args         []string // further ones
	members      [2]*serveProcess
}

func newPairedDecks(t *testing.T, tapes string, brokers bool, args ...string) *pairedDecks {
	t.Helper()
	p := &pairedDecks{dir: t.TempDir(), tapes: tapes, brokers: brokers, args: args}
	for i := range 2 {
		at := func(what string) string { return "ipc://" + filepath.Join(p.dir, fmt.Sprint(what, i)) }
		p.bus[i], p.link[i], p.brokerLink[i], p.asked[i] = at("bus"), at("link"), at("broker"), at("asked")
	}
	return p
}

// start starts one of the two.
func (p *pairedDecks) start(t *testing.T, i int) {
	t.Helper()
	role := []string{"primary", "backup"}[i]
	args := []string{"--only", "broker,decks", "--bus", p.bus[i], "--work", filepath.Join(p.dir, "work"), "--set", "broker.liveness=5"}
	set := func(key, value string) { args = append(args, "--set", key+"="+value) }
	set("decks.pair", role)
	set("decks.pair_bind", p.link[i])
	set("decks.pair_peer", p.link[1-i])
	set("decks.pair_heartbeat", "100ms")
	set("decks.pair_bus", p.asked[i])
	if p.brokers {
		args = append(args, "--bus", p.bus[i]+","+p.bus[1-i])
		set("broker.pair", role)
		set("broker.pair_bind", p.brokerLink[i])
		set("broker.pair_peer", p.brokerLink[1-i])
		set("broker.pair_heartbeat", "100ms")
	}
	p.members[i] = startServe(t, p.tapes, append(args, p.args...)...)
	go func() { _, _ = io.Copy(io.Discard, p.members[i].stdout) }()
}

// startBoth starts both, and a client of both.
func (p *pairedDecks) startBoth(t *testing.T) {
	t.Helper()
	p.start(t, 0)
	p.start(t, 1)
	p.stationTest = &stationTest{T: t, client: busClient(t, strings.Join(p.bus[:], ","))}
	t.Cleanup(func() {
		if t.Failed() {
			for i, m := range p.members {
				t.Logf("member %d: %s", i, m.stderr)
			}
		}
	})
}

// own is a client of one of the two, whichever is active.
func (p *pairedDecks) own(t *testing.T, i int) *stationTest {
	return &stationTest{T: t, client: busClient(t, p.asked[i])}
}

// state waits until a deck is as wanted.
func (p *pairedDecks) state(deck, what string, wanted func(*control.DeckState) bool) *control.DeckState {
	p.Helper()
	for begun := time.Now(); ; {
		s := ask[control.DeckResult](p.stationTest, control.ServiceDeck, "state", control.DeckOf{Deck: deck})
		if wanted(&s.DeckState) {
			return &s.DeckState
		}
		if time.Since(begun) > 20*time.Second {
			begun = time.Now()
			p.Logf("not yet %s: %+v, %+v", what, s.DeckState, s.Pair)
		}
		<-time.After(time.Millisecond)
	}
}

// ready waits until the one that stands by could go on with a deck, and returns the
// number of the active one, with the deck.
func (p *pairedDecks) ready(deck string, readers int) (active int, s *control.DeckState) {
	p.Helper()
	s = p.state(deck, "ready", func(s *control.DeckState) bool { return s.Pair.Ready && s.Readers == readers })
	if s.Pair.Role == "backup" {
		active = 1
	}
	return active, s
}

// readServed starts readers of both decks of a pair.
func readServed(t *testing.T, shards, other []string, readers int, want [][]uint32) []*deckFollower {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	var list []*deckFollower
	for i := range readers {
		r := &deckFollower{want: want, at: make([]int, len(shards)), done: make(chan error, 1), epochs: map[wire.Epoch]bool{}}
		var err error
		if r.sub, err = subscriber.New(subscriber.Config{Name: fmt.Sprint("reader", i), Endpoints: shards, Pair: other}, r); err != nil {
			t.Fatal(err)
		}
		go func() { r.done <- r.sub.Run(ctx) }()
		list = append(list, r)
	}
	return list
}

// TestServeDeckPairKilled: two processes of serve, with brokers and decks that are pairs.
// A deck is opened by a command, and the active process killed in the middle of the
// replay, once and again: every reader gets every record of the tape once, in order. The
// passive one refuses commands and says who takes them; over the bus they are taken after
// each takeover.
func TestServeDeckPairKilled(t *testing.T) {
	const readers, rate, seconds = 5, 10_000, 20
	tapes := t.TempDir()
	src := filepath.Join(tapes, "load.tape")
	tapedeck(t, "import", fmt.Sprintf("synth:topics=300,records=%d,rate=%d,size=64,seed=9", rate*seconds, rate), "--shards", "2", "-o", src)
	p := newPairedDecks(t, tapes, true)
	p.startBoth(t)
	opened := ask[control.DeckResult](p.stationTest, control.ServiceDeck, "open", control.DeckOpen{Tapes: []string{"load.tape"}, Wait: readers})
	if opened.Pair == nil || len(opened.Pair.Other) != 2 || !opened.Pair.Ready || opened.Pair.Error != "" {
		t.Fatalf("opened: %+v, %+v", opened.DeckState, opened.Pair)
	}
	list := readServed(t, opened.Shards, opened.Pair.Other, readers, checksums(t, src, replay.Config{}))
	for kill := range 3 {
		active, before := p.ready("load", readers)
		passive := p.own(t, 1-active)
		if s := ask[control.DeckResult](passive, control.ServiceDeck, "state", nil); s.Phase != "standby" || s.Pair.State != "passive" || !s.Pair.Ready {
			t.Errorf("the passive one: %+v, %+v", s.DeckState, s.Pair)
		}
		passive.refuses(control.ServiceDeck, "pause", nil, control.Refused, "bus is "+p.bus[active])
		had := list[0].has()
		for list[0].has() < had+rate/10 {
			<-time.After(time.Millisecond)
		}
		killed := time.Now()
		p.members[active].signal(os.Kill)
		p.members[active].code()
		after := p.state("load", "taken over", func(s *control.DeckState) bool { return s.Pair.Role != before.Pair.Role && s.Phase == "playing" })
		t.Logf("kill %d: played again, and told so over the bus, after %v", kill, time.Since(killed))
		if slices.Equal(after.Shards, before.Shards) || !slices.Equal(after.Shards, before.Pair.Other) {
			t.Errorf("it plays at %v, and was to at %v", after.Shards, before.Pair.Other)
		}
		// Commands go on.
		if s := ask[control.DeckResult](p.stationTest, control.ServiceDeck, "pause", nil); s.Phase != "paused" {
			t.Errorf("paused: %+v", s.DeckState)
		}
		if s := ask[control.DeckResult](p.stationTest, control.ServiceDeck, "resume", nil); s.Phase != "playing" {
			t.Errorf("resumed: %+v", s.DeckState)
		}
		p.start(t, active)
	}
	p.ready("load", readers)
	ask[control.DeckResult](p.stationTest, control.ServiceDeck, "speed", control.DeckSpeed{Speed: "max"})
	p.state("load", "at its end", func(s *control.DeckState) bool { return s.Phase == "held" })
	ask[control.DeckResult](p.stationTest, control.ServiceDeck, "stop", nil)
	checkDecks(t, list)
}

