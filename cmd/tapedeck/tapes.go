package main

import (
	"errors"
	"path/filepath"

	"github.com/tapedeck/tapedeck/tape"
)

// openTape opens a tape and remarks on what is not as it should be.
func openTape(dir string, out *output) (*tape.Tape, error) {
	t, err := tape.Open(dir)
	if err != nil {
		var corrupt *tape.CorruptError
		if errors.As(err, &corrupt) {
			return nil, withHint(damagedError{err}, "tapedeck verify "+dir+" shows all of the damage")
		}
		if segments, _ := filepath.Glob(filepath.Join(dir, "*.seg")); errors.Is(err, tape.ErrNotTape) && len(segments) > 0 {
			return nil, withHint(damagedError{err}, "tapedeck repair "+dir+" -o NEW saves what its segments hold")
		}
		return nil, err
	}
	found := t.Recovered()
	if found.Unclosed {
		out.remark("%s was not closed: its writer is still running, or was killed", dir)
	}
	if torn := found.Torn; torn != nil {
		out.remark("%s: the last %d bytes of %s, from offset %d, are half of a block and are left out", dir, torn.Bytes, torn.Segment, torn.Offset)
	}
	for _, p := range found.Damage {
		out.remark("%s: %s, offset %d: %s; affected: %s", dir, p.File, p.Offset, p.Reason, p.Affected)
	}
	return t, nil
}
