package fsys

import (
	"io"
	"sync"
)

// Fault passes operations on to another file system and fails one of them. It
// counts the operations that can fail on a disk: opening, reading, writing,
// syncing, and changes of names.
type Fault struct {
	FS FS

	mu   sync.Mutex
	ops  int
	at   int // the operation that fails, from 1; 0 is none
	last int // the last one that fails
	err  error
}

// FailAt makes the n-th operation from now, counted from 1, and all up to last
// fail with err.
func (f *Fault) FailAt(n, last int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops, f.at, f.last, f.err = 0, n, last, err
}

// Operations is the number of operations since the start or the last FailAt.
func (f *Fault) Operations() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

func (f *Fault) step(op, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops++
	if f.at == 0 || f.ops < f.at || f.ops > f.last {
		return nil
	}
	return pathError(op, name, f.err)
}

// Open implements FS.
func (f *Fault) Open(name string, mode Mode) (File, error) {
	if err := f.step("open", name); err != nil {
		return nil, err
	}
	file, err := f.FS.Open(name, mode)
	if err != nil {
		return nil, err
	}
	return &faultFile{File: file, fault: f, name: name}, nil
}

// Mkdir implements FS.
func (f *Fault) Mkdir(dir string) error {
	if err := f.step("mkdir", dir); err != nil {
		return err
	}
	return f.FS.Mkdir(dir)
}

// List implements FS.
func (f *Fault) List(dir string) ([]Entry, error) {
	if err := f.step("list", dir); err != nil {
		return nil, err
	}
	return f.FS.List(dir)
}

// Rename implements FS.
func (f *Fault) Rename(from, to string) error {
	if err := f.step("rename", to); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

// Remove implements FS.
func (f *Fault) Remove(name string) error {
	if err := f.step("remove", name); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

// SyncDir implements FS.
func (f *Fault) SyncDir(dir string) error {
	if err := f.step("fsync", dir); err != nil {
		return err
	}
	return f.FS.SyncDir(dir)
}

// Lock implements FS.
func (f *Fault) Lock(dir string) (io.Closer, error) { return f.FS.Lock(dir) }

// Share implements FS.
func (f *Fault) Share(name string) (io.Closer, error) { return f.FS.Share(name) }

// Link implements FS.
func (f *Fault) Link(from, to string) error {
	if err := f.step("link", to); err != nil {
		return err
	}
	return f.FS.Link(from, to)
}

type faultFile struct {
	File
	fault *Fault
	name  string
}

// ReadAt implements io.ReaderAt.
func (f *faultFile) ReadAt(b []byte, off int64) (int, error) {
	if err := f.fault.step("read", f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, off)
}

// WriteAt implements io.WriterAt. A write that fails has written its first half.
func (f *faultFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.fault.step("write", f.name); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/2], off)
		return n, err
	}
	return f.File.WriteAt(b, off)
}

// Truncate implements File.
func (f *faultFile) Truncate(size int64) error {
	if err := f.fault.step("truncate", f.name); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

// Allocate implements File.
func (f *faultFile) Allocate(size int64) error {
	if err := f.fault.step("fallocate", f.name); err != nil {
		return err
	}
	return f.File.Allocate(size)
}

// Sync implements File.
func (f *faultFile) Sync() error {
	if err := f.fault.step("fdatasync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

// Map implements File.
func (f *faultFile) Map(size int) ([]byte, func() error, error) {
	if err := f.fault.step("mmap", f.name); err != nil {
		return nil, nil, err
	}
	return f.File.Map(size)
}
