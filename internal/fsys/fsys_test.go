package fsys_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// kinds are the file systems that must behave alike.
func kinds(t *testing.T) map[string]struct {
	fs  fsys.FS
	dir string
} {
	mem := fsys.NewMem()
	if err := mem.Mkdir("d"); err != nil {
		t.Fatal(err)
	}
	return map[string]struct {
		fs  fsys.FS
		dir string
	}{
		"os":    {fsys.OS{}, t.TempDir()},
		"mem":   {mem, "d"},
		"fault": {&fsys.Fault{FS: fsys.OS{}}, t.TempDir()},
	}
}

func TestConformance(t *testing.T) {
	for name, k := range kinds(t) {
		t.Run(name, func(t *testing.T) {
			files(t, k.fs, k.dir)
			locks(t, k.fs, k.dir)
		})
	}
}

func files(t *testing.T, f fsys.FS, dir string) {
	name := filepath.Join(dir, "a")
	if _, err := f.Open(name, fsys.Read); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open of nothing: %v", err)
	}
	h, err := f.Open(name, fsys.Create)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open(name, fsys.Create); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second create: %v", err)
	}
	steps := []error{h.Allocate(100), h.Sync()}
	_, err = h.WriteAt([]byte("hello"), 50)
	steps = append(steps, err, h.Truncate(60), h.Sync())
	if err := errors.Join(steps...); err != nil {
		t.Fatal(err)
	}
	if n, err := h.Size(); n != 60 || err != nil {
		t.Errorf("size %d, %v", n, err)
	}
	data, unmap, err := h.Map(60)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	want := append(make([]byte, 50), "hello\x00\x00\x00\x00\x00"...)
	if !bytes.Equal(data, want) {
		t.Errorf("mapped %q", data)
	}
	if err := unmap(); err != nil {
		t.Error(err)
	}
	if err := fsys.WriteFile(f, dir, "b", []byte("new")); err != nil {
		t.Fatal(err)
	}
	if got, err := fsys.ReadFile(f, filepath.Join(dir, "b"), 10); string(got) != "new" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	var size *fsys.SizeError
	if _, err := fsys.ReadFile(f, filepath.Join(dir, "b"), 2); !errors.As(err, &size) {
		t.Errorf("read of a file too large: %v", err)
	}
	list, err := f.List(dir)
	if err != nil || len(list) != 2 || list[0].Name != "a" || list[1] != (fsys.Entry{Name: "b", Size: 3}) {
		t.Errorf("list %+v, %v", list, err)
	}
	if _, err := f.List(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("list of nothing: %v", err)
	}
}

func locks(t *testing.T, f fsys.FS, dir string) {
	lock, err := f.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Lock(dir); !errors.Is(err, fsys.ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	moved := dir + "-moved"
	if err := f.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Lock(moved); !errors.Is(err, fsys.ErrLocked) {
		t.Errorf("lock of the renamed directory: %v", err)
	}
	if err := f.Rename(moved, dir); err != nil {
		t.Fatal(err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := f.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// A shared lock keeps an exclusive one away, others not; a file has two names
// until both are removed.
func TestShareAndLink(t *testing.T) {
	for name, f := range map[string]fsys.FS{"os": fsys.OS{}, "mem": fsys.NewMem(), "fault": &fsys.Fault{FS: fsys.NewMem()}} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "d")
			if err := f.Mkdir(dir); err != nil {
				t.Fatal(err)
			}
			if err := fsys.WriteFile(f, dir, "a", []byte("abc")); err != nil {
				t.Fatal(err)
			}
			a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
			if _, err := f.Share(b); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("share of nothing: %v", err)
			}
			first, err := f.Share(a)
			if err != nil {
				t.Fatal(err)
			}
			second, err := f.Share(a)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range []interface{ Close() error }{first, second} {
				if _, err := f.Lock(a); !errors.Is(err, fsys.ErrLocked) {
					t.Errorf("lock of a shared file: %v", err)
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			}
			lock, err := f.Lock(a)
			if err != nil {
				t.Fatal(err)
			}
			if err := lock.Close(); err != nil {
				t.Fatal(err)
			}
			if err := f.Link(a, b); err != nil {
				t.Fatal(err)
			}
			if err := f.Link(a, b); !errors.Is(err, fs.ErrExist) {
				t.Errorf("link to a name that is taken: %v", err)
			}
			if err := f.Link(filepath.Join(dir, "none"), filepath.Join(dir, "c")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("link of nothing: %v", err)
			}
			if err := f.Remove(a); err != nil {
				t.Fatal(err)
			}
			if data, err := fsys.ReadFile(f, b, 10); err != nil || string(data) != "abc" {
				t.Errorf("%q, %v", data, err)
			}
		})
	}
}

// What was synced is there after power was lost, whatever else is.
func TestMemKeepsWhatWasSynced(t *testing.T) {
	for seed := range uint64(200) {
		m := fsys.NewMem()
		if err := m.Mkdir("d"); err != nil {
			t.Fatal(err)
		}
		h, err := m.Open("d/a", fsys.Create)
		if err != nil {
			t.Fatal(err)
		}
		h.WriteAt(bytes.Repeat([]byte{1}, 2000), 0)
		if err := errors.Join(h.Sync(), m.SyncDir("d")); err != nil {
			t.Fatal(err)
		}
		h.WriteAt(bytes.Repeat([]byte{2}, 2000), 2000)
		m.Open("d/b", fsys.Create)
		after := m.AfterPowerLoss(rand.New(rand.NewPCG(seed, 0)))
		got, err := fsys.ReadFile(after, "d/a", 1<<20)
		if err != nil || len(got) < 2000 || !bytes.Equal(got[:2000], bytes.Repeat([]byte{1}, 2000)) {
			t.Fatalf("seed %d: synced bytes are gone: %d bytes, %v", seed, len(got), err)
		}
	}
}

// A replaced file is the old one or the new one, never a mixture or nothing.
func TestWriteFileIsAtomic(t *testing.T) {
	for n := range 8 {
		for seed := range uint64(50) {
			m := fsys.NewMem()
			m.Mkdir("d")
			if err := fsys.WriteFile(m, "d", "f", []byte("old")); err != nil {
				t.Fatal(err)
			}
			m.LosePowerAfter(n)
			err := fsys.WriteFile(m, "d", "f", []byte("newer"))
			after := m.AfterPowerLoss(rand.New(rand.NewPCG(seed, 0)))
			got, rerr := fsys.ReadFile(after, "d/f", 100)
			if rerr != nil || string(got) != "newer" && (string(got) != "old" || err == nil) {
				t.Fatalf("power lost after %d operations (write says %v): %q, %v", n, err, got, rerr)
			}
		}
	}
}

func TestMemLimitAndFault(t *testing.T) {
	m := fsys.NewMem()
	m.Mkdir("d")
	m.Limit(100)
	f := &fsys.Fault{FS: m}
	h, err := f.Open("d/a", fsys.Create)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Allocate(101); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("allocate beyond the limit: %v", err)
	}
	if n, err := h.WriteAt(make([]byte, 200), 0); n != 100 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write beyond the limit: %d, %v", n, err)
	}
	f.FailAt(2, 2, syscall.EIO)
	if err := h.Sync(); err != nil {
		t.Error(err)
	}
	if err := h.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("second operation: %v", err)
	}
	if err := h.Sync(); err != nil {
		t.Error(err)
	}
}
