package export

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// names lists a folder.
func names(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

func mustWrite(t *testing.T, f *File, text string) {
	t.Helper()
	if _, err := f.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func wantContent(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s: %q %v, want %q", path, got, err, want)
	}
}

// A file has its name only when it is whole.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.csv")
	f, err := Create(path, false)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, f, "half")
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is there too soon: %v", err)
	}
	mustWrite(t, f, " and half")
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	f.Abort()
	wantContent(t, path, "half and half")
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("the folder has %q", got)
	}
}

func TestFileAbort(t *testing.T) {
	dir := t.TempDir()
	f, err := Create(filepath.Join(dir, "a.csv"), false)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, f, "half")
	f.Abort()
	f.Abort()
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("the folder has %q", got)
	}
}

// A file that exists stays, also if it was made while ours was being written; with
// force it is replaced, at the end.
func TestFileExists(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.csv")
	f, err := Create(path, false)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, f, "ours")
	if err := os.WriteFile(path, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); !errors.Is(err, fs.ErrExist) {
		t.Errorf("commit: %v", err)
	}
	f.Abort()
	wantContent(t, path, "theirs")
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("the folder has %q", got)
	}
	if _, err := Create(path, false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create: %v", err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("a.csv", link); err != nil {
		t.Fatal(err)
	}
	f, err = Create(link, true)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, f, "new")
	wantContent(t, path, "theirs")
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	wantContent(t, path, "new")
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v", err)
	}
}

// A device is written to and stays what it is.
func TestFileDevice(t *testing.T) {
	f, err := Create(os.DevNull, false)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, f, "x")
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Errorf("%v %v", info, err)
	}
}

func TestFileErrors(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "no", "such"), ""} {
		if _, err := Create(path, true); err == nil {
			t.Errorf("%q: created", path)
		}
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("the folder has %q", got)
	}
}
