package tape

import (
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// resident keeps what a tape's mappings hold of memory bounded, however large
// the tape is: of what was read in passing, the pages far behind are taken out
// of the address space again. They stay in the page cache, and reading them once
// more only maps them once more, so a block that is still retained is safe.
type resident struct {
	off     bool                    // the file system's mappings are no mappings of the machine's
	segment atomic.Pointer[segment] // that was read last
	before  atomic.Pointer[segment] // that was read before it

	mu   sync.Mutex
	due  []forgetting
	busy bool // a goroutine goes through due
}

// forgetting is a range of a segment, retained, that is to be taken out of the
// address space. That takes a millisecond for some megabytes, and more on a busy
// machine: whoever reads at a pace does not wait for it.
type forgetting struct {
	mapping  *mapping
	from, to int64
}

// Distances behind the latest block, bytes.
const (
	residentKeep = 128 << 20 // what stays mapped
	residentStep = 16 << 20  // what is taken out at a time

	residentPiece = 2 << 20 // what is taken out in one call
)

var pageMask = int64(os.Getpagesize() - 1)

func newResident(fsx fsys.FS) resident {
	_, real := fsx.(fsys.OS)
	return resident{off: !real}
}

// passed takes note that the block at an offset of a segment is read.
func (r *resident) passed(s *segment, m *mapping, offset int64) {
	if r.off {
		return
	}
	if last := r.segment.Swap(s); last != nil && last != s {
		r.forget(last.all())
		// Blocks of it that are still retained, on their way to a socket, come
		// back into memory; they go when the next segment is through.
		if older := r.before.Swap(last); older != nil && older != s {
			r.forget(older.all())
		}
	}
	behind := m.behind.Load()
	switch {
	case offset < behind: // reading begins anew, further up
		m.behind.CompareAndSwap(behind, offset&^pageMask)
	case offset-behind >= residentKeep+residentStep:
		if end := (offset - residentKeep) &^ pageMask; m.behind.CompareAndSwap(behind, end) {
			m.retain()
			r.forget(forgetting{m, behind, end})
		}
	}
}

// all is the whole segment; of one that is not mapped nothing.
func (s *segment) all() forgetting {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil || len(s.file.data) == 0 {
		return forgetting{}
	}
	s.file.retain()
	s.file.behind.Store(0)
	return forgetting{s.file, 0, int64(len(s.file.data))}
}

// forget takes a range out of the address space until it is read again, soon.
func (r *resident) forget(f forgetting) {
	if f.mapping == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.due = append(r.due, f)
	if !r.busy {
		r.busy = true
		go r.work()
	}
}

// work goes through what is due.
func (r *resident) work() {
	for {
		r.mu.Lock()
		if len(r.due) == 0 {
			r.busy = false
			r.mu.Unlock()
			return
		}
		f := r.due[0]
		r.due = append(r.due[:0], r.due[1:]...)
		r.mu.Unlock()
		f.now()
		_ = f.mapping.release() // unmapping what was mapped does not fail
	}
}

// now forgets piece by piece: meanwhile nobody in the process can map memory.
func (f *forgetting) now() {
	for at := f.from; at < f.to; at += residentPiece {
		// A kernel that does not take the advice keeps more than it must.
		_ = unix.Madvise(f.mapping.data[at:min(at+residentPiece, f.to)], unix.MADV_DONTNEED)
	}
}
