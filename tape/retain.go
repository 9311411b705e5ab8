package tape

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// RetainConfig says how much of a tape is kept. The zero value keeps everything.
type RetainConfig struct {
	// Size is how large the tape may be, bytes, all files of its segments
	// together; 0 is no limit.
	Size int64
	// Age is how old records may be; 0 is no limit. A segment is as old as its
	// newest record: by the time at which this process got it, where it did, else
	// by the send clock.
	Age time.Duration
}

func (c *RetainConfig) on() bool { return c.Size > 0 || c.Age > 0 }

// RetainReport says what retention did.
type RetainReport struct {
	Segments int    // removed
	Records  uint64 // in them
	Bytes    int64  // of their files
	// Held says why not all segments went that could have gone: "" where they
	// did. A reader has the tape open, or the keyframe that has to stand for them
	// cannot be made.
	Held string
}

// Retain removes whole segments from the start of a tape, oldest first, until it
// keeps to cfg. It removes none that an open reader may still want, never the
// last one, and none that is not closed. What was recorded before stays visible:
// the manifest says how many records were removed and the chain hash at their
// end, and the first keyframe has the last values from before. The tape must not
// be open for writing; a Writer does the same by itself with Config.Retain.
func Retain(dir string, cfg RetainConfig) (RetainReport, error) {
	return RetainFS(fsys.OS{}, dir, cfg, wire.NanosOf(time.Now()))
}

// RetainFS is Retain on any file system, as of any time.
func RetainFS(fsx fsys.FS, dir string, cfg RetainConfig, now wire.Nanos) (report RetainReport, err error) {
	lock, err := lockTape(fsx, dir)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	t, err := openHeld(fsx, dir)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if err := removeBeforeStart(fsx, dir, t.first); err != nil {
		return report, err
	}
	r := retainer{fs: fsx, dir: dir, meta: t.meta, list: t.retained()}
	n := r.surplus(&cfg, 0, now)
	return r.drop(n)
}

// retainedSegment is what retention needs to know of a sealed segment.
type retainedSegment struct {
	manifestSegment
	number  int
	payload uint64
	stored  uint64
	size    int64      // of all its files, bytes
	ended   wire.Nanos // when its last record came
	head    bool       // it begins with a keyframe
}

// retained lists a tape's sealed segments.
func (t *Tape) retained() []retainedSegment {
	lines := t.manifestSegments()
	var list []retainedSegment
	for i, s := range t.segments {
		if !s.sealed {
			break
		}
		r := retainedSegment{manifestSegment: lines[i], number: s.number, ended: wire.NanosMin}
		for j := range s.index.blocks() {
			b := s.index.info(j)
			r.payload += uint64(b.PayloadSize)
			r.stored += uint64(b.StoredSize)
			r.ended = max(r.ended, b.Send.Max)
		}
		keys, _ := t.keyframes(s)
		r.head = len(keys) > 0 && keys[0].block == s.index.first
		r.size = segmentFiles(t.fs, t.dir, s.number)
		list = append(list, r)
	}
	return list
}

// segmentFiles returns the size of a segment's files together, bytes.
func segmentFiles(fsx fsys.FS, dir string, number int) (size int64) {
	t := Tape{fs: fsx, dir: dir}
	for _, name := range filesOf(number) {
		n, _ := t.sizeOf(name) // 0 where there is none
		size += n
	}
	return size
}

// filesOf are the names of a segment's files. The segment itself is the first.
func filesOf(number int) []string {
	return []string{segmentName(number), indexName(number), keyName(number)}
}

// retainer removes segments from the start of a tape whose writer's lock its
// owner holds.
type retainer struct {
	fs   fsys.FS
	dir  string
	meta *manifest
	list []retainedSegment // sealed segments, oldest first
	// removing, where it is set, is told of the new first segment before the files
	// of those before it go.
	removing func(first int)
}

// surplus returns how many segments have to go. coming is how much the next
// segment may take.
func (r *retainer) surplus(cfg *RetainConfig, coming int64, now wire.Nanos) int {
	total := coming
	for i := range r.list {
		total += r.list[i].size
	}
	n := 0
	for ; n < len(r.list)-1; n++ {
		s := &r.list[n]
		large := cfg.Size > 0 && total > cfg.Size
		old := cfg.Age > 0 && s.ended < now-wire.Nanos(cfg.Age)
		if !large && !old {
			break
		}
		total -= s.size
	}
	return n
}

