package tape

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// removeUnfinished removes keyframe files that a writer did not complete.
func (t *Tape) removeUnfinished() error {
	entries, err := t.fs.List(t.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, ok := segmentNumber(e.Name, keySuffix+fsys.TemporarySuffix); !ok {
			continue
		}
		if err := t.fs.Remove(t.path(e.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &WriteError{File: t.path(e.Name), Err: err}
		}
	}
	return nil
}

// writeKeyframes makes the keyframes of segments that were not sealed, and those
// whose file is missing or damaged. What cannot be made, because records before
// it are damaged or were removed, is left as it is: every record can be read
// without it.
func (t *Tape) writeKeyframes(report *RecoverReport) error {
	for _, s := range t.segments {
		_, reason := t.keyframes(s)
		if s.sealed && reason == "" || s.index.blocks() == 0 {
			continue
		}
		n, made, err := t.makeKeyframes(s, t.base > 0 && s.index.first == 0)
		if err != nil {
			return err
		}
		if !made {
			continue
		}
		if n == 0 {
			err = t.fs.Remove(t.path(keyName(s.number)))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return &WriteError{File: t.path(keyName(s.number)), Err: err}
			}
		} else {
			report.Keyframes = append(report.Keyframes, keyName(s.number))
		}
		if err := t.renewKeyframes(s, n); err != nil {
			return err
		}
	}
	return nil
}

// renewKeyframes takes note of a keyframe file that was written anew.
func (t *Tape) renewKeyframes(s *segment, n int) error {
	s.mu.Lock()
	sealed := s.sealed
	s.sealed = true // its file is whole now
	s.keys = t.loadKeys(s)
	s.sealed = sealed
	s.mu.Unlock()
	if err := t.fs.SyncDir(t.dir); err != nil {
		return &WriteError{File: t.dir, Err: err}
	}
	if i := s.number - t.first; t.meta.Closed && t.meta.Segments[i].Keyframes != n {
		m := *t.meta
		m.Segments = slices.Clone(m.Segments)
		m.Segments[i].Keyframes = n
		if err := writeManifest(t.fs, t.dir, &m); err != nil {
			return err
		}
		t.meta = &m
	}
	return nil
}

// makeKeyframes writes a segment's keyframe file from its blocks and what comes
// before them, and returns how many keyframes it has. With head set it begins
// with one.
func (t *Tape) makeKeyframes(s *segment, head bool) (n int, made bool, err error) {
	k := newKeyframer(t.fs, t.dir, t.meta.ID, t.meta.Codec, t.meta.keyInterval(), head)
	defer k.abort()
	if known, err := k.resume(t, s.index.first); !known {
		return 0, false, err
	}
	scan := newTopicScan(k.live)
	var deltas []topicDelta
	for n := s.index.first; n < s.index.first+s.index.blocks(); n++ {
		if err := k.before(s.number, t.base+s.index.first, t.base+n, n == s.index.first); err != nil {
			return 0, false, err
		}
		b, err := t.ReadBlock(n, false)
		var damage *CorruptError
		if errors.As(err, &damage) {
			return 0, false, nil
		}
		if err != nil {
			return 0, false, err
		}
		deltas = scan.block(deltas[:0], n, &b.Batch)
		k.live.apply(&b.Info, deltas, b.Payload)
		k.add(&b.Info)
		b.Release()
	}
	if n, err = k.finish(); err == nil {
		err = k.wait()
	}
	return n, err == nil, err
}
