package sim

import (
	"io"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// lifeFS is a disk as one life of a process may use it: when that is over, nothing
// it does reaches the disk any more, and its locks are gone.
type lifeFS struct {
	fsys.FS
	p    *Process
	life int
}

func (l *lifeFS) alive() error {
	if !l.p.up || l.p.life != l.life {
		return fsys.ErrPower
	}
	return nil
}

// Open implements fsys.FS.
func (l *lifeFS) Open(name string, mode fsys.Mode) (fsys.File, error) {
	if err := l.alive(); err != nil {
		return nil, err
	}
	f, err := l.FS.Open(name, mode)
	if err != nil {
		return nil, err
	}
	return &lifeFile{File: f, l: l}, nil
}

// Mkdir implements fsys.FS.
func (l *lifeFS) Mkdir(dir string) error {
	if err := l.alive(); err != nil {
		return err
	}
	return l.FS.Mkdir(dir)
}

// Rename implements fsys.FS.
func (l *lifeFS) Rename(from, to string) error {
	if err := l.alive(); err != nil {
		return err
	}
	return l.FS.Rename(from, to)
}

// Remove implements fsys.FS.
func (l *lifeFS) Remove(name string) error {
	if err := l.alive(); err != nil {
		return err
	}
	return l.FS.Remove(name)
}

// SyncDir implements fsys.FS.
func (l *lifeFS) SyncDir(dir string) error {
	if err := l.alive(); err != nil {
		return err
	}
	return l.FS.SyncDir(dir)
}

// Link implements fsys.FS.
func (l *lifeFS) Link(from, to string) error {
	if err := l.alive(); err != nil {
		return err
	}
	return l.FS.Link(from, to)
}

// Lock implements fsys.FS. A process has its disk for itself, and its locks end with
// it.
func (l *lifeFS) Lock(string) (io.Closer, error) { return io.NopCloser(nil), l.alive() }

// Share implements fsys.FS.
func (l *lifeFS) Share(string) (io.Closer, error) { return io.NopCloser(nil), l.alive() }

type lifeFile struct {
	fsys.File
	l     *lifeFS
	syncs int
}

// logSyncs is how often a new job log is synced before it is in force.
const logSyncs = 2

// WriteAt implements io.WriterAt.
func (f *lifeFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.l.alive(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, off)
}

// Truncate implements fsys.File.
func (f *lifeFile) Truncate(size int64) error {
	if err := f.l.alive(); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

// Allocate implements fsys.File.
func (f *lifeFile) Allocate(size int64) error {
	if err := f.l.alive(); err != nil {
		return err
	}
	return f.File.Allocate(size)
}

// Sync implements fsys.File.
func (f *lifeFile) Sync() error {
	if err := f.l.alive(); err != nil {
		return err
	}
	if f.syncs++; f.l.p.w.bug == bugBusSync && f.l.p.name == "titanic" && f.syncs > logSyncs {
		return nil
	}
	return f.File.Sync()
}