// drop removes the first n segments, or as many of them as nobody needs. On
// return meta and list say what is left.
func (r *retainer) drop(n int) (report RetainReport, err error) {
	locks, err := r.lock(n)
	defer func() {
		for _, l := range locks {
			err = errors.Join(err, l.Close())
		}
	}()
	if err != nil {
		return report, err
	}
	if len(locks) < n {
		report.Held = "a reader has the tape open"
	}
	if n = len(locks); n == 0 {
		return report, nil
	}
	if reason, err := r.head(n); err != nil || reason != "" {
		report.Held = reason
		return report, err
	}
	m := r.without(n)
	if m.Closed {
		if err := r.total(&m, n); err != nil {
			return report, err
		}
	}
	if err := writeManifest(r.fs, r.dir, &m); err != nil {
		return report, err
	}
	*r.meta = m
	if r.removing != nil {
		r.removing(m.firstSegment())
	}
	gone := r.list[:n]
	r.list = append([]retainedSegment(nil), r.list[n:]...)
	for i := range gone {
		report.Segments++
		report.Records += gone[i].Records
		report.Bytes += gone[i].size
		if err := removeSegment(r.fs, r.dir, gone[i].number); err != nil {
			return report, err
		}
	}
	if err := r.fs.SyncDir(r.dir); err != nil {
		return report, &WriteError{File: r.dir, Err: err}
	}
	return report, nil
}

// lock takes the locks of the first n segments, up to the first that a reader
// has.
func (r *retainer) lock(n int) (locks []io.Closer, err error) {
	for i := range n {
		name := r.dir + "/" + segmentName(r.list[i].number)
		l, err := r.fs.Lock(name)
		if errors.Is(err, fsys.ErrLocked) {
			return locks, nil
		}
		if err != nil {
			return locks, fmt.Errorf("tape: lock %s: %w", name, err)
		}
		locks = append(locks, l)
	}
	return locks, nil
}

// head makes sure that the segment that is to be the first begins with a
// keyframe, and returns why it cannot.
func (r *retainer) head(n int) (reason string, err error) {
	s := &r.list[n]
	if s.head || r.meta.KeyInterval == 0 {
		return "", nil
	}
	t, err := openHeld(r.fs, r.dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	count, made, err := t.makeKeyframes(t.segmentNumber(s.number), true)
	if err != nil {
		return "", err
	}
	if !made || count == 0 {
		return "the last values before segment " + s.Name + " cannot be determined", nil
	}
	s.Keyframes, s.head = count, true
	s.size = segmentFiles(r.fs, r.dir, s.number)
	return "", r.fs.SyncDir(r.dir)
}

// without returns the manifest of the tape without its first n segments.
func (r *retainer) without(n int) manifest {
	m := *r.meta
	start := m.start()
	for i := range n {
		s := &r.list[i]
		start.Segment = s.number + 1
		start.Blocks += s.Blocks
		start.Records += s.Records
		start.PayloadBytes += s.payload
		start.StoredBytes += s.stored
		start.Digest = s.Digest
	}
	m.Start = &start
	if m.Closed {
		m.Segments = nil
		for _, s := range r.list[n:] {
			m.Segments = append(m.Segments, s.manifestSegment)
		}
	}
	return m
}

// total computes the totals of a closed tape without its first n segments.
func (r *retainer) total(m *manifest, n int) error {
	t, err := openHeld(r.fs, r.dir)
	if err != nil {
		return err
	}
	defer t.Close()
	t.cutHead(n, m)
	totals, err := t.computeTotals()
	if err != nil {
		return err
	}
	totals.Topics = m.Totals.Topics
	m.Totals = newManifestTotals(&totals)
	return nil
}

// cutHead makes t a view of the tape without its first n segments. Nothing of it
// has been read yet.
func (t *Tape) cutHead(n int, m *manifest) {
	t.meta = m
	gone := m.start().Blocks - t.base
	t.segments, t.first = t.segments[n:], m.firstSegment()
	t.blocks, t.base = t.blocks-gone, t.base+gone
	for _, s := range t.segments {
		s.index.first -= gone
	}
}

// removeSegment removes a segment's files, the segment itself last: while it is
// there, it is found that something is to be removed.
func removeSegment(fsx fsys.FS, dir string, number int) error {
	names := filesOf(number)
	for i := len(names) - 1; i >= 0; i-- {
		if err := fsx.Remove(dir + "/" + names[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &WriteError{File: dir + "/" + names[i], Err: err}
		}
	}
	return nil
}

// removeBeforeStart removes what a retention that was cut short has left: files
// of segments before the tape's first one. One that a reader has stays.
func removeBeforeStart(fsx fsys.FS, dir string, first int) error {
	if first == 0 {
		return nil
	}
	entries, err := fsx.List(dir)
	if err != nil {
		return fmt.Errorf("tape: list %s: %w", dir, err)
	}
	for _, e := range entries {
		for _, suffix := range []string{segmentSuffix, indexSuffix, keySuffix} {
			n, ok := segmentNumber(e.Name, suffix)
			if !ok || n >= first {
				continue
			}
			lock, err := fsx.Lock(dir + "/" + segmentName(n))
			if errors.Is(err, fsys.ErrLocked) {
				return nil
			}
			if err == nil {
				err = lock.Close()
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("tape: lock %s: %w", segmentName(n), err)
			}
			if err := removeSegment(fsx, dir, n); err != nil {
				return err
			}
		}
	}
	return nil
}
