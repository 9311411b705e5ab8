package export

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// File is a file that gets its name when it is whole. Until then it lies beside
// that place under a temporary name that ends in .partial. A place that is no
// regular file, such as a device or a pipe, is written to directly. A File
// belongs to one goroutine.
type File struct {
	f     *os.File
	temp  string // "" where the place is written to directly
	path  string
	force bool
	done  bool
}

// Create begins a file. Without force it refuses to take the place of a file that
// exists, with an error that wraps fs.ErrExist.
func Create(path string, force bool) (*File, error) {
	if path == "" {
		return nil, errors.New("export: the file has no name")
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("export: %s is a folder", path)
	case !info.Mode().IsRegular():
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		return &File{f: f, path: path}, err
	case !force:
		return nil, fmt.Errorf("export: %s: %w", path, fs.ErrExist)
	default:
		// A link stays, and what it leads to is replaced.
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return nil, err
		}
	}
	x := &File{path: path, temp: path + "." + rand.Text()[:8] + ".partial", force: force}
	x.f, err = os.OpenFile(x.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	return x, err
}

// Write implements io.Writer.
func (x *File) Write(p []byte) (int, error) { return x.f.Write(p) }

// Commit ends the file and gives it its name, once it is on the disk.
func (x *File) Commit() error {
	if x.temp == "" {
		x.done = true
		return x.f.Close()
	}
	if err := x.f.Sync(); err != nil {
		return err
	}
	if err := x.f.Close(); err != nil {
		return err
	}
	if !x.force {
		// Somebody may have made the file in the meantime. A rename would take its
		// place; a link does not.
		if err := os.Link(x.temp, x.path); err == nil || errors.Is(err, fs.ErrExist) {
			x.done = err == nil
			return errors.Join(err, os.Remove(x.temp))
		} // a file system without links
	}
	if err := os.Rename(x.temp, x.path); err != nil {
		return err
	}
	x.done = true
	return nil
}

// Abort ends the file and removes it. After a good Commit it does nothing, so
// that it can be deferred.
func (x *File) Abort() {
	if x.done {
		return
	}
	x.done = true
	_ = x.f.Close()
	if x.temp != "" {
		_ = os.Remove(x.temp)
	}
}

var _ io.Writer = (*File)(nil)
