package binarystar

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

func openEpochs(t *testing.T, files fsys.FS) *Epochs {
	t.Helper()
	e, err := OpenEpochs(files, "d/e")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestEpochsOnAFullDisk: a server that has started keeps its epochs, though there is
// no room for another file. One that could not does not start.
func TestEpochsOnAFullDisk(t *testing.T) {
	disk := fsys.NewMem()
	e := openEpochs(t, disk)
	disk.Limit(1)
	for _, epoch := range []uint64{6, 7, 1 << 60} {
		if err := e.Keep(epoch); err != nil {
			t.Fatal(err)
		}
		after := disk.AfterPowerLoss(rand.New(rand.NewPCG(epoch, 1)))
		after.Limit(1)
		if e := openEpochs(t, after); e.Known() != epoch {
			t.Errorf("after a loss of power epoch %d is known, %d was kept", e.Known(), epoch)
		}
	}
	full := fsys.NewMem()
	full.Limit(1)
	if _, err := OpenEpochs(full, "d"); err == nil || !strings.Contains(err.Error(), "cannot be kept") {
		t.Errorf("a server starts that cannot keep its epoch: %v", err)
	}
}

// TestEpochsLosePower: whenever power is lost there is the epoch before or the new
// one, and the new one where it was said to be kept.
func TestEpochsLosePower(t *testing.T) {
	for limit := range int64(2) {
		for n := range 12 {
			for seed := range uint64(8) {
				disk := fsys.NewMem()
				e := openEpochs(t, disk)
				if err := e.Keep(4); err != nil {
					t.Fatal(err)
				}
				disk.Limit(limit)
				disk.LosePowerAfter(n)
				err := e.Keep(7)
				again := openEpochs(t, disk.AfterPowerLoss(rand.New(rand.NewPCG(seed, 2))))
				if k := again.Known(); k != 7 && (k != 4 || err == nil) {
					t.Fatalf("power lost after %d operations, limit %d: epoch %d is known, keeping 7 said %v", n, limit, k, err)
				}
			}
		}
	}
}

// TestEpochsGrow: a lesser epoch changes nothing, and a file as it was before is read.
func TestEpochsGrow(t *testing.T) {
	disk := fsys.NewMem()
	if err := disk.Mkdir("d/e"); err != nil {
		t.Fatal(err)
	}
	if err := fsys.WriteFile(disk, "d/e", epochFile, []byte("12")); err != nil {
		t.Fatal(err)
	}
	e := openEpochs(t, disk)
	if err := e.Keep(3); err != nil || e.Known() != 12 {
		t.Errorf("epoch %d is known, %v; want 12", e.Known(), err)
	}
	if e := openEpochs(t, disk); e.Known() != 12 {
		t.Errorf("epoch %d is known, want 12", e.Known())
	}
	if err := fsys.WriteFile(disk, "d/e", epochFile, []byte("a dozen")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenEpochs(disk, "d/e"); err == nil {
		t.Error("what is no epoch is read as one")
	}
}
