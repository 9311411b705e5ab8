package dbn

import (
	"context"
	"errors"
	"io"
)

// windowSize is the size of the one buffer that a source reads through, bytes.
const windowSize = 256 << 10

// window is a view of the input that moves forward through one buffer.
type window struct {
	ctx  context.Context
	r    io.Reader
	err  error // of the reader, reported once the buffer is used up
	buf  []byte
	base int64 // offset of buf[0] in the content
	pos  int   // of what comes next in buf
	end  int   // of what was read
}

func newWindow(ctx context.Context, r io.Reader) window {
	return window{ctx: ctx, r: r, buf: make([]byte, windowSize)}
}

// rest returns what was read and not used yet, borrowed until the next fill.
func (w *window) rest() []byte { return w.buf[w.pos:w.end] }

// offset is the place of rest in the content.
func (w *window) offset() int64 { return w.base + int64(w.pos) }

// fill reads on until rest has at least n bytes, n at most windowSize. The error
// is the reader's, io.EOF at its end; rest is then what there was.
func (w *window) fill(n int) error {
	if w.end-w.pos >= n {
		return nil
	}
	w.base += int64(w.pos)
	w.end = copy(w.buf, w.buf[w.pos:w.end])
	w.pos = 0
	for idle := 0; w.end < n; {
		if w.err != nil {
			return w.err
		}
		if err := w.ctx.Err(); err != nil {
			return err
		}
		var k int
		k, w.err = w.r.Read(w.buf[w.end:])
		w.end += k
		if k > 0 {
			idle = 0
		} else if idle++; idle == 100 && w.err == nil {
			w.err = io.ErrNoProgress
		}
	}
	return nil
}

// take appends the next n bytes to dst.
func (w *window) take(dst []byte, n int) ([]byte, error) {
	for n > 0 {
		if err := w.fill(1); err != nil {
			return dst, err
		}
		k := min(n, w.end-w.pos)
		dst = append(dst, w.buf[w.pos:][:k]...)
		w.pos += k
		n -= k
	}
	return dst, nil
}

// resync moves from a place that is no record to the next place that is one: to
// where the length byte there points, if a record begins there, else to the
// first byte at which one does. The error is the reader's where the input ends
// first; all of it is skipped then.
func (w *window) resync(size int) error {
	if size >= headSize {
		if err := w.fill(size + lookahead); err != nil && !ended(err) {
			return err
		}
		if b := w.rest(); len(b) > size && w.recordAt(b[size:]) {
			w.pos += size
			return nil
		}
	}
	for {
		w.pos++
		err := w.fill(lookahead)
		if err != nil && (!ended(err) || len(w.rest()) == 0) {
			return err
		}
		if w.recordAt(w.rest()) {
			return nil
		}
	}
}

// lookahead is what recordAt wants to see: a record and the head of the next.
const lookahead = recordSizeMax + headSize

// recordAt reports whether a believable record begins at b, whole and followed
// by another one or by the end of the input.
func (w *window) recordAt(b []byte) bool {
	if !plausible(b) {
		return false
	}
	size := int(b[lengthOff]) * wordSize
	if len(b) < size {
		return false
	}
	next := b[size:]
	return plausible(next) || (len(next) < headSize && w.err != nil && ended(w.err))
}

// ended reports whether err says that the input ended, be it where it should or
// in the middle of a compressed frame.
func ended(err error) bool { return err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) }
