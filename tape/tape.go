package tape

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// Tape is a tape open for reading. It is a view of what was there when it was
// opened; opening and reading never change anything on disk. Its methods may be
// called from any number of goroutines.
type Tape struct {
	fs       fsys.FS
	dir      string
	meta     *manifest
	segments []*segment
	first    int // number of the first segment
	base     int // blocks in the segments before it, which were removed
	blocks   int
	found    Found

	lease      io.Closer // keeps retention away; nil where there is no segment
	search     searchTables
	shardMap   shardTables
	decode     bufferPool
	blocksFree blockPool
	resident   resident
	recent     recentBlocks
	spans      spanTables

	closed atomic.Bool

	mu     sync.Mutex
	topics []TopicInfo
	totals *Totals
}

// segment is one segment of an open tape.
type segment struct {
	number int
	index  index
	sealed bool
	digest Digest // at its end
	end    int64  // where its last whole block ends; 0 where its header is not whole

	mu   sync.Mutex
	file *mapping // nil until a block of it is read
	keys segmentKeys
}

// Found is what opening a tape met that a closed, whole tape does not have.
type Found struct {
	Unclosed bool      // the writer died, or is still writing
	Torn     *Torn     // bytes after the last whole block, or nil
	Rebuilt  []string  // index files that were missing or damaged, rebuilt in memory
	Damage   []Problem // places in an unclosed segment that are corrupt, not torn
}

// Torn is the tail of an unclosed tape: bytes of a block that was being written.
type Torn struct {
	Segment string `json:"segment"` // name of the file
	Offset  int64  `json:"offset"`  // where the tail begins, bytes
	Bytes   int64  `json:"bytes"`   // how long it is
	Reason  string `json:"reason"`
}

// Open opens a tape for reading on the machine's file system. Of a closed tape
// it reads manifest and indexes only; of an unclosed one it looks through the
// last segment for its last whole block. A tape that another process is writing
// opens with what was on disk at that moment, and stays as it was; open it again
// for what came since. In the process that writes it there is Writer.Live.
func Open(dir string) (*Tape, error) { return OpenFS(fsys.OS{}, dir) }

// OpenFS is Open on any file system.
func OpenFS(fsx fsys.FS, dir string) (*Tape, error) { return openTape(fsx, dir, false) }

// openHeld opens a tape whose segments its caller has locked, or lets nobody
// lock: it takes no lease.
func openHeld(fsx fsys.FS, dir string) (*Tape, error) { return openTape(fsx, dir, true) }

func openTape(fsx fsys.FS, dir string, held bool) (*Tape, error) {
	const attempts = 100
	for before, n := "", 1; ; n++ {
		t, err := openOnce(fsx, dir, held)
		trouble := t.trouble(err)
		// A writer at work can make a segment look wrong for a moment: it fills,
		// cuts and indexes it between two looks. What is wrong stays as it is.
		if trouble == "" || trouble == before || n == attempts {
			if err != nil {
				return nil, err
			}
			return t, nil
		}
		if err == nil {
			_ = t.dropLease() // of a file that was opened for reading
		}
		before = trouble
	}
}

// openOnce returns what it has of the tape beside an error; there is nothing to
// close then.
func openOnce(fsx fsys.FS, dir string, held bool) (*Tape, error) {
	t := &Tape{fs: fsx, dir: dir, resident: newResident(fsx)}
	var err error
	if t.meta, err = readManifest(fsx, dir); err != nil {
		return t, err
	}
	start := t.meta.start()
	t.first, t.base = start.Segment, start.Blocks
	if !held {
		if err := t.takeLease(); err != nil {
			return t, err
		}
	}
	if t.meta.Closed {
		err = t.openClosed()
	} else {
		err = t.openUnclosed()
	}
	if err != nil {
		return t, errors.Join(err, t.dropLease())
	}
	return t, nil
}

// trouble describes what went wrong in opening, and at which state of the tape.
func (t *Tape) trouble(err error) string {
	switch {
	case err != nil:
		return fmt.Sprintf("%v; %d segments, %d blocks", err, len(t.segments), t.blocks)
	case len(t.found.Damage) > 0:
		return fmt.Sprintf("%v; %d segments, %d blocks", &t.found.Damage[0], len(t.segments), t.blocks)
	}
	return ""
}

func (t *Tape) openClosed() error {
	for i := range t.meta.Segments {
		m := &t.meta.Segments[i]
		s := &segment{number: t.first + i, sealed: true, digest: m.Digest}
		t.segments = append(t.segments, s)
		size, err := t.sizeOf(m.Name)
		if err != nil {
			return fmt.Errorf("tape: open segment: %w", err)
		}
		if size != m.Size {
			return &CorruptError{File: m.Name, Offset: min(size, m.Size),
				Reason: fmt.Sprintf("file has %d bytes; the manifest says %d", size, m.Size)}
		}
		if err := t.openIndex(s, size, m.Blocks); err != nil {
			return err
		}
		t.blocks += m.Blocks
	}
	totals := t.meta.Totals.totals()
	t.totals = &totals
	return nil
}

