package titanic

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// reopened looks whether what was read from a disk is a state that the store had,
// not older than what it has acknowledged, and makes that the present. It is false
// where the power went before everything was read.
func (h *history) reopened(t *testing.T, s *store, what string) bool {
	t.Helper()
	if len(s.found.damaged) > 0 || s.found.odd > 0 || s.m.odd > 0 {
		t.Fatalf("%s: a crash was taken for damage: %+v, %d odd", what, s.found, s.m.odd)
	}
	got, err := describe(s)
	if errors.Is(err, fsys.ErrPower) {
		return false
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	for i := len(h.states) - 1; i >= h.synced; i-- { // nothing that happened twice in a row looks the same
		if h.states[i] == got {
			h.rewind(t, s, i)
			return true
		}
	}
	t.Fatalf("%s: %d records were acknowledged, %d made; the log has\n%sand the acknowledged state is\n%s",
		what, h.synced, len(h.states)-1, got, h.states[h.synced])
	return false
}

// rewind makes a state of the past, which the store is in, the present.
func (h *history) rewind(t *testing.T, s *store, i int) {
	t.Helper()
	h.states, h.synced, h.half = h.states[:i+1], i, nil
	h.jobs, h.at, h.keys = map[ID]string{}, map[ID]State{}, map[string]ID{}
	live := int64(0)
	for id, e := range s.m.jobs {
		h.at[id] = e.state
		live += e.keep()
		if e.key != "" {
			h.keys[e.key] = id
		}
	}
	for line := range strings.Lines(h.states[i]) {
		id, err := ParseID(line[:32])
		if err != nil {
			t.Fatal(err)
		}
		h.jobs[id] = strings.TrimSuffix(line[33:], "\n")
	}
	if live != s.m.live {
		t.Fatalf("%d live bytes, %d by another count", s.m.live, live)
	}
}

// stride thins out the moments of a crash in a short run.
func stride() int {
	if testing.Short() {
		return 7
	}
	return 1
}

// TestPowerLossAtEveryStep: power is lost after every single operation on the disk,
// in turn, and again while the log is opened after that. What then is there is
// what was acknowledged, and perhaps a part of what came after, whole and in order.
func TestPowerLossAtEveryStep(t *testing.T) {
	for seed := range uint64(6) {
		whole := fsys.NewMem()
		s, err := openStore(crashConfig(whole), 1)
		if err != nil {
			t.Fatal(err)
		}
		h := newHistory()
		if err := h.work(s, rand.New(rand.NewPCG(seed, 0)), 60); err != nil {
			t.Fatal(err)
		}
		if s.count.compactions == 0 {
			t.Fatal("nothing was compacted: the test shows less than it should")
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		for n := 0; n < whole.Operations(); n += stride() {
			for luck := range uint64(3) {
				powerLoss(t, seed, n, luck)
			}
		}
	}
}

func powerLoss(t *testing.T, seed uint64, n int, luck uint64) {
	what := fmt.Sprintf("seed %d, power lost after %d operations, luck %d", seed, n, luck)
	disk := fsys.NewMem()
	disk.LosePowerAfter(n)
	h := newHistory()
	cfg := crashConfig(disk)
	s, err := openStore(cfg, 1)
	if err == nil {
		if err = h.work(s, rand.New(rand.NewPCG(seed, 0)), 60); err == nil {
			err = s.close()
		}
	}
	if err != nil && !errors.Is(err, fsys.ErrPower) {
		t.Fatalf("%s: %v", what, err)
	}
	rng := rand.New(rand.NewPCG(luck, uint64(n)))
	disk = disk.AfterPowerLoss(rng)
	// Once more, at a random moment of the recovery.
	again := rng.IntN(25)
	disk.LosePowerAfter(again)
	cfg.fs = disk
	if s, err := openStore(cfg, 2); err == nil {
		if h.reopened(t, s, what) {
			err = h.work(s, rng, 3)
		}
		if err != nil && !errors.Is(err, fsys.ErrPower) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	disk = disk.AfterPowerLoss(rng)
	what += fmt.Sprintf(", and again after %d", again)
	cfg.fs = disk
	s, err = openStore(cfg, 3)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	h.reopened(t, s, what)
	if err := errors.Join(h.work(s, rng, 10), s.close()); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// TestFailingDisk: every single operation fails in turn, once or from then on for
// a while. Callers are told; a store that has failed opens again, with the fence that it has,
// and has what was acknowledged.
func TestFailingDisk(t *testing.T) {
	bad := errors.New("bad disk")
	for seed := range uint64(4) {
		for length := range 3 {
			for n := 1; ; n += stride() {
				f := &fsys.Fault{FS: fsys.NewMem()}
				cfg := crashConfig(f)
				s, err := openStore(cfg, 1)
				if err != nil {
					t.Fatal(err)
				}
				f.FailAt(n, n+length, bad)
				what := fmt.Sprintf("seed %d, operations %d to %d fail", seed, n, n+length)
				h := newHistory()
				rng := rand.New(rand.NewPCG(seed, 0))
				failures := 0
				for left := 50; left > 0; left-- {
					err := h.work(s, rng, 1)
					if err == nil {
						continue
					}
					failures++
					if !errors.Is(err, bad) {
						t.Fatalf("%s: %v", what, err)
					}
					if s.failed != nil {
						s = reopen(t, h, s, cfg, what)
					}
				}
				if err := s.close(); err != nil {
					t.Fatal(err)
				}
				if failures == 0 && n > 100 {
					break // it was past the end
				}
			}
		}
	}
}

// reopen opens a store that has failed, as often as it takes.
func reopen(t *testing.T, h *history, s *store, cfg storeConfig, what string) *store {
	t.Helper()
	_ = s.close()
	cfg.fence = s.fence
	for {
		s, err := openStore(cfg, 2)
		if err != nil {
			continue // the next operation of the disk may work
		}
		if !h.reopened(t, s, what) {
			t.Fatalf("%s: it cannot be read", what)
		}
		return s
	}
}
