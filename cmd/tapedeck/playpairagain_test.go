package main

import (
	"context"
	"fmt"
	"path/filepath"
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
