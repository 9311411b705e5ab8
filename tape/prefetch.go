package tape

import "golang.org/x/sys/unix"

// Prefetch asks the system to read the stored bytes of the blocks [first, end), so
// that they are there when they are wanted. It does not wait for them; where they
// are in memory already, it costs next to nothing.
func (t *Tape) Prefetch(first, end int) {
	if t.resident.off {
		return // its mappings are no mappings of the machine's
	}
	for n := max(first, 0); n < min(end, t.blocks); {
		s := t.segmentOf(n)
		last := min(end, s.index.first+s.index.blocks()) - 1
		from, to := t.Block(n), t.Block(last)
		m, err := t.mapped(s)
		if err != nil {
			return // whoever reads the blocks is told
		}
		// A kernel that does not take the advice reads the pages when they are used.
		_ = unix.Madvise(m.data[from.Offset&^pageMask:to.end()], unix.MADV_WILLNEED)
		_ = m.release() // unmapping what was mapped does not fail
		n = last + 1
	}
}

// Reopen opens the same tape once more. What is read by way of the one leaves alone
// what the other has in memory, so whoever reads here and there does not slow down
// whoever reads on and on. Both must be closed.
func (t *Tape) Reopen() (*Tape, error) { return OpenFS(t.fs, t.dir) }