// openIndex loads a sealed segment's index, or rebuilds it from the segment.
func (t *Tape) openIndex(s *segment, size int64, blocks int) error {
	reason := t.loadIndex(s)
	s.index.first -= t.base
	if reason == "" && s.index.segmentSize == size && s.index.first == t.blocks &&
		(blocks < 0 || s.index.blocks() == blocks) {
		return nil
	}
	s.index = index{}
	got, err := t.scan(s.number, t.base+t.blocks, size, false)
	if err != nil {
		return err
	}
	if got.reason != "" || blocks >= 0 && got.index.blocks() != blocks {
		return &CorruptError{File: segmentName(s.number), Offset: got.end,
			Reason: reason + ", and the segment is damaged: " + got.reason}
	}
	s.index = got.index
	s.index.first = t.blocks
	t.found.Rebuilt = append(t.found.Rebuilt, indexName(s.number))
	return nil
}

const reasonNoIndex = "index is missing"

// loadIndex reads and checks an index file.
func (t *Tape) loadIndex(s *segment) string {
	data, err := fsys.ReadFile(t.fs, t.path(indexName(s.number)), indexSizeMax)
	if errors.Is(err, fs.ErrNotExist) {
		return reasonNoIndex
	}
	if err != nil {
		return err.Error()
	}
	x, reason := parseIndex(data, t.meta.ID, s.number)
	if reason == "" {
		s.index = x
	}
	return reason
}

func (t *Tape) sizeOf(name string) (int64, error) {
	f, err := t.fs.Open(t.path(name), fsys.Read)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Size()
}

func (t *Tape) path(name string) string { return t.dir + "/" + name }

// openUnclosed takes the sealed segments by their indexes and scans the last
// one.
func (t *Tape) openUnclosed() error {
	t.found.Unclosed = true
	for n := t.first; ; n++ {
		size, err := t.sizeOf(segmentName(n))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("tape: open segment: %w", err)
		}
		s := &segment{number: n}
		t.segments = append(t.segments, s)
		if t.loadIndex(s) == "" && s.index.segmentSize == size && s.index.first == t.base+t.blocks {
			s.sealed, s.index.first = true, t.blocks
		} else if err := t.openUnsealed(s, size); err != nil {
			return err
		}
		if k := s.index.blocks(); k > 0 {
			last := s.index.info(k - 1)
			s.digest = last.Chain
		}
		t.blocks += s.index.blocks()
	}
}

// openUnsealed scans a segment that has no usable index. A writer seals a
// segment before it begins the next one, so only the last one can be torn.
func (t *Tape) openUnsealed(s *segment, size int64) error {
	got, err := t.scan(s.number, t.base+t.blocks, size, true)
	if err != nil {
		return err
	}
	s.index, s.end = got.index, got.end
	s.index.first = t.blocks
	if got.reason == "" {
		return nil
	}
	end, later, err := t.beyond(s.number, got.end, size)
	if err != nil {
		return err
	}
	torn := Torn{Segment: segmentName(s.number), Offset: got.end, Bytes: end - got.end, Reason: got.reason}
	if torn.Bytes == 0 {
		return nil // only the room that was allocated ahead
	}
	_, err = t.sizeOf(segmentName(s.number + 1))
	if later || err == nil {
		t.found.Damage = append(t.found.Damage, Problem{File: torn.Segment, Offset: torn.Offset, Bytes: torn.Bytes,
			Reason: got.reason, Affected: "every record from here on: the segment cannot be read past this place"})
		return nil
	}
	t.found.Torn = &torn
	return nil
}

// Recovered says what opening met that a closed, whole tape does not have.
func (t *Tape) Recovered() Found { return t.found }

// Blocks is the number of blocks. Blocks are counted from the first that the tape
// still has.
func (t *Tape) Blocks() int { return t.blocks }

// Block returns what the header of block n says; n is from 0 to Blocks()-1.
func (t *Tape) Block(n int) BlockInfo {
	s := t.segmentOf(n)
	b := s.index.info(n - s.index.first)
	b.Segment = s.number
	return b
}

// segmentNumber returns the segment with that number.
func (t *Tape) segmentNumber(n int) *segment { return t.segments[n-t.first] }

// segmentOf returns the segment that holds block n.
func (t *Tape) segmentOf(n int) *segment {
	lo, hi := 0, len(t.segments)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; t.segments[mid].index.first <= n {
			lo = mid
		} else {
			hi = mid
		}
	}
	return t.segments[lo]
}

// Close lets go of the tape. Blocks that are still retained stay valid until
// they are released. Further calls do nothing.
func (t *Tape) Close() error {
	if t.closed.Swap(true) {
		return nil
	}
	t.recent.close()
	var err error
	for _, s := range t.segments {
		s.mu.Lock()
		if s.file != nil {
			err = errors.Join(err, s.file.release())
			s.file = nil
		}
		s.mu.Unlock()
	}
	t.decode.close()
	return errors.Join(err, t.dropLease())
}

// Epochs returns the epochs in the order in which they appear.
func (t *Tape) Epochs() []wire.Epoch { return t.shards().epochs }

func (t *Tape) isClosed() bool { return t.closed.Load() }
