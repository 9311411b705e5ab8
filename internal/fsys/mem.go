package fsys

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// ErrPower: the file system has lost power.
var ErrPower = errors.New("fsys: power lost")

// sector is the unit in which a disk writes: after a crash each sector has its
// old or its new content, bytes.
const sector = 512

// Mem is a file system in memory that can lose power. What was not synced may
// then be there or not: each unsynced sector of a file by itself, its length by
// itself, and changes of names (create, rename, remove) as far as some point in
// their order, as with a journal of metadata. The zero value is not usable; call
// NewMem.
type Mem struct {
	mu      sync.Mutex
	files   map[string]*memFile // by path, as a process sees them
	dirs    map[string]bool
	disk    map[string]*memFile // by path, as they would be after a crash
	pending []nameChange        // since the last SyncDir of anything
	locks   map[string]bool
	shared  map[*memFile]int
	used    int64 // bytes of all files
	limit   int64 // 0 is no limit
	left    int   // operations until power is lost; below zero never
	ops     int
}

// nameChange is one change of the directory that is not synced.
type nameChange struct {
	dir  string
	name string
	file *memFile // nil: removed
	gone string   // the name it had before a rename, or ""
}

// memFile is one file: content as a process sees it, and as it was synced.
type memFile struct {
	data   []byte
	synced []byte
	links  int // names beyond the first
}

// NewMem returns an empty file system.
func NewMem() *Mem {
	return &Mem{files: map[string]*memFile{}, dirs: map[string]bool{".": true, "/": true},
		disk: map[string]*memFile{}, locks: map[string]bool{}, shared: map[*memFile]int{}, left: -1}
}

// LosePowerAfter makes every operation after the next n fail with ErrPower, as
// if the process had been stopped there.
func (m *Mem) LosePowerAfter(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left = n
}

// Failing reports whether LosePowerAfter was called: sooner or later all operations
// fail.
func (m *Mem) Failing() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.left >= 0
}

// Limit makes writes beyond size bytes in all files fail as on a full disk.
func (m *Mem) Limit(size int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limit = size
}

// Operations is the number of operations so far.
func (m *Mem) Operations() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ops
}

// AfterPowerLoss returns a file system as a disk may hold it after power was
// lost now: everything synced, and a random part of the rest.
func (m *Mem) AfterPowerLoss(rng *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := NewMem()
	for d := range m.dirs {
		out.dirs[d] = true
	}
	names := map[string]*memFile{}
	for name, f := range m.disk {
		names[name] = f
	}
	for _, c := range m.pending[:rng.IntN(len(m.pending)+1)] {
		apply(names, c)
	}
	for _, name := range sortedKeys(names) {
		data := names[name].afterPowerLoss(rng)
		out.files[name] = &memFile{data: data, synced: slices.Clone(data)}
		out.disk[name] = out.files[name]
		out.used += int64(len(data))
	}
	return out
}

func sortedKeys(m map[string]*memFile) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func apply(names map[string]*memFile, c nameChange) {
	if c.file == nil {
		delete(names, c.name)
		return
	}
	names[c.name] = c.file
	delete(names, c.gone)
}

// afterPowerLoss mixes the synced content with what came after it.
func (f *memFile) afterPowerLoss(rng *rand.Rand) []byte {
	size := len(f.synced)
	if rng.IntN(2) == 0 {
		size = len(f.data)
	}
	out := make([]byte, size)
	copy(out, f.synced)
	keep := rng.IntN(4) // none, few, most, all of the unsynced sectors
	for at := 0; at < size; at += sector {
		if keep == 3 || keep > 0 && rng.IntN(3) < keep {
			if at < len(f.data) {
				copy(out[at:min(at+sector, size)], f.data[at:])
			}
		}
	}
	return out
}

// step counts one operation; the lock is held.
func (m *Mem) step() error {
	m.ops++
	if m.left == 0 {
		return ErrPower
	}
	if m.left > 0 {
		m.left--
	}
	return nil
}

// Open implements FS.
func (m *Mem) Open(name string, mode Mode) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	if err := m.step(); err != nil {
		return nil, err
	}
	f := m.files[name]
	switch {
	case mode == Create && f != nil:
		return nil, pathError("open", name, fs.ErrExist)
	case mode != Create && f == nil:
		return nil, pathError("open", name, fs.ErrNotExist)
	case mode == Create && !m.dirs[path.Dir(name)]:
		return nil, pathError("open", name, fs.ErrNotExist)
	case mode == Create:
		f = &memFile{}
		m.change(nameChange{name: name, file: f})
	}
	return &memHandle{mem: m, file: f, name: name, write: mode != Read}, nil
}

// change changes the directory, for now only as a process sees it.
func (m *Mem) change(c nameChange) {
	c.dir = path.Dir(c.name)
	apply(m.files, c)
	m.pending = append(m.pending, c)
}

func pathError(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// Mkdir implements FS. Directories last at once: losing one would only lose a
// whole tape.
func (m *Mem) Mkdir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.step(); err != nil {
		return err
	}
	for d := path.Clean(dir); !m.dirs[d]; d = path.Dir(d) {
		m.dirs[d] = true
	}
	return nil
}

