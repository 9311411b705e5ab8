package titanic

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// window reads a file from front to back, a large piece at a time.
type window struct {
	f     fsys.File
	size  int64 // of the file
	start int64 // of b
	b     []byte
}

const windowSize = 256 << 10

// bytes returns up to n bytes at place at, less only at the file's end. They are
// borrowed until the next call.
func (w *window) bytes(at int64, n int) ([]byte, error) {
	n = int(min(int64(n), w.size-at))
	if n <= 0 {
		return nil, nil
	}
	if at < w.start || at+int64(n) > w.start+int64(len(w.b)) {
		want := int(min(max(int64(n), windowSize), w.size-at))
		if cap(w.b) < want {
			w.b = make([]byte, want)
		}
		w.b, w.start = w.b[:want], at
		if got, err := w.f.ReadAt(w.b, at); got < want {
			w.b = w.b[:0]
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	from := int(at - w.start)
	return w.b[from : from+n], nil
}

// record reads the record at a place. ok is false where there is none that is
// whole and of this log.
func (w *window) record(l *logFile, at int64) (r record, size int, ok bool, err error) {
	head, err := w.bytes(at, recordHeader)
	if err != nil {
		return record{}, 0, false, err
	}
	body, ok := recordBody(head)
	if !ok || binary.LittleEndian.Uint64(head[16:]) != l.identity {
		return record{}, 0, false, nil
	}
	whole, err := w.bytes(at, recordSize(body))
	if err != nil {
		return record{}, 0, false, err
	}
	r, size, err = parseRecord(whole)
	if err != nil {
		return record{}, 0, false, nil
	}
	return r, size, true, nil
}

// scanned is what reading a log has found.
type scanned struct {
	torn    int64 // bytes at the end that a crash has left half written
	damaged []DamageError
	odd     int // records that do not say what their kind must
}

// scan reads the log from front to back, gives every record to take, and leaves
// l.end and l.sequence where the next record goes.
//
// Where a record cannot be read, the rest decides. Nothing but zeros: the end.
// Otherwise a crash has torn what was not synced, unless a later record says that
// the place had been synced when it was written: then the disk has lost something.
func (l *logFile) scan(take func(r *record, p place) error) (s scanned, err error) {
	w := &window{f: l.f, size: l.size}
	for {
		r, size, ok, err := w.record(l, l.end)
		if err != nil {
			return s, err
		}
		if ok && r.Sequence == l.sequence {
			if take(&r, place{l.end, size}) != nil {
				s.odd++
			}
			l.end += int64(size)
			l.sequence++
			continue
		}
		to, err := l.after(w)
		if err != nil {
			return s, err
		}
		if to == 0 {
			s.torn, err = l.tail(w)
			return s, err
		}
		s.damaged = append(s.damaged, DamageError{Name: l.name, From: l.end, To: to})
		if r, _, _, err = w.record(l, to); err != nil {
			return s, err
		}
		l.end, l.sequence = to, r.Sequence
	}
}

// after returns the place of the first later record that proves that l.end had
// been synced, or 0.
func (l *logFile) after(w *window) (int64, error) {
	for at := l.end + recordAlign; at < l.size; {
		b, err := w.bytes(at, windowSize)
		if err != nil {
			return 0, err
		}
		i := bytes.Index(b, []byte(recordSignature))
		if i < 0 {
			// A signature begins at a multiple of 8 and so is never cut in two.
			at += int64(len(b)) / recordAlign * recordAlign
			if len(b) < recordAlign {
				return 0, nil
			}
			continue
		}
		if at += int64(i); at%recordAlign == 0 {
			r, _, ok, err := w.record(l, at)
			if err != nil {
				return 0, err
			}
			if ok && r.Sequence > l.sequence && r.Synced > l.end {
				return at, nil
			}
		}
		at = (at/recordAlign + 1) * recordAlign
	}
	return 0, nil
}

// tail returns how many bytes from l.end on hold anything.
func (l *logFile) tail(w *window) (n int64, err error) {
	for at := l.end; at < l.size; {
		b, err := w.bytes(at, windowSize)
		if err != nil {
			return 0, err
		}
		if i := len(bytes.TrimRight(b, "\x00")); i > 0 {
			n = at + int64(i) - l.end
		}
		at += int64(len(b))
	}
	return n, nil
}
