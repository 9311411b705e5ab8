package tape

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// Report is what Verify found.
type Report struct {
	Closed   bool
	Blocks   int    // whole and undamaged
	Records  uint64 // in them
	Bytes    int64  // read
	Digest   Digest // chain hash at the end, as computed
	Problems []Problem
	Warnings []Problem // what concerns no record: a missing index, files that are not the tape's
	Gaps     []Gap     // what the recording itself lacks
	// LastValues are sequences that repeated what came before, in a snapshot, and
	// were not recorded: nothing is missing.
	LastValues []Gap
	Torn       *Torn // of an unclosed tape
}

// OK reports whether every byte is as it should be. Gaps, warnings and a torn
// tail of an unclosed tape are no damage.
func (r *Report) OK() bool { return len(r.Problems) == 0 }

// Verify reads and checks every byte of a tape. Damage is in the report; the
// error is for what kept it from looking: ErrNotTape, ErrVersion, ErrLocked where
// the tape is still being written, the disk, ctx.
// progress, which may be nil, is called from several goroutines, one at a time,
// with the bytes done and the bytes there are.
func Verify(ctx context.Context, dir string, progress func(done, total int64)) (Report, error) {
	return VerifyFS(ctx, fsys.OS{}, dir, progress)
}

// VerifyFS is Verify on any file system.
func VerifyFS(ctx context.Context, fsx fsys.FS, dir string, progress func(done, total int64)) (Report, error) {
	v := &verifier{ctx: ctx, tape: &Tape{fs: fsx, dir: dir}, progress: progress}
	if err := v.manifest(); err != nil {
		return v.report, err
	}
	return v.verify()
}

// verify does all that comes after the manifest.
func (v *verifier) verify() (_ Report, err error) {
	if !v.tape.meta.Closed {
		// What a writer is about to complete would look like damage.
		lock, err := lockTape(v.tape.fs, v.tape.dir)
		if err != nil {
			return v.report, err
		}
		defer func() { err = errors.Join(err, lock.Close()) }()
	}
	v.hold()
	defer func() { err = errors.Join(err, v.tape.dropLease()) }()
	if err := v.files(); err != nil {
		return v.report, err
	}
	if err := v.run(); err != nil {
		return v.report, err
	}
	v.join()
	v.marks()
	return v.report, nil
}

// hold keeps retention away while the tape is looked at. Where its start moves
// meanwhile, the manifest is read anew.
func (v *verifier) hold() {
	for {
		v.tape.first = v.tape.meta.firstSegment()
		if v.tape.takeLease() == nil || !v.trusted {
			return
		}
		m, err := readManifest(v.tape.fs, v.tape.dir)
		if err != nil || m.firstSegment() == v.tape.first {
			return // what is wrong shows
		}
		v.tape.meta, v.report.Closed = m, m.Closed
	}
}

type verifier struct {
	ctx      context.Context
	tape     *Tape // manifest and place only
	progress func(done, total int64)
	trusted  bool                 // the manifest is whole
	sink     func(b *Block) error // nil, or what is given every whole block, in order

	segments []*checkedSegment
	total    int64
	progMu   sync.Mutex
	done     int64       // bytes; guarded by progMu
	bad      atomic.Bool // a block is damaged
	keyless  bool        // no segment has keyframes
	tables   []*topicTable
	topics   int // in the topics file
	report   Report
}

// checkedSegment is what the look at one segment gave.
type checkedSegment struct {
	number   int
	size     int64
	last     bool // no segment follows
	index    index
	indexed  bool // the index file is whole
	first    int  // number of its first block, as its header says; -1 where unknown
	blocks   []checkedBlock
	problems []*Problem
	warnings []Problem
	torn     *Torn
	foreign  bool     // its header is whole and names another tape
	keys     *keySums // for joinKeys
}

// checkedBlock is one block, or a stretch without one.
type checkedBlock struct {
	info    BlockInfo
	first   edge
	last    edge
	raw     Digest // SHA-256 of payload and order, of a whole block
	whole   bool   // header and content are undamaged
	known   bool   // info is known: from the header, or from the index
	problem int    // its entry in problems, -1 where there is none
}

func (v *verifier) problem(p Problem) { v.report.Problems = append(v.report.Problems, p) }

// manifest loads the manifest. Without a whole one the segments are still
// looked at, as far as they speak for themselves.
func (v *verifier) manifest() error {
	m, err := readManifest(v.tape.fs, v.tape.dir)
	var bad *CorruptError
	switch {
	case errors.As(err, &bad):
		v.problem(Problem{File: bad.File, Offset: bad.Offset, Reason: bad.Error(),
			Affected: "no record; what the manifest says of the tape is doubtful"})
		m = v.stand()
	case err != nil:
		return err
	default:
		v.trusted = true
	}
	v.tape.meta, v.report.Closed = m, m.Closed
	return nil
}

// stand returns a stand-in for a damaged manifest.
func (v *verifier) stand() *manifest {
	m := &manifest{Version: formatVersion, Shards: ShardsMax}
	first, ok := v.tape.firstFile()
	if !ok {
		return m
	}
	f, err := v.tape.fs.Open(v.tape.path(segmentName(first)), fsys.Read)
	if err != nil {
		return m
	}
	defer f.Close()
	var head [SegmentHeaderSize]byte
	if _, err := f.ReadAt(head[:], 0); err == nil {
		copy(m.ID[:], head[segIDOff:])
		if blocks := binary.LittleEndian.Uint64(head[segFirstOff:]); first > 0 && blocks > 0 && blocks < 1<<40 {
			m.Start = &manifestStart{Segment: first, Blocks: int(blocks)}
		}
	}
	return m
}

