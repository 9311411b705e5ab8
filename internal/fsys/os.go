package fsys

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// OS is the machine's file system.
type OS struct{}

// Open implements FS.
func (OS) Open(name string, mode Mode) (File, error) {
	flag := os.O_RDONLY
	switch mode {
	case Write:
		flag = os.O_RDWR
	case Create:
		flag = os.O_RDWR | os.O_CREATE | os.O_EXCL
	}
	f, err := os.OpenFile(name, flag, 0o644)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Mkdir implements FS.
func (OS) Mkdir(dir string) error { return os.MkdirAll(dir, 0o755) }

// List implements FS.
func (OS) List(dir string) ([]Entry, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(list))
	for _, d := range list {
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since the directory was read
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, Entry{Name: d.Name(), Size: info.Size(), Dir: d.IsDir()})
	}
	return entries, nil
}

// Rename implements FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// SyncDir implements FS.
func (OS) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// Lock implements FS by flock(2) on the directory itself: it leaves no lock
// file behind, survives a rename, and ends with the process. A file is opened for
// writing where that is allowed: over NFS it cannot be locked otherwise.
func (OS) Lock(dir string) (io.Closer, error) {
	f, err := os.OpenFile(dir, os.O_RDWR, 0)
	if errors.Is(err, unix.EISDIR) || errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		f, err = os.Open(dir)
	}
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s: %w", dir, ErrLocked)
	}
	return nil, &fs.PathError{Op: "flock", Path: dir, Err: err}
}

// Share implements FS by a shared flock(2).
func (OS) Share(name string) (io.Closer, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	err = retry(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_SH) })
	if err == nil || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOLCK) {
		return f, nil
	}
	f.Close()
	return nil, &fs.PathError{Op: "flock", Path: name, Err: err}
}

// Link implements FS.
func (OS) Link(from, to string) error { return os.Link(from, to) }

type osFile struct{ *os.File }

// Size implements File.
func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Map implements File.
func (f osFile) Map(size int) ([]byte, func() error, error) {
	if size == 0 {
		return nil, func() error { return nil }, nil
	}
	// A mapping past the end of the file would fault on access.
	if n, err := f.Size(); err != nil || n < int64(size) {
		return nil, nil, errors.Join(err, &fs.PathError{Op: "mmap", Path: f.Name(), Err: io.ErrUnexpectedEOF})
	}
	data, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, &fs.PathError{Op: "mmap", Path: f.Name(), Err: err}
	}
	return data, func() error { return unix.Munmap(data) }, nil
}

// retry repeats a call that a signal interrupted: the runtime's preemption
// signals make slow calls return EINTR.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
