package tape

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// mapping is a segment in memory. Its bytes stay where they are until the last
// reference is released: the tape holds one, every block that reads from it
// another.
type mapping struct {
	data   []byte
	unmap  func() error
	refs   atomic.Int32
	behind atomic.Int64 // up to here it was taken out of the address space; see resident
}

func (m *mapping) retain() { m.refs.Add(1) }

func (m *mapping) release() error {
	if m.refs.Add(-1) > 0 {
		return nil
	}
	return m.unmap()
}

// mapped returns the segment's mapping with one more reference.
func (t *Tape) mapped(s *segment) (*mapping, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		if t.isClosed() {
			return nil, ErrClosed
		}
		m, err := t.mapSegment(s)
		if err != nil {
			return nil, fmt.Errorf("tape: map segment: %w", err)
		}
		s.file = m
	}
	s.file.retain()
	return s.file, nil
}

// mapSegment maps the blocks of a segment; what lies behind them in an unclosed
// one is left out, since it may be cut off later.
func (t *Tape) mapSegment(s *segment) (*mapping, error) {
	end := int64(SegmentHeaderSize)
	if n := s.index.blocks(); n > 0 {
		last := s.index.info(n - 1)
		end = last.end()
	}
	return t.mapFile(s.number, end)
}

// mapFile maps the first size bytes of a segment's file, with one reference.
func (t *Tape) mapFile(number int, size int64) (*mapping, error) {
	if size != int64(int(size)) {
		return nil, errors.New("segment does not fit the address space")
	}
	f, err := t.fs.Open(t.path(segmentName(number)), fsys.Read)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m := &mapping{}
	m.data, m.unmap, err = f.Map(int(size))
	m.refs.Store(1)
	return m, err
}
