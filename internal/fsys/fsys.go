// Package fsys is the seam between the tape and the disk: the few file
// operations that storage needs, with what each promises after a crash.
//
// OS is the real file system. Mem is a file system in memory that can lose
// power: it forgets what was not synced, as a disk may. Fault wraps another
// file system and fails the n-th operation. Storage code takes an FS, so tests
// run the production code over all three.
package fsys

import (
	"errors"
	"io"
)

// ErrLocked: another process or writer holds the lock.
var ErrLocked = errors.New("fsys: locked by another writer")

// Mode says how FS.Open opens a file.
type Mode int

// The modes.
const (
	Read   Mode = iota // an existing file, for reading
	Write              // an existing file, for reading and writing
	Create             // a new file, for reading and writing; an error where it exists
)

// Entry is one name in a directory.
type Entry struct {
	Name string
	Size int64
	Dir  bool
}

// FS is a file system. Names are paths. Errors wrap those of io/fs
// (fs.ErrNotExist, fs.ErrExist) and the system's (syscall.ENOSPC).
type FS interface {
	// Open opens a file.
	Open(name string, mode Mode) (File, error)
	// Mkdir makes a directory and its missing parents. An existing directory is
	// no error.
	Mkdir(dir string) error
	// List returns a directory's entries sorted by name.
	List(dir string) ([]Entry, error)
	// Rename moves a file or directory; an existing file of that name is
	// replaced as one step. It lasts once SyncDir of the directory returned.
	Rename(from, to string) error
	// Remove deletes a file or an empty directory.
	Remove(name string) error
	// SyncDir makes the names in a directory last through a crash.
	SyncDir(dir string) error
	// Lock takes a directory, or a file, for one writer until the returned Closer is
	// closed or the process ends. It never waits: the error is ErrLocked when
	// it is taken. The lock follows a renamed directory.
	Lock(dir string) (io.Closer, error)
	// Share takes a file for reading until the returned Closer is closed or the
	// process ends: no Lock of it succeeds until then. It waits for a Lock that
	// somebody holds; such locks are short. Where the file system knows no locks
	// it succeeds and protects nothing.
	Share(name string) (io.Closer, error)
	// Link gives a file a second name. It lasts once SyncDir of the directory
	// returned.
	Link(from, to string) error
}

// File is an open file. WriteAt and Sync are called by one goroutine at a time;
// ReadAt may be called by many.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Size is the file's length, bytes.
	Size() (int64, error)
	// Truncate cuts or extends the file to size bytes; new bytes are zero.
	Truncate(size int64) error
	// Allocate reserves disk space up to size bytes and extends the file with
	// zeros to that size, so that later writes below it do not run out of space.
	Allocate(size int64) error
	// Sync returns when everything written is on the disk and lasts through a
	// crash.
	Sync() error
	// Map returns the first size bytes of the file for reading only. They stay
	// where they are, and valid after Close, until unmap is called.
	Map(size int) (data []byte, unmap func() error, err error)
}

// RemoveAll deletes a directory of files (no directories inside), or nothing
// where it does not exist.
func RemoveAll(fsys FS, dir string) error {
	entries, err := fsys.List(dir)
	if err != nil {
		return ignoreNotExist(err)
	}
	for _, e := range entries {
		if err := fsys.Remove(dir + "/" + e.Name); err != nil {
			return ignoreNotExist(err)
		}
	}
	return ignoreNotExist(fsys.Remove(dir))
}

// ReadFile returns the content of a file, refusing one larger than max bytes.
func ReadFile(fsys FS, name string, max int64) ([]byte, error) {
	f, err := fsys.Open(name, Read)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > max {
		return nil, &SizeError{Name: name, Size: size, Max: max}
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, size), data); err != nil {
		return nil, err
	}
	return data, nil
}

// WriteFile writes a whole file so that after a crash there is either the old
// file or the new one: to a temporary name, synced, renamed, and the directory
// synced.
func WriteFile(fsys FS, dir, name string, data []byte) error {
	path, temporary := dir+"/"+name, dir+"/"+name+TemporarySuffix
	if err := ignoreNotExist(fsys.Remove(temporary)); err != nil {
		return err
	}
	if err := writeSynced(fsys, temporary, data); err != nil {
		return err
	}
	if err := fsys.Rename(temporary, path); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}

// TemporarySuffix ends the names under which WriteFile writes.
const TemporarySuffix = ".tmp"

func writeSynced(fsys FS, name string, data []byte) error {
	f, err := fsys.Open(name, Create)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
