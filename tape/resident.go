package tape

import (
	"os"
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
}

// Distances behind the latest block, bytes.
const (
	residentKeep = 128 << 20 // what stays mapped
	residentStep = 16 << 20  // what is taken out at a time
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
		last.forget()
		// Blocks of it that are still retained, on their way to a socket, come
		// back into memory; they go when the next segment is through.
		if older := r.before.Swap(last); older != nil && older != s {
			older.forget()
		}
	}
	behind := m.behind.Load()
	switch {
	case offset < behind: // reading begins anew, further up
		m.behind.CompareAndSwap(behind, offset&^pageMask)
	case offset-behind >= residentKeep+residentStep:
		if end := (offset - residentKeep) &^ pageMask; m.behind.CompareAndSwap(behind, end) {
			m.forget(behind, end)
		}
	}
}

// forget takes a range of the mapping out of the address space until it is read
// again.
func (m *mapping) forget(from, to int64) {
	// A kernel that does not take the advice keeps more than it must.
	_ = unix.Madvise(m.data[from:to], unix.MADV_DONTNEED)
}

// forget takes the whole segment out of the address space until it is read again.
func (s *segment) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil && len(s.file.data) > 0 {
		s.file.forget(0, int64(len(s.file.data)))
		s.file.behind.Store(0)
	}
}
