package main

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/control/binarystar"
	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// TestDeckPairVote: a player that hears the other one play does not vote, though the link is
// silent. One that is asked while it ends, its publisher closed and readers known, says that
// they do not reach it: the link goes on for longer than the publisher.
func TestDeckPairVote(t *testing.T) {
	dir := t.TempDir()
	pair, err := binarystar.New(binarystar.Config{Role: binarystar.Primary, Bind: "ipc://" + dir + "/a", Peer: "ipc://" + dir + "/b", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer pair.Close()
	pub, err := publisher.New(publisher.Config{Endpoints: []string{"tcp://127.0.0.1:*"}, Standby: true})
	if err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(dir, "t.tape")
	tapedeck(t, "import", "synth:topics=1,records=10,rate=10,size=64,seed=9", "-o", src)
	tp, err := tape.Open(src)
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	player, err := replay.New(replay.Config{Tape: tp})
	if err != nil {
		t.Fatal(err)
	}
	defer player.Close()
	follower := replay.NewFollower(player, "", func(err error) { t.Error(err) })
	p := &deckPair{pairLink: &pairLink{Pair: pair}, flags: &playFlags{}}
	if err := p.mayLead(t.Context()); !errors.Is(err, errUnasked) {
		t.Errorf("without a player: %v, want %v", err, errUnasked)
	}
	p.current.Store(&deckHalf{playing: &playing{pub: pub}, at: pub.Endpoints(), follower: follower})
	if err := p.mayLead(t.Context()); !errors.Is(err, errUnasked) {
		t.Errorf("without readers: %v, want %v", err, errUnasked)
	}
	subscribe(t, pub)
	if err := p.mayLead(t.Context()); err != nil {
		t.Errorf("with a reader: %v", err)
	}
	said := wire.DeckNotice{Epoch: 5, Phase: "playing", Speed: "1x", Clock: "receive", Stream: &wire.DeckStream{Passes: 1}}
	notice, err := wire.AppendRecord(nil, &wire.Fields{Topic: []byte(wire.DeckTopic), Kind: wire.KindNotice, Body: wire.AppendDeck(nil, &said)})
	if err != nil {
		t.Fatal(err)
	}
	follower.HandleNotice(0, notice)
	p.flags.pair.heartbeat = time.Hour
	if err := p.mayLead(t.Context()); err == nil || !strings.Contains(err.Error(), "it plays") {
		t.Errorf("the other one is heard to play: %v", err)
	}
	p.flags.pair.heartbeat = time.Nanosecond // since which it is silent
	if err := p.mayLead(t.Context()); err != nil {
		t.Errorf("the other one was heard, and is silent: %v", err)
	}
	if err := pub.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.mayLead(t.Context()); err == nil || errors.Is(err, errUnasked) {
		t.Errorf("of a publisher that is closed: %v, want that nobody reaches it", err)
	}
}

// subscribe has somebody subscribe to all records, and returns when the publisher knows.
func subscribe(t *testing.T, pub *publisher.Publisher) {
	t.Helper()
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ctx.NewSocket(zsock.SUB, zsock.SocketConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), ctx.Close()); err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(s.Subscribe(""), s.Connect(pub.Endpoints()[0])); err != nil {
		t.Fatal(err)
	}
	for !pub.Wanted() {
		if err := pub.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
