package tape

import (
	"encoding/binary"
	"errors"
	"io/fs"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// segmentKeys are the keyframes of a sealed segment.
type segmentKeys struct {
	loaded bool
	list   []keyEntry
	reason string // why the file is not usable; "" where it is, or there is none
}

// keyframes returns a segment's keyframes, and why its file cannot be used.
func (t *Tape) keyframes(s *segment) ([]keyEntry, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.keys.loaded {
		s.keys = t.loadKeys(s)
	}
	return s.keys.list, s.keys.reason
}

// loadKeys reads and checks header and entries of a segment's keyframe file.
func (t *Tape) loadKeys(s *segment) segmentKeys {
	keys := segmentKeys{loaded: true}
	if !s.sealed {
		return keys
	}
	f, err := t.fs.Open(t.path(keyName(s.number)), fsys.Read)
	if errors.Is(err, fs.ErrNotExist) {
		if t.meta.Closed && t.meta.Segments[s.number-t.first].Keyframes > 0 {
			keys.reason = "keyframe file is missing"
		}
		return keys
	}
	if err == nil {
		defer f.Close()
		keys.list, keys.reason, err = readKeys(f, t.meta.ID, s.number, t.base+s.index.first, s.index.blocks())
		for i := range keys.list {
			keys.list[i].block -= t.base
		}
	}
	if err != nil {
		keys.reason = err.Error()
	}
	return keys
}

// readKeys reads header and entries of the keyframe file of a segment with the
// blocks [first, first+blocks).
func readKeys(f fsys.File, id ID, number, first, blocks int) ([]keyEntry, string, error) {
	size, err := f.Size()
	if err != nil {
		return nil, "", err
	}
	h := make([]byte, min(size, keyHeaderSize))
	if err := readAt(f, h, 0, size); err != nil {
		return nil, "", err
	}
	if reason := checkKeyHeader(h, size, id, number, first); reason != "" {
		return nil, reason, nil
	}
	at := int64(binary.LittleEndian.Uint64(h[keyEntriesOff:]))
	if (size-at)/keyEntrySize > int64(blocks) {
		return nil, "more keyframes than blocks", nil
	}
	entries := make([]byte, size-at)
	if err := readAt(f, entries, at, size); err != nil {
		return nil, "", err
	}
	list, reason := parseKeyEntries(h, entries, first, blocks)
	return list, reason, nil
}

// keyframe is a keyframe of a tape: its entry, and the segment it is of.
type keyframe struct {
	keyEntry
	segment *segment
}

// keyframeUpTo returns the latest keyframe that is of block n or one before it,
// or nil. pass is told of keyframe files that cannot be used.
func (t *Tape) keyframeUpTo(n int, pass func(Problem)) *keyframe {
	for i := len(t.segments) - 1; i >= 0; i-- {
		s := t.segments[i]
		if s.index.first > n || s.index.blocks() == 0 {
			continue
		}
		list, reason := t.keyframes(s)
		if reason != "" {
			pass(keyProblem(s.number, reason))
		}
		for j := len(list) - 1; j >= 0; j-- {
			if list[j].block <= n {
				return &keyframe{keyEntry: list[j], segment: s}
			}
		}
	}
	return nil
}

func keyProblem(segment int, reason string) Problem {
	return Problem{File: keyName(segment), Reason: reason, Affected: keyAffected}
}

const keyAffected = "no record; last values take longer to find until the keyframes are made anew"

// load reads a keyframe's records and places. The reason says why its bytes
// cannot be used.
func (t *Tape) loadKeyframe(k *keyframe) (raw []byte, reason string) {
	f, err := t.fs.Open(t.path(keyName(k.segment.number)), fsys.Read)
	if err != nil {
		return nil, err.Error()
	}
	defer f.Close()
	stored := make([]byte, k.storedSize)
	if err := readAt(f, stored, k.offset, k.offset+int64(k.storedSize)); err != nil {
		return nil, err.Error()
	}
	return decodeKeyframe(stored, &k.keyEntry)
}
