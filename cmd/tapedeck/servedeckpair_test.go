package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
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
	*stationTest // a client of both or, with a bus each, of the first
	dir          string
	tapes        [2]string
	bus, link    [2]string
	read         []*deckFollower
	brokerLink   [2]string
	asked        [2]string // where each of the two is asked by itself
	brokers      bool
	more         func(i int) []string // further arguments
	members      [2]*serveProcess
}

func newPairedDecks(t *testing.T, tapes [2]string, brokers bool) *pairedDecks {
	t.Helper()
	p := &pairedDecks{dir: t.TempDir(), tapes: tapes, brokers: brokers}
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
	set("decks.pair_heartbeat", "500ms")
	set("decks.pair_bus", p.asked[i])
	if p.brokers {
		args = append(args, "--bus", p.bus[i]+","+p.bus[1-i])
		set("broker.pair", role)
		set("broker.pair_bind", p.brokerLink[i])
		set("broker.pair_peer", p.brokerLink[1-i])
		set("broker.pair_heartbeat", "500ms")
	}
	if p.more != nil {
		args = append(args, p.more(i)...)
	}
	p.members[i] = startServe(t, p.tapes[i], args...)
	go func() { _, _ = io.Copy(io.Discard, p.members[i].stdout) }()
}

// startBoth starts both, and a client of both.
func (p *pairedDecks) startBoth(t *testing.T) {
	t.Helper()
	p.start(t, 0)
	p.start(t, 1)
	at := p.bus[0]
	if p.brokers {
		at += "," + p.bus[1]
	}
	p.stationTest = &stationTest{T: t, client: busClient(t, at)}
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

// told is a client of the bus of one of the two.
func (p *pairedDecks) told(t *testing.T, i int) *pairedDecks {
	other := *p
	other.stationTest = &stationTest{T: t, client: busClient(t, p.bus[i])}
	return &other
}

// state waits until a deck is as wanted.
func (p *pairedDecks) state(deck, what string, wanted func(*control.DeckState) bool) *control.DeckState {
	p.Helper()
	for begun := time.Now(); ; {
		s := ask[control.DeckResult](p.stationTest, control.ServiceDeck, "state", control.DeckOf{Deck: deck})
		if wanted(&s.DeckState) {
			return &s.DeckState
		}
		for i, r := range p.read {
			select {
			case err := <-r.done:
				p.Fatalf("reader %d ended before the deck was %s: %v, %+v; the deck: %+v", i, what, err, r.sub.Summary(), s.DeckState)
			default:
			}
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
	p := newPairedDecks(t, [2]string{tapes, tapes}, true)
	p.startBoth(t)
	opened := ask[control.DeckResult](p.stationTest, control.ServiceDeck, "open", control.DeckOpen{Tapes: []string{"load.tape"}, Wait: readers})
	if opened.Pair == nil || len(opened.Pair.Other) != 2 || !opened.Pair.Ready || opened.Pair.Error != "" {
		t.Fatalf("opened: %+v, %+v", opened.DeckState, opened.Pair)
	}
	list := readServed(t, opened.Shards, opened.Pair.Other, readers, checksums(t, src, replay.Config{}))
	p.read = list
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

// TestServeDeckPairStandsBy: two processes of serve with a bus each. The one that stands
// by says what it cannot have, and has it when it can; it stands by for what the active
// one was told to do: another stream after a stop, other places, no deck after a close.
// Nobody reads, so it is a command that makes it take over.
func TestServeDeckPairStandsBy(t *testing.T) {
	tapes := [2]string{t.TempDir(), t.TempDir()}
	synthTape(t, tapes[0], "day.tape", 20_000, 2)
	p := newPairedDecks(t, tapes, false)
	p.startBoth(t)
	backup := p.told(t, 1)
	open := func(args control.DeckOpen) control.DeckResult {
		return ask[control.DeckResult](p.stationTest, control.ServiceDeck, "open", args)
	}
	for backupState := ""; backupState != "passive"; {
		backupState = ask[control.PairState](p.own(t, 1), control.ServicePair, "state", nil).State
	}
	p.refuses(control.ServiceDeck, "open", control.DeckOpen{Tapes: []string{"day.tape"}, Bind: "tcp://127.0.0.1:*"}, control.Refused, "endpoints of its own")
	p.refuses(control.ServiceDeck, "open", control.DeckOpen{Tapes: []string{"day.tape"}, Barrier: []string{"desk"}}, control.Refused, "no barrier")
	opened := open(control.DeckOpen{Tapes: []string{"day.tape"}})
	if opened.Pair == nil || opened.Pair.Ready || !strings.Contains(opened.Pair.Error, "day.tape") {
		t.Errorf("opened without the tape there: %+v", opened.Pair)
	}
	if !p.members[1].stderr.await("deck day cannot stand by") {
		t.Errorf("it says nothing of it: %s", p.members[1].stderr)
	}
	backup.refuses(control.ServiceDeck, "open", control.DeckOpen{Tapes: []string{"day.tape"}}, control.Refused, "those of the primary are active, and their bus is "+p.bus[0])
	if err := os.CopyFS(filepath.Join(tapes[1], "day.tape"), os.DirFS(filepath.Join(tapes[0], "day.tape"))); err != nil {
		t.Fatal(err)
	}
	p.state("day", "stood by for", func(s *control.DeckState) bool { return s.Pair.Ready && s.Pair.Error == "" && len(s.Pair.Other) == 2 })

	// A seek, and another deck.
	ask[control.DeckResult](p.stationTest, control.ServiceDeck, "pause", nil)
	sought := ask[control.DeckResult](p.stationTest, control.ServiceDeck, "seek", control.DeckSeek{To: "+3s"})
	backup.state("day", "there, too", func(s *control.DeckState) bool {
		return s.Epoch == sought.Epoch && s.PositionTime == sought.PositionTime && s.Speed == sought.Speed
	})
	if more := open(control.DeckOpen{Deck: "more", Tapes: []string{"day.tape"}, Speed: "2x", Paused: true}); !more.Pair.Ready {
		t.Errorf("another one: %+v", more.Pair)
	}
	ask[control.DeckResult](p.stationTest, control.ServiceDeck, "close", control.DeckOf{Deck: "more"})
	backup.state("day", "alone", func(s *control.DeckState) bool {
		return len(ask[control.DeckList](backup.stationTest, control.ServiceDeck, "list", nil).Decks) == 1
	})

	// Another stream, and the end of the active one.
	stopped := ask[control.DeckResult](p.stationTest, control.ServiceDeck, "stop", nil)
	ask[control.DeckResult](p.stationTest, control.ServiceDeck, "play", nil)
	paused := ask[control.DeckResult](p.stationTest, control.ServiceDeck, "pause", nil)
	backup.state("day", "with the new stream", func(s *control.DeckState) bool {
		return s.Pair.Ready && s.Epoch == paused.Epoch && s.Records == paused.Records && s.Epoch > stopped.Epoch
	})
	p.members[0].signal(os.Kill)
	p.members[0].code()
	var resumed control.DeckResult
	for begun := time.Now(); ; {
		err := backup.client.Do(t.Context(), control.ServiceDeck, "resume", nil, &resumed)
		if err == nil {
			break
		}
		var told *control.Error
		if !errors.As(err, &told) || told.Code != control.Refused || time.Since(begun) > 20*time.Second {
			t.Fatalf("resume: %v", err)
		}
	}
	if resumed.Phase != "playing" || resumed.Epoch <= paused.Epoch || resumed.Records < paused.Records || resumed.Pair.Role != "backup" {
		t.Errorf("resumed: %+v, %+v; was paused: %+v", resumed.DeckState, resumed.Pair, paused.DeckState)
	}
	p.start(t, 0)
	backup.state("day", "stood by for again", func(s *control.DeckState) bool { return s.Pair.Ready })
	ask[control.DeckResult](backup.stationTest, control.ServiceDeck, "close", nil)
	for len(ask[control.DeckList](p.own(t, 0), control.ServiceDeck, "list", nil).Decks) != 0 {
		<-time.After(time.Millisecond)
	}
}

// TestServeDeckPairMoves: work is moved from one to the other and back, by an operator, by
// one that stands still for a while, and by one that is told to stop. Readers of a deck of
// the configuration get every record once, in order.
func TestServeDeckPairMoves(t *testing.T) {
	const readers, rate, seconds = 5, 10_000, 30
	tapes := t.TempDir()
	src := filepath.Join(tapes, "load.tape")
	tapedeck(t, "import", fmt.Sprintf("synth:topics=300,records=%d,rate=%d,size=64,seed=9", rate*seconds, rate), "--shards", "2", "-o", src)
	p := newPairedDecks(t, [2]string{tapes, tapes}, true)
	var at [2]string
	for i := range at {
		at[i] = "ipc://" + filepath.Join(p.dir, fmt.Sprint("s", i, "-{shard}"))
		text := fmt.Sprintf("[[deck]]\ndeck = 'load'\ntapes = ['load.tape']\nwait = %d\nbind = '%s'\nresync_bind = 'off'\n", readers, at[i])
		if err := os.WriteFile(filepath.Join(p.dir, fmt.Sprint(i, ".toml")), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.more = func(i int) []string { return []string{"--config", filepath.Join(p.dir, fmt.Sprint(i, ".toml"))} }
	p.startBoth(t)
	var shards [2][]string
	for i := range at {
		for s := range 2 {
			shards[i] = append(shards[i], shardAt(at[i], s))
		}
	}
	list := readServed(t, shards[0], shards[1], readers, checksums(t, src, replay.Config{}))
	p.read = list
	more := func() {
		had := list[0].has()
		for list[0].has() < had+rate/4 {
			<-time.After(time.Millisecond)
		}
	}
	moved := func(from int) {
		t.Helper()
		p.state("load", "moved", func(s *control.DeckState) bool {
			return s.Pair.Role != []string{"primary", "backup"}[from] && s.Phase == "playing"
		})
		more()
	}
	for range 2 { // by an operator
		active, _ := p.ready("load", readers)
		ask[control.PairState](p.own(t, 1-active), control.ServicePair, "promote", control.PairPromote{Force: true})
		moved(active)
	}
	active, _ := p.ready("load", readers)
	p.members[active].signal(syscall.SIGSTOP)
	moved(active)
	p.members[active].signal(syscall.SIGCONT)
	active, _ = p.ready("load", readers)
	p.members[active].signal(os.Interrupt)
	if code := p.members[active].code(); code != 0 {
		t.Errorf("exit code %d: %s", code, p.members[active].stderr)
	}
	moved(active)
	ask[control.DeckResult](p.stationTest, control.ServiceDeck, "speed", control.DeckSpeed{Speed: "max"})
	p.state("load", "at its end", func(s *control.DeckState) bool { return s.Phase == "held" })
	ask[control.DeckResult](p.stationTest, control.ServiceDeck, "stop", nil)
	checkDecks(t, list)
}