// files sorts the directory's files out.
func (v *verifier) files() error {
	entries, err := v.tape.fs.List(v.tape.dir)
	if err != nil {
		return fmt.Errorf("tape: list %s: %w", v.tape.dir, err)
	}
	segments := map[int]int64{}
	v.keyless = true
	for _, e := range entries {
		if _, ok := segmentNumber(e.Name, keySuffix); ok {
			v.keyless = false
		}
		if n, ok := segmentNumber(e.Name, segmentSuffix); ok && !e.Dir {
			segments[n] = e.Size
			continue
		}
		if !v.knownFile(e) {
			v.report.Warnings = append(v.report.Warnings, Problem{File: e.Name, Bytes: e.Size, Reason: v.strayReason(e.Name)})
		}
	}
	first := v.tape.meta.firstSegment()
	expected := first + len(v.tape.meta.Segments)
	if !v.tape.meta.Closed {
		expected = first
		for n := range segments {
			expected = max(expected, n+1)
		}
	}
	for n := range segments {
		if n < first {
			v.removed(segmentName(n), segments[n])
			delete(segments, n)
		}
	}
	for n := first; n < expected; n++ {
		size, ok := segments[n]
		delete(segments, n)
		if !ok {
			v.problem(Problem{File: segmentName(n), Reason: "segment is missing", Affected: v.missing(n)})
			continue
		}
		v.total += size
		v.segments = append(v.segments, &checkedSegment{number: n, size: size, last: n == expected-1})
	}
	for n, size := range segments {
		v.problem(Problem{File: segmentName(n), Bytes: size, Reason: "segment is not in the manifest", Affected: "no record of the tape"})
	}
	return nil
}

func (v *verifier) missing(n int) string {
	if !v.tape.meta.Closed {
		return "every record of the segment"
	}
	return fmt.Sprintf("%d records in %d blocks", v.tape.meta.segment(n).Records, v.tape.meta.segment(n).Blocks)
}

// removed remarks on a file that retention has not come to remove.
func (v *verifier) removed(name string, size int64) {
	v.report.Warnings = append(v.report.Warnings, Problem{File: name, Bytes: size, Reason: reasonRemoved, Affected: "no record of the tape"})
}

const reasonRemoved = "lies before the tape's start, and goes with the next retention"

// knownFile reports whether a file that is no segment belongs to the tape.
func (v *verifier) knownFile(e fsys.Entry) bool {
	for _, suffix := range []string{indexSuffix, keySuffix} {
		if n, ok := segmentNumber(e.Name, suffix); ok {
			n -= v.tape.meta.firstSegment()
			return n >= 0 && (!v.tape.meta.Closed || n < len(v.tape.meta.Segments))
		}
	}
	if _, ok := segmentNumber(e.Name, keySuffix+fsys.TemporarySuffix); ok && !v.tape.meta.Closed {
		return true // of the segment that was being written
	}
	return !e.Dir && (e.Name == manifestName || e.Name == marksName || e.Name == topicsName && (v.tape.meta.Closed || !v.trusted))
}

// marks checks the file of marks, where there is one.
func (v *verifier) marks() {
	if _, err := readMarks(v.tape.fs, v.tape.dir, v.tape.meta.ID); err != nil {
		v.problem(Problem{File: marksName, Reason: err.Error(), Affected: "no record; the tape's marks cannot be read"})
	}
}

// run looks at the segments, several at once.
func (v *verifier) run() error {
	workers := min(max(1, runtime.GOMAXPROCS(0)), max(1, len(v.segments)))
	if v.sink != nil {
		workers = 1 // blocks are wanted in order
	}
	work := make(chan *checkedSegment, len(v.segments))
	for _, s := range v.segments {
		work <- s
	}
	close(work)
	errs := make([]error, workers)
	var group sync.WaitGroup
	for i := range workers {
		table := newTopicTable()
		v.tables = append(v.tables, table)
		group.Go(func() {
			c := &segmentChecker{v: v, topics: table}
			for s := range work {
				if errs[i] = c.check(s); errs[i] != nil {
					return
				}
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// step reports n more bytes done.
func (v *verifier) step(n int64) error {
	if v.progress != nil {
		v.progMu.Lock()
		v.done += n
		v.progress(min(v.done, v.total), v.total)
		v.progMu.Unlock()
	}
	return v.ctx.Err()
}

// loadIndex loads a segment's index and says what is wrong with it.
func (v *verifier) loadIndex(s *checkedSegment) {
	holder := segment{number: s.number}
	reason := v.tape.loadIndex(&holder)
	if reason == "" && holder.index.segmentSize != s.size && !v.tape.meta.Closed {
		reason = "index is of another size of the segment"
	}
	if reason == "" {
		s.index, s.indexed = holder.index, true
		return
	}
	_, err := v.tape.sizeOf(indexName(s.number))
	missing := errors.Is(err, fs.ErrNotExist)
	p := Problem{File: indexName(s.number), Reason: reason, Affected: "no record; the index is rebuilt from the segment"}
	switch {
	case !missing:
		s.add(p)
	case v.tape.meta.Closed || !s.last:
		s.warnings = append(s.warnings, p)
	}
}
