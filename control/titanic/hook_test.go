package titanic

import (
	"io"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// hookFS calls before every operation on a disk, so that something else can happen
// there first.
type hookFS struct {
	fsys.FS
	before func()
}

// at has something happen before the n-th operation from now, counted from 0. past is
// true once there was one.
func (h *hookFS) at(n int, do func()) (past *bool) {
	past = new(bool)
	h.before = func() {
		if n--; n < 0 {
			h.before = func() {}
			*past = true
			do()
		}
	}
	return past
}

func (h *hookFS) Open(name string, mode fsys.Mode) (fsys.File, error) {
	h.before()
	f, err := h.FS.Open(name, mode)
	if err != nil {
		return nil, err
	}
	return &hookFile{f, h}, nil
}

func (h *hookFS) Mkdir(dir string) error                   { h.before(); return h.FS.Mkdir(dir) }
func (h *hookFS) List(dir string) ([]fsys.Entry, error)    { h.before(); return h.FS.List(dir) }
func (h *hookFS) Rename(from, to string) error             { h.before(); return h.FS.Rename(from, to) }
func (h *hookFS) Remove(name string) error                 { h.before(); return h.FS.Remove(name) }
func (h *hookFS) SyncDir(dir string) error                 { h.before(); return h.FS.SyncDir(dir) }
func (h *hookFS) Link(from, to string) error               { h.before(); return h.FS.Link(from, to) }
func (h *hookFS) Lock(name string) (io.Closer, error)      { h.before(); return h.FS.Lock(name) }
func (h *hookFS) Share(name string) (c io.Closer, _ error) { h.before(); return h.FS.Share(name) }

type hookFile struct {
	fsys.File
	hook *hookFS
}

func (f *hookFile) ReadAt(b []byte, off int64) (int, error) {
	f.hook.before()
	return f.File.ReadAt(b, off)
}

func (f *hookFile) WriteAt(b []byte, off int64) (int, error) {
	f.hook.before()
	return f.File.WriteAt(b, off)
}

func (f *hookFile) Sync() error               { f.hook.before(); return f.File.Sync() }
func (f *hookFile) Size() (int64, error)      { f.hook.before(); return f.File.Size() }
func (f *hookFile) Truncate(size int64) error { f.hook.before(); return f.File.Truncate(size) }
func (f *hookFile) Allocate(size int64) error { f.hook.before(); return f.File.Allocate(size) }
