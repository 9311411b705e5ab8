package tape

import (
	"errors"
	"path/filepath"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// Close writes what is left, syncs, closes the last segment, writes topics and
// manifest, and gives a temporary tape its name. It returns the error that
// stopped the writer, if any: the tape is then left as a crash would leave it.
// Further calls return the same.
func (w *Writer) Close() error {
	w.closing.Lock()
	defer w.closing.Unlock()
	if w.closed {
		return w.closeErr
	}
	w.closed = true
	w.stop()
	err := w.failed()
	if err == nil {
		err = w.complete()
	}
	w.closeErr = w.release(err)
	return w.closeErr
}

// Abort stops the writer and removes a temporary tape. A tape that is written in
// place is left as a crash would leave it. After a Close that succeeded it does
// nothing, so it may be deferred.
func (w *Writer) Abort() error {
	w.closing.Lock()
	defer w.closing.Unlock()
	if w.closed && w.closeErr == nil {
		return nil
	}
	_ = w.live.Close() // nothing in it fails
	if !w.closed {
		w.closed = true
		w.stop()
		w.closeErr = w.release(ErrClosed)
	}
	if !w.cfg.Temporary {
		return nil
	}
	return fsys.RemoveAll(w.cfg.FS, w.work)
}

// stop seals the open blocks and waits for the goroutines.
func (w *Writer) stop() {
	w.timer.Stop()
	w.flush.Lock() // a timer function that runs has ended; a later one finds nothing
	defer w.flush.Unlock()
	for i := range w.shard {
		b := &w.shard[i]
		b.mu.Lock()
		b.closed = true
		if b.job != nil {
			w.push(b.finish())
		}
		b.mu.Unlock()
	}
	w.enqueue.Lock()
	w.stopped = true
	close(w.encode)
	close(w.queue)
	w.enqueue.Unlock()
	w.encoders.Wait()
	w.disk.Wait()
}

// complete turns what was written into a closed tape.
func (w *Writer) complete() error {
	d := &w.out
	if err := d.seal(); err != nil {
		return err
	}
	d.retain()
	topics := d.keys.live.sorted()
	content := encodeTopics(w.meta.ID, topics)
	if err := fsys.WriteFile(w.cfg.FS, w.work, topicsName, content); err != nil {
		return &WriteError{File: d.path(topicsName), Err: err}
	}
	if len(w.marks) > 0 {
		if err := writeMarks(w.cfg.FS, w.work, w.meta.ID, w.marks); err != nil {
			return err
		}
	}
	d.totals.setEdges(d.edges, d.epochs)
	if w.meta.Start != nil {
		var err error
		if d.totals, err = keptTotals(w.cfg.FS, w.work); err != nil {
			return err
		}
	}
	d.totals.Topics = len(topics)
	if err := w.closeManifest(); err != nil {
		return err
	}
	if !w.cfg.Temporary {
		return nil
	}
	_ = w.live.Close() // its files move; nothing in it fails
	return w.giveName()
}

// closeManifest writes the manifest of the closed tape.
func (w *Writer) closeManifest() error {
	w.metaMu.Lock()
	defer w.metaMu.Unlock()
	d := &w.out
	w.meta.Closed = true
	w.meta.Segments, w.meta.Digest = d.segments, &d.chain
	w.meta.Totals = newManifestTotals(&d.totals)
	return writeManifest(w.cfg.FS, w.work, &w.meta)
}

// keptTotals computes the totals of an unclosed tape whose segments are sealed.
func keptTotals(fsx fsys.FS, dir string) (Totals, error) {
	t, err := openHeld(fsx, dir)
	if err != nil {
		return Totals{}, err
	}
	totals, err := t.computeTotals()
	return totals, errors.Join(err, t.Close())
}

// giveName renames a temporary tape. Renaming onto an empty directory replaces
// it; onto anything else fails.
func (w *Writer) giveName() error {
	if err := w.cfg.FS.Rename(w.work, w.dir); err != nil {
		return &WriteError{File: w.dir, Err: err}
	}
	w.work = w.dir
	return w.syncParent()
}

// syncParent makes the tape's own name last.
func (w *Writer) syncParent() error {
	if err := w.cfg.FS.SyncDir(filepath.Dir(w.work)); err != nil {
		return &WriteError{File: w.work, Err: err}
	}
	return nil
}

// release lets go of files and lock; it returns err, or the first error of its
// own.
func (w *Writer) release(err error) error {
	if w.out.file != nil {
		cerr := w.out.file.Close()
		w.out.file = nil
		err = errors.Join(err, cerr)
	}
	w.out.keys.abort()
	if lerr := w.lock.Close(); err == nil {
		err = lerr
	}
	return err
}
