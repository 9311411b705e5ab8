package binarystar

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// slowDisk is a file system that lets nothing through to the disk until it is let go.
type slowDisk struct {
	fsys.OS
	once  sync.Once
	asked chan struct{} // closed when the first has come
	let   chan struct{}
}

func (d *slowDisk) SyncDir(dir string) error {
	d.once.Do(func() { close(d.asked) })
	<-d.let
	return d.OS.SyncDir(dir)
}

// TestSlowDisk: a server whose disk stands still goes on hearing its peer and saying what it
// is; the peer's epoch is kept when the disk goes on. One that becomes active waits for it.
func TestSlowDisk(t *testing.T) {
	at := endpoints(t)
	dir := t.TempDir()
	disk := &slowDisk{asked: make(chan struct{}), let: make(chan struct{})}
	epochs, err := OpenEpochs(disk.OS, dir)
	if err != nil {
		t.Fatal(err)
	}
	epochs.files = disk
	became := make(chan Outcome, 10)
	slow, err := New(Config{
		Role: Backup, Bind: at[1], Peer: at[0], Heartbeat: beat, Expiry: 25 * beat,
		OnActive:  func(e uint64, _ string) { became <- Outcome{Became: Active, Epoch: e} },
		OnPassive: func(e uint64, _ string) { became <- Outcome{Became: Passive, Epoch: e} },
	})
	if err != nil {
		t.Fatal(err)
	}
	slow.epochs = epochs
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- slow.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := slow.Close(); err != nil {
			t.Error(err)
		}
	}()
	peer := start(t, Config{Role: Primary, Bind: at[0], Peer: at[1]})
	if out := <-became; out.Became != Passive || out.Epoch != 2 {
		t.Errorf("%+v", out)
	}
	<-disk.asked
	heard := slow.Status().Heard
	for slow.Status().Heard < heard+5 || peer.Status().Heard < 5 {
		<-time.After(time.Millisecond)
	}
	promoted := make(chan error, 1)
	go func() { promoted <- slow.Promote(t.Context(), true) }()
	for slow.Status().Epoch != 3 {
		<-time.After(time.Millisecond)
	}
	select {
	case out := <-became:
		t.Errorf("%+v before its epoch is on the disk", out)
	default:
	}
	close(disk.let)
	if err := <-promoted; err != nil {
		t.Error(err)
	}
	if out := <-became; out.Became != Active || out.Epoch != 3 {
		t.Errorf("%+v", out)
	}
	if again, err := OpenEpochs(disk.OS, dir); err != nil || again.Known() != 3 {
		t.Errorf("epoch %d is kept, %v", again.Known(), err)
	}
}
