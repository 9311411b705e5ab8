package fsys

import (
	"io"
	"io/fs"
	"slices"
	"syscall"
)

// memHandle is an open file of a Mem.
type memHandle struct {
	mem   *Mem
	file  *memFile
	name  string
	write bool
}

// ReadAt implements io.ReaderAt.
func (h *memHandle) ReadAt(b []byte, off int64) (int, error) {
	h.mem.mu.Lock()
	defer h.mem.mu.Unlock()
	if err := h.mem.step(); err != nil {
		return 0, err
	}
	if off >= int64(len(h.file.data)) {
		return 0, io.EOF
	}
	n := copy(b, h.file.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements io.WriterAt. On a full disk it writes what fits, as a disk
// does.
func (h *memHandle) WriteAt(b []byte, off int64) (int, error) {
	h.mem.mu.Lock()
	defer h.mem.mu.Unlock()
	if err := h.change(); err != nil {
		return 0, err
	}
	n := len(b)
	if limit := h.mem.limit; limit > 0 {
		// What is there already can be written over.
		room := max(limit-h.mem.used, 0) + int64(len(h.file.data)) - off
		n = int(min(int64(n), max(room, 0)))
	}
	if end := off + int64(n); end > int64(len(h.file.data)) {
		h.resize(end)
	}
	copy(h.file.data[off:], b[:n])
	if n < len(b) {
		return n, pathError("write", h.name, syscall.ENOSPC)
	}
	return n, nil
}

// change begins an operation that changes the file.
func (h *memHandle) change() error {
	if err := h.mem.step(); err != nil {
		return err
	}
	if !h.write {
		return pathError("write", h.name, fs.ErrPermission)
	}
	return nil
}

func (h *memHandle) resize(size int64) {
	h.mem.used += size - int64(len(h.file.data))
	if size <= int64(len(h.file.data)) {
		h.file.data = h.file.data[:size:size]
		return
	}
	h.file.data = append(h.file.data, make([]byte, size-int64(len(h.file.data)))...)
}

// Close implements io.Closer.
func (h *memHandle) Close() error { return nil }

// Size implements File.
func (h *memHandle) Size() (int64, error) {
	h.mem.mu.Lock()
	defer h.mem.mu.Unlock()
	return int64(len(h.file.data)), h.mem.step()
}

// Truncate implements File.
func (h *memHandle) Truncate(size int64) error {
	h.mem.mu.Lock()
	defer h.mem.mu.Unlock()
	if err := h.change(); err != nil {
		return err
	}
	h.resize(size)
	return nil
}

// Allocate implements File.
func (h *memHandle) Allocate(size int64) error {
	h.mem.mu.Lock()
	defer h.mem.mu.Unlock()
	if err := h.change(); err != nil {
		return err
	}
	grow := size - int64(len(h.file.data))
	if grow <= 0 {
		return nil
	}
	if h.mem.limit > 0 && h.mem.used+grow > h.mem.limit {
		return pathError("fallocate", h.name, syscall.ENOSPC)
	}
	h.resize(size)
	return nil
}

// Sync implements File.
func (h *memHandle) Sync() error {
	h.mem.mu.Lock()
	defer h.mem.mu.Unlock()
	if err := h.mem.step(); err != nil {
		return err
	}
	h.file.synced = slices.Clone(h.file.data)
	return nil
}

// Map implements File by a copy.
func (h *memHandle) Map(size int) ([]byte, func() error, error) {
	h.mem.mu.Lock()
	defer h.mem.mu.Unlock()
	if err := h.mem.step(); err != nil {
		return nil, nil, err
	}
	if size > len(h.file.data) {
		return nil, nil, pathError("mmap", h.name, io.ErrUnexpectedEOF)
	}
	return slices.Clone(h.file.data[:size]), func() error { return nil }, nil
}
