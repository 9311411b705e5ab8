package tape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// DumpReport says what a dump has.
type DumpReport struct {
	Segments int
	Blocks   int
	Records  uint64
	Receive  Span  // of the records; zero without any
	Linked   int64 // bytes that the dump shares with the tape
	Copied   int64 // bytes that were copied
}

// dumpOrder asks the disk goroutine for what a dump is made of.
type dumpOrder struct {
	window time.Duration
	done   chan error

	meta   manifest
	list   []retainedSegment
	topics []byte
	lease  io.Closer // keeps the segments until they are linked
}

// Dump makes a closed tape of what came in the last window of time, in whole
// segments, so that it begins somewhat earlier; Config.SegmentDuration says by
// how much at most. The writer goes on meanwhile and loses nothing: it begins a
// new segment, and the dump gets second names for the segments' files. Only the
// first one is copied, as all are where the dump is on another file system. The
// dump has the tape's identity, and its keyframe says what went before.
//
// dir must not exist, or be empty; the directory above it must exist. A dump
// that did not end leaves nothing that looks whole. Where nothing came in the
// window the error wraps ErrNothing.
func (w *Writer) Dump(ctx context.Context, dir string, window time.Duration) (report DumpReport, err error) {
	dir = filepath.Clean(dir)
	if entries, err := w.cfg.FS.List(dir); err == nil && len(entries) > 0 {
		return report, fmt.Errorf("%s: %w", dir, ErrExists)
	}
	o := &dumpOrder{window: window, done: make(chan error, 1)}
	if err := w.barrier(&job{dump: o}); err != nil {
		return report, err
	}
	// Not ended by ctx: what comes back holds a lock.
	if err := <-o.done; err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, o.lease.Close()) }()
	return o.write(ctx, w.cfg.FS, w.work, dir)
}

// ErrNothing: there is nothing to dump.
var ErrNothing = errors.New("tape: nothing was recorded in the window")

// dump seals the open segment and says what the dump is made of.
func (d *disk) dump(o *dumpOrder) error {
	w := d.w
	if err := w.failed(); err != nil {
		return err
	}
	if d.index.blocks() > 0 {
		if err := d.seal(); err != nil {
			w.fail(err)
			return err
		}
		d.retain()
	}
	w.metaMu.Lock()
	o.meta = w.meta
	w.metaMu.Unlock()
	o.meta.Closed, o.meta.Totals, o.meta.Segments, o.meta.Digest = false, nil, nil, nil
	since, first := wire.NanosOf(time.Now().Add(-o.window)), 0
	for first < len(d.kept) && d.kept[first].ended < since {
		first++
	}
	if first == len(d.kept) {
		return ErrNothing
	}
	r := retainer{meta: &o.meta, list: d.kept}
	if first > 0 {
		o.meta = r.without(first)
	}
	o.list = slices.Clone(d.kept[first:])
	o.topics = encodeTopics(w.meta.ID, d.keys.live.sorted())
	var err error
	o.lease, err = w.cfg.FS.Share(d.path(o.list[0].Name))
	if err != nil {
		return fmt.Errorf("tape: dump: %w", err)
	}
	return nil
}

// write makes the dump under a temporary name, and then gives it its own.
func (o *dumpOrder) write(ctx context.Context, fsx fsys.FS, from, dir string) (report DumpReport, err error) {
	work := dir + TemporarySuffix
	lock, err := makeDir(fsx, work, true)
	if err != nil {
		return report, fmt.Errorf("tape: dump %s: %w", dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, fsys.RemoveAll(fsx, work))
		}
		err = errors.Join(err, lock.Close())
	}()
	for i := range o.list {
		if err := ctx.Err(); err != nil {
			return report, err
		}
		if err := o.take(&report, fsx, from, work, i); err != nil {
			return report, err
		}
	}
	if err := fsys.WriteFile(fsx, work, topicsName, o.topics); err != nil {
		return report, &WriteError{File: work + "/" + topicsName, Err: err}
	}
	if err := o.closeTape(fsx, work, &report); err != nil {
		return report, err
	}
	if err := fsx.Rename(work, dir); err != nil {
		return report, &WriteError{File: dir, Err: err}
	}
	work = dir
	if err := fsx.SyncDir(filepath.Dir(dir)); err != nil {
		return report, &WriteError{File: dir, Err: err}
	}
	return report, nil
}

// take brings one segment's files into the dump. A reader locks the first
// segment of the tape that it has open: so that who reads the dump does not hold
// up the retention of the tape, the first one is a file of the dump's own.
func (o *dumpOrder) take(report *DumpReport, fsx fsys.FS, from, to string, i int) error {
	s := &o.list[i]
	for _, name := range filesOf(s.number) {
		size, linked, err := takeFile(fsx, from+"/"+name, to+"/"+name, i > 0 || name != s.Name)
		if errors.Is(err, fs.ErrNotExist) && name == keyName(s.number) && s.Keyframes == 0 {
			continue
		}
		if err != nil {
			return &WriteError{File: to + "/" + name, Err: err}
		}
		if linked {
			report.Linked += size
		} else {
			report.Copied += size
		}
	}
	report.Segments++
	report.Blocks += s.Blocks
	report.Records += s.Records
	return nil
}

// takeFile gives a file a second name where it may and can, and copies it
// otherwise.
func takeFile(fsx fsys.FS, from, to string, link bool) (size int64, linked bool, err error) {
	f, err := fsx.Open(from, fsys.Read)
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	if size, err = f.Size(); err != nil {
		return 0, false, err
	}
	if link && fsx.Link(from, to) == nil {
		return size, true, nil
	}
	out, err := fsx.Open(to, fsys.Create)
	if err != nil {
		return 0, false, err
	}
	if err = copyRange(out, f, 0, size); err == nil {
		err = out.Sync()
	}
	return size, false, errors.Join(err, out.Close())
}

// closeTape writes the manifest of a closed tape.
func (o *dumpOrder) closeTape(fsx fsys.FS, dir string, report *DumpReport) error {
	if err := writeManifest(fsx, dir, &o.meta); err != nil {
		return err
	}
	totals, err := keptTotals(fsx, dir)
	if err != nil {
		return err
	}
	topics, reason := parseTopics(o.topics, o.meta.ID)
	if reason != "" {
		return &CorruptError{File: topicsName, Reason: reason}
	}
	totals.Topics = len(topics)
	report.Receive = totals.Receive
	m := o.meta
	m.Closed, m.Totals = true, newManifestTotals(&totals)
	for i := range o.list {
		m.Segments = append(m.Segments, o.list[i].manifestSegment)
		m.Digest = &o.list[i].Digest
	}
	return writeManifest(fsx, dir, &m)
}
