package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/control/binarystar"
	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/replay"
)

// TestDeckPairCalledAgain: a player that plays hears that the other one was active, too,
// in a later epoch of the pair, and is not any more. It begins a stream of a still later
// epoch where it is, for readers that were with the other one; those that were not get
// every record once.
func TestDeckPairCalledAgain(t *testing.T) {
	src := filepath.Join(t.TempDir(), "load.tape")
	tapedeck(t, "import", fmt.Sprintf("synth:topics=50,records=%d,rate=10000,size=64,seed=9", 40_000), "--shards", "2", "-o", src)
	place := newDeckPairAt(t, src, "--speed", "1x", "--wait", "1", "--heartbeat", "100ms")
	other := t.TempDir()
	stop := fakePeer(t, place, other)
	m := place.start(t, 0)
	readers := readDecks(t, place, 2, 1, checksums(t, src, replay.Config{}), 0)
	m.await("active", func(s deckPairStatus) bool { return s.State == "active" })
	for readers[0].has() == 0 {
		select {
		case err := <-readers[0].done:
			t.Fatalf("the reader is through before it has a record: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	stop()
	e, err := binarystar.OpenEpochs(fsys.OS{}, other)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Keep(101); err != nil {
		t.Fatal(err)
	}
	defer fakePeer(t, place, other)()
	m.await("active in a later epoch", func(s deckPairStatus) bool { return s.State == "active" && s.Epoch == 102 })
	checkDecks(t, readers)
	if n := len(readers[0].epochs); n != 2 {
		t.Errorf("the stream had %d epochs, want 2", n)
	}
	if code := m.code(); code != 0 {
		t.Errorf("exit code %d: %s", code, m.stderr)
	}
}

// TestDeckPairStartedApart: a primary that was killed is started again where it hears nothing
// of the other one, which plays. Its readers are connected to it, and say that they are
// served: it does not begin the tape anew, and says why.
func TestDeckPairStartedApart(t *testing.T) {
	src := filepath.Join(t.TempDir(), "load.tape")
	tapedeck(t, "import", fmt.Sprintf("synth:topics=50,records=%d,rate=5000,size=64,seed=9", 50_000), "--shards", "2", "-o", src)
	place := newDeckPairAt(t, src, "--speed", "1x", "--wait", "2", "--heartbeat", "100ms")
	members := [2]*deckMember{place.start(t, 0), place.start(t, 1)}
	readers := readDecks(t, place, 2, 2, checksums(t, src, replay.Config{}), 0)
	readyPair(members, 2) // the primary is active, unless the machine is very busy
	members[0].signal(os.Kill)
	members[0].code()
	members[1].await("active", func(s deckPairStatus) bool { return s.State == "active" })
	had := readers[0].has()
	for readers[0].has() < had+1000 {
		<-time.After(time.Millisecond)
	}
	epochs := readers[0].heard()
	nowhere := "ipc://" + filepath.Join(t.TempDir(), "nowhere")
	place.args = append(place.args, "--pair-bind", nowhere+"-own", "--pair-peer", nowhere, "--pair-follow", nowhere+"-{shard}")
	apart := place.start(t, 0)
	checkDecks(t, readers)
	if n := readers[0].heard(); n != epochs {
		t.Errorf("the stream had %d epochs, and %d before it was started again", n, epochs)
	}
	if code := members[1].code(); code != 0 {
		t.Errorf("exit code %d: %s", code, members[1].stderr)
	}
	apart.signal(syscall.SIGTERM)
	apart.code()
	if text := apart.stderr.String(); !strings.Contains(text, "does not take over: readers go on with a stream that was not heard here") || strings.Contains(text, "playing") {
		t.Errorf("it says: %s", text)
	}
}

// fakePeer is the backup of a pair that plays nothing.
func fakePeer(t *testing.T, place *deckPairAt, dir string) (stop func()) {
	t.Helper()
	p, err := binarystar.New(binarystar.Config{Role: binarystar.Backup, Bind: place.links[1], Peer: place.links[0], Heartbeat: pairHeartbeat / 5, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}