// List implements FS.
func (m *Mem) List(dir string) ([]Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = path.Clean(dir)
	if err := m.step(); err != nil {
		return nil, err
	}
	if !m.dirs[dir] {
		return nil, pathError("open", dir, fs.ErrNotExist)
	}
	var entries []Entry
	for _, name := range sortedKeys(m.files) {
		if path.Dir(name) == dir {
			entries = append(entries, Entry{Name: path.Base(name), Size: int64(len(m.files[name].data))})
		}
	}
	for d := range m.dirs {
		if path.Dir(d) == dir && d != dir {
			entries = append(entries, Entry{Name: path.Base(d), Dir: true})
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries, nil
}

// Rename implements FS.
func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, to = path.Clean(from), path.Clean(to)
	if err := m.step(); err != nil {
		return err
	}
	if m.dirs[from] {
		return m.renameDir(from, to)
	}
	f := m.files[from]
	if f == nil {
		return pathError("rename", from, fs.ErrNotExist)
	}
	if old := m.files[to]; old != nil && old != f {
		m.unlink(old)
	}
	m.change(nameChange{name: to, file: f, gone: from})
	return nil
}

// renameDir moves a directory of files; it lasts at once.
func (m *Mem) renameDir(from, to string) error {
	for name := range m.files {
		if path.Dir(name) == to {
			return pathError("rename", to, fs.ErrExist)
		}
	}
	delete(m.dirs, from)
	m.dirs[to] = true
	move := func(names map[string]*memFile) {
		for _, name := range sortedKeys(names) {
			if path.Dir(name) == from {
				names[to+"/"+path.Base(name)] = names[name]
				delete(names, name)
			}
		}
	}
	move(m.files)
	move(m.disk)
	for i, c := range m.pending {
		if c.dir == from {
			m.pending[i].dir, m.pending[i].name = to, to+"/"+path.Base(c.name)
			if c.gone != "" {
				m.pending[i].gone = to + "/" + path.Base(c.gone)
			}
		}
	}
	if m.locks[from] {
		m.locks[to] = true
		delete(m.locks, from)
	}
	return nil
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	if err := m.step(); err != nil {
		return err
	}
	if m.dirs[name] {
		for file := range m.files {
			if path.Dir(file) == name {
				return pathError("remove", name, syscall.ENOTEMPTY)
			}
		}
		delete(m.dirs, name)
		return nil
	}
	f := m.files[name]
	if f == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	m.unlink(f)
	m.change(nameChange{name: name})
	return nil
}

// unlink takes note that a file loses a name.
func (m *Mem) unlink(f *memFile) {
	if f.links > 0 {
		f.links--
		return
	}
	m.used -= int64(len(f.data))
}

// SyncDir implements FS.
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = path.Clean(dir)
	if err := m.step(); err != nil {
		return err
	}
	rest := m.pending[:0]
	for _, c := range m.pending {
		if c.dir == dir {
			apply(m.disk, c)
		} else {
			rest = append(rest, c)
		}
	}
	m.pending = rest
	return nil
}

// Lock implements FS. It takes no part in the count of operations.
func (m *Mem) Lock(dir string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = path.Clean(dir)
	if !m.dirs[dir] && m.files[dir] == nil {
		return nil, pathError("flock", dir, fs.ErrNotExist)
	}
	if m.locks[dir] || m.shared[m.files[dir]] > 0 {
		return nil, ErrLocked
	}
	m.locks[dir] = true
	return &memLock{mem: m, dir: dir}, nil
}

// Share implements FS. It does not wait: the error is ErrLocked where somebody
// holds the lock.
func (m *Mem) Share(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	f := m.files[name]
	if f == nil {
		return nil, pathError("flock", name, fs.ErrNotExist)
	}
	if m.locks[name] {
		return nil, ErrLocked
	}
	m.shared[f]++
	return &memShare{mem: m, file: f}, nil
}

// Link implements FS.
func (m *Mem) Link(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, to = path.Clean(from), path.Clean(to)
	if err := m.step(); err != nil {
		return err
	}
	f := m.files[from]
	switch {
	case f == nil || !m.dirs[path.Dir(to)]:
		return pathError("link", from, fs.ErrNotExist)
	case m.files[to] != nil:
		return pathError("link", to, fs.ErrExist)
	}
	f.links++
	m.change(nameChange{name: to, file: f})
	return nil
}

type memLock struct {
	mem *Mem
	dir string
}

type memShare struct {
	mem  *Mem
	file *memFile
}

// Close implements io.Closer.
func (l *memShare) Close() error {
	l.mem.mu.Lock()
	defer l.mem.mu.Unlock()
	l.mem.shared[l.file]--
	return nil
}

// Close implements io.Closer.
func (l *memLock) Close() error {
	l.mem.mu.Lock()
	defer l.mem.mu.Unlock()
	delete(l.mem.locks, l.dir)
	return nil
}
