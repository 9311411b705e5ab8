package tape

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// A dump is a closed tape of the last segments; the tape goes on.
func TestDump(t *testing.T) {
	parent := t.TempDir()
	cfg := retainConfig()
	w, err := Create(filepath.Join(parent, "ring.tape"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Dump(t.Context(), filepath.Join(parent, "none.tape"), time.Hour); !errors.Is(err, ErrNothing) {
		t.Errorf("dump of nothing: %v", err)
	}
	m := &mixed{rng: rand.New(rand.NewPCG(3, 3)), epoch: 1 << 60, back: 2000}
	records := 0
	for _, n := range []int{700, 9000, 5000} {
		m.append(t, w, n)
		records += n
		dir := filepath.Join(parent, fmt.Sprintf("dump%d.tape", n))
		report, err := w.Dump(t.Context(), dir, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		tp := open(t, dir)
		all := scanAll(t, tp)
		last := all[len(all)-1]
		if uint64(len(all)) != report.Records || int(last.at.Ordinal) > int(m.next) || report.Blocks != tp.Blocks() {
			t.Errorf("%+v, the dump has %d records", report, len(all))
		}
		if got := len(all) + int(tp.meta.start().Records); got != records {
			t.Errorf("the dump ends after %d records; %d came", got, records)
		}
		if n > 700 {
			checkRetained(t, dir, records)
			if report.Linked < report.Copied {
				t.Errorf("%+v", report)
			}
		} else if r := verify(t, dir); !r.OK() || len(r.Warnings) > 0 {
			t.Errorf("%+v", r)
		}
		if _, err := w.Dump(t.Context(), dir, time.Hour); !errors.Is(err, ErrExists) {
			t.Errorf("dump to a place that is taken: %v", err)
		}
		// Whoever reads the dump does not hold up the tape's retention.
		before := w.Stats().RemovedSegments
		m.append(t, w, 6000)
		records += 6000
		if err := w.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := w.Stats(); s.RemovedSegments == before || s.RetainHeld != "" {
			t.Errorf("%+v", s)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	checkRetained(t, w.dir, records)
	if _, err := w.Dump(t.Context(), filepath.Join(parent, "late.tape"), time.Hour); !errors.Is(err, ErrClosed) {
		t.Errorf("dump after close: %v", err)
	}
}

// Of what came before the window whole segments stay out.
func TestDumpWindow(t *testing.T) {
	parent := t.TempDir()
	cfg := retainConfig()
	cfg.Retain, cfg.SegmentDuration = RetainConfig{}, time.Hour
	w, err := Create(filepath.Join(parent, "ring.tape"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	m := &mixed{rng: rand.New(rand.NewPCG(3, 3)), epoch: 1 << 60, back: 2000}
	m.append(t, w, 5000)
	if _, err := w.Dump(t.Context(), filepath.Join(parent, "a.tape"), time.Hour); err != nil {
		t.Fatal(err)
	}
	// A clock cannot be waited for here: the segments so far are made old.
	if err := w.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := len(w.out.kept) // nothing is under way: the disk goroutine rests
	for i := range old {
		w.out.kept[i].ended -= wire.Nanos(time.Hour)
	}
	if _, err := w.Dump(t.Context(), filepath.Join(parent, "b.tape"), time.Minute); !errors.Is(err, ErrNothing) {
		t.Errorf("%v", err)
	}
	m.append(t, w, 3000)
	report, err := w.Dump(t.Context(), filepath.Join(parent, "c.tape"), time.Minute)
	if err != nil || report.Records != 3000 {
		t.Errorf("%+v, %v", report, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	checkRetained(t, filepath.Join(parent, "c.tape"), 8000)
	if r := verify(t, w.dir); !r.OK() || r.Records != 8000 {
		t.Errorf("%+v", r)
	}
}

// A dump that fails leaves nothing that looks whole, and the tape goes on.
func TestFailedDump(t *testing.T) {
	for n := 1; ; n++ {
		disk := fsys.NewMem()
		fault := &fsys.Fault{FS: disk}
		cfg := retainConfig()
		cfg.FS = fault
		w, err := Create(memDir, cfg)
		if err != nil {
			t.Fatal(err)
		}
		m := &mixed{rng: rand.New(rand.NewPCG(3, 3)), epoch: 1 << 60, back: 2000}
		m.append(t, w, 4000)
		if err := w.Sync(context.Background()); err != nil {
			t.Fatal(err)
		}
		fault.FailAt(n, n, syscall.EIO)
		report, err := w.Dump(t.Context(), "dump.tape", time.Hour)
		done := fault.Operations() < n
		fault.FailAt(1<<30, 1<<30, syscall.EIO)
		if err != nil {
			if !errors.Is(err, syscall.EIO) {
				t.Fatalf("operation %d: %v", n, err)
			}
			if _, err := disk.List("dump.tape"); !errors.Is(err, fs.ErrNotExist) {
				// Only making its name last may fail once it has its name.
				if r, err := VerifyFS(t.Context(), disk, "dump.tape", nil); err != nil || !r.OK() {
					t.Fatalf("operation %d: a dump is there that is not whole: %+v, %v", n, r, err)
				}
			}
		} else if r, err := VerifyFS(t.Context(), disk, "dump.tape", nil); err != nil || !r.OK() || r.Records != report.Records {
			t.Fatalf("operation %d: %+v, %v", n, r, err)
		}
		err = w.Close()
		if r, verr := VerifyFS(t.Context(), disk, memDir, nil); verr != nil || !r.OK() || err == nil && !r.Closed {
			t.Fatalf("operation %d: %+v, %v; closed with %v", n, r, verr, err)
		}
		if done {
			return
		}
	}
}

// Where files cannot have a second name they are copied.
func TestDumpToAnotherFileSystem(t *testing.T) {
	disk := fsys.NewMem()
	cfg := retainConfig()
	cfg.FS = noLinks{disk}
	w, err := Create(memDir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	m := &mixed{rng: rand.New(rand.NewPCG(3, 3)), epoch: 1 << 60, back: 2000}
	m.append(t, w, 3000)
	report, err := w.Dump(t.Context(), "dump.tape", time.Hour)
	if err != nil || report.Linked != 0 || report.Copied == 0 {
		t.Errorf("%+v, %v", report, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := VerifyFS(t.Context(), disk, "dump.tape", nil); err != nil || !r.OK() || r.Records != 3000 {
		t.Errorf("%+v, %v", r, err)
	}
}

type noLinks struct{ fsys.FS }

func (noLinks) Link(string, string) error { return syscall.EXDEV }
