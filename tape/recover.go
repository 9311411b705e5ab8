package tape

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// tornInfix stands in the name of a file with a cut tail, between the segment's
// name and the offset where the tail began.
const tornInfix = ".torn-"

// RecoverReport says what Recover did.
type RecoverReport struct {
	WasClosed bool     // the tape was whole; at most indexes were written
	Torn      *Torn    // the tail that was cut, or nil
	Kept      string   // name of the file that has it, or ""
	Indexes   []string // index files written
	Keyframes []string // keyframe files written
	Records   uint64   // in the tape now
	Blocks    int
}

// Recover closes a tape whose writer died: it cuts the torn tail, which it keeps
// in a file of its own, and writes what Close would have written. Of a tape with
// damage that is not a torn tail it changes nothing; the error is then a
// *CorruptError. The tape must not be open for writing.
func Recover(dir string) (RecoverReport, error) { return RecoverFS(fsys.OS{}, dir) }

// RecoverFS is Recover on any file system.
func RecoverFS(fsx fsys.FS, dir string) (RecoverReport, error) {
	lock, err := lockTape(fsx, dir)
	if err != nil {
		return RecoverReport{}, err
	}
	t, report, err := recoverLocked(fsx, dir)
	if t != nil {
		err = errors.Join(err, t.Close())
	}
	return report, errors.Join(err, lock.Close())
}

func lockTape(fsx fsys.FS, dir string) (io.Closer, error) {
	lock, err := fsx.Lock(dir)
	switch {
	case errors.Is(err, fsys.ErrLocked):
		return nil, fmt.Errorf("%s: %w", dir, ErrLocked)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", dir, ErrNotTape)
	}
	return lock, err
}

// recoverLocked recovers and returns the tape, open, as it is then.
func recoverLocked(fsx fsys.FS, dir string) (*Tape, RecoverReport, error) {
	t, err := openHeld(fsx, dir) // retention needs the writer's lock, too
	if err != nil {
		return nil, RecoverReport{}, err
	}
	report := RecoverReport{WasClosed: t.meta.Closed, Torn: t.found.Torn}
	if len(t.found.Damage) > 0 {
		p := t.found.Damage[0]
		return t, report, &CorruptError{File: p.File, Offset: p.Offset,
			Reason: p.Reason + ", with whole blocks behind it: damage, not a torn tail; nothing was changed"}
	}
	for _, s := range t.segments {
		if s.sealed {
			continue
		}
		if err := t.cut(s, &report); err != nil {
			return t, report, err
		}
	}
	if err := removeBeforeStart(fsx, dir, t.first); err != nil {
		return t, report, err
	}
	if err := t.removeUnfinished(); err != nil {
		return t, report, err
	}
	if err := t.writeKeyframes(&report); err != nil {
		return t, report, err
	}
	if err := t.writeIndexes(&report); err != nil {
		return t, report, err
	}
	if !t.meta.Closed {
		if err := t.writeClosed(); err != nil {
			return t, report, err
		}
	}
	totals, err := t.sums()
	report.Records, report.Blocks = totals.Records, t.blocks
	return t, report, err
}

// cut brings an unsealed segment to the size of its whole blocks.
func (t *Tape) cut(s *segment, report *RecoverReport) error {
	name := segmentName(s.number)
	if torn := t.found.Torn; torn != nil && torn.Segment == name {
		report.Kept = fmt.Sprintf("%s%s%d", name, tornInfix, torn.Offset)
		if err := t.setAside(torn, report.Kept); err != nil {
			return err
		}
	}
	if s.end == 0 {
		// Not even the header was written: the segment holds nothing.
		if err := t.fs.Remove(t.path(name)); err != nil {
			return &WriteError{File: t.path(name), Err: err}
		}
		t.segments = t.segments[:s.number-t.first]
		return t.fs.SyncDir(t.dir)
	}
	s.index.segmentSize = s.end
	return t.shorten(name, s.end)
}

