package tape

import (
	"errors"
	"fmt"
	"io/fs"
)

// An open tape holds a shared lock on its first segment. Retention removes
// segments from the first one on, and only those that it gets the lock of: so
// one lock keeps every segment that a reader may still want, whatever process
// the reader is in, and it ends with that process.

// takeLease locks the tape's first segment. Of a tape without segments, or on a
// file system without locks, nothing is locked.
func (t *Tape) takeLease() error {
	name := segmentName(t.first)
	lease, err := t.fs.Share(t.path(name))
	if errors.Is(err, fs.ErrNotExist) && len(t.meta.Segments) == 0 {
		return t.checkStart()
	}
	if err != nil {
		return fmt.Errorf("tape: open segment: %w", err)
	}
	t.lease = lease
	// The lock may have come only once the segment had been removed.
	if _, err := t.sizeOf(name); err != nil {
		return errors.Join(fmt.Errorf("tape: open segment: %w", err), t.dropLease())
	}
	return nil
}

// checkStart returns an error where retention has moved the tape's start since
// the manifest was read.
func (t *Tape) checkStart() error {
	m, err := readManifest(t.fs, t.dir)
	if err != nil {
		return err
	}
	if now := m.firstSegment(); now != t.first {
		return fmt.Errorf("tape: its start moved to segment %d while it was opened", now)
	}
	return nil
}

// dropLease lets go of the lock.
func (t *Tape) dropLease() error {
	if t.lease == nil {
		return nil
	}
	err := t.lease.Close()
	t.lease = nil
	return err
}

// firstFile returns the number of the first segment that the directory has.
func (t *Tape) firstFile() (int, bool) {
	entries, err := t.fs.List(t.dir)
	if err != nil {
		return 0, false
	}
	for _, e := range entries {
		if n, ok := segmentNumber(e.Name, segmentSuffix); ok && !e.Dir {
			return n, true // entries are sorted by name
		}
	}
	return 0, false
}