func (t *Tape) shorten(name string, size int64) error {
	f, err := t.fs.Open(t.path(name), fsys.Write)
	if err == nil {
		err = f.Truncate(size)
		if err == nil {
			err = f.Sync()
		}
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return &WriteError{File: t.path(name), Offset: size, Err: err}
	}
	return nil
}

// setAside copies a torn tail to a file of its own, and syncs it.
func (t *Tape) setAside(torn *Torn, name string) error {
	wrap := func(err error) error {
		if err == nil {
			return nil
		}
		return &WriteError{File: t.path(name), Err: err}
	}
	from, err := t.fs.Open(t.path(torn.Segment), fsys.Read)
	if err != nil {
		return wrap(err)
	}
	defer from.Close()
	temporary := t.path(name) + fsys.TemporarySuffix
	if err := t.fs.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return wrap(err)
	}
	to, err := t.fs.Open(temporary, fsys.Create)
	if err != nil {
		return wrap(err)
	}
	err = copyRange(to, from, torn.Offset, torn.Bytes)
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err != nil {
		return wrap(err)
	}
	if err := t.fs.Rename(temporary, t.path(name)); err != nil {
		return wrap(err)
	}
	return wrap(t.fs.SyncDir(t.dir))
}

func copyRange(to io.WriterAt, from io.ReaderAt, off, size int64) error {
	buf := make([]byte, min(size, 1<<20))
	for done := int64(0); done < size; {
		chunk := buf[:min(int64(len(buf)), size-done)]
		if err := readAt(from, chunk, off+done, off+size); err != nil {
			return err
		}
		if _, err := to.WriteAt(chunk, done); err != nil {
			return err
		}
		done += int64(len(chunk))
	}
	return nil
}

// writeIndexes writes the index of every segment that has none on disk.
func (t *Tape) writeIndexes(report *RecoverReport) error {
	for _, s := range t.segments {
		name := indexName(s.number)
		if s.sealed && !slices.Contains(t.found.Rebuilt, name) {
			continue
		}
		x := s.index
		x.first += t.base
		content := encodeIndex(t.meta.ID, s.number, &x)
		if err := fsys.WriteFile(t.fs, t.dir, name, content); err != nil {
			return &WriteError{File: t.path(name), Err: err}
		}
		s.sealed = true
		report.Indexes = append(report.Indexes, name)
	}
	return nil
}

// writeClosed writes topics and manifest of a tape whose segments are sealed.
func (t *Tape) writeClosed() error {
	topics, err := t.allTopics()
	if err != nil {
		return err
	}
	totals, err := t.sums()
	if err != nil {
		return err
	}
	if err := fsys.WriteFile(t.fs, t.dir, topicsName, encodeTopics(t.meta.ID, topics)); err != nil {
		return &WriteError{File: t.path(topicsName), Err: err}
	}
	m := *t.meta
	m.Closed, m.Totals, m.Segments = true, newManifestTotals(&totals), t.manifestSegments()
	start := m.start()
	m.Digest = &start.Digest
	if n := len(m.Segments); n > 0 {
		m.Digest = &m.Segments[n-1].Digest
	}
	if err := writeManifest(t.fs, t.dir, &m); err != nil {
		return err
	}
	t.meta = &m
	return nil
}

// manifestSegments lists the segments as the manifest does.
func (t *Tape) manifestSegments() []manifestSegment {
	var list []manifestSegment
	digest := t.meta.start().Digest
	for _, s := range t.segments {
		keys, _ := t.keyframes(s)
		m := manifestSegment{Name: segmentName(s.number), Size: s.index.segmentSize, Blocks: s.index.blocks(), Keyframes: len(keys)}
		for i := range m.Blocks {
			b := s.index.info(i)
			if i == 0 {
				m.FirstOrdinal = b.FirstOrdinal
			}
			m.Records += uint64(b.Count)
			digest = b.Chain
		}
		m.Digest = digest
		list = append(list, m)
	}
	return list
}
