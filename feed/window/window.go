// Package window views an input through one buffer that moves forward, for
// formats whose records lie one behind the other.
package window

import (
	"context"
	"errors"
	"io"
)

// Size is the usual size of a window's buffer, bytes.
const Size = 256 << 10

// idleMax is how many reads in a row may give nothing.
const idleMax = 100

// Window is a view of an input. One goroutine uses it.
type Window struct {
	ctx  context.Context
	r    io.Reader
	err  error // of the reader, reported once the buffer is used up
	buf  []byte
	base int64 // offset of buf[0] in the input
	pos  int   // of what comes next in buf
	end  int   // of what was read
}

// New returns a window at the start of r, with a buffer of size bytes, 1 or more.
// It reads nothing yet. Reads fail once ctx has ended.
func New(ctx context.Context, r io.Reader, size int) Window {
	return Window{ctx: ctx, r: r, buf: make([]byte, max(size, 1))}
}

// Rest returns what was read and not passed yet, borrowed until the next Fill,
// Take or Skip.
func (w *Window) Rest() []byte { return w.buf[w.pos:w.end] }

// Offset is the place of Rest in the input, bytes.
func (w *Window) Offset() int64 { return w.base + int64(w.pos) }

// Pass moves behind the first n bytes of Rest, which must have them.
func (w *Window) Pass(n int) { w.pos += n }

// Fill reads on until Rest has at least n bytes. The buffer grows for that as the
// bytes arrive, not because n says so. The error is the reader's, io.EOF at its
// end, or the context's cause; Rest is then what there was.
func (w *Window) Fill(n int) error {
	if w.end-w.pos >= n {
		return nil
	}
	return w.read(n)
}

func (w *Window) read(n int) error {
	w.base += int64(w.pos)
	w.end = copy(w.buf, w.buf[w.pos:w.end])
	w.pos = 0
	for idle := 0; w.end < n; {
		if w.err != nil {
			return w.err
		}
		if w.ctx.Err() != nil {
			return context.Cause(w.ctx)
		}
		if w.end == len(w.buf) {
			w.buf = append(w.buf, make([]byte, min(len(w.buf), n-w.end))...)
		}
		var k int
		k, w.err = w.r.Read(w.buf[w.end:])
		w.end += k
		if k > 0 {
			idle = 0
		} else if idle++; idle == idleMax && w.err == nil {
			w.err = io.ErrNoProgress
		}
	}
	return nil
}

// Skip moves n bytes on, whatever Rest has. The error is as with Fill; the window
// is then at the end.
func (w *Window) Skip(n int64) error {
	for n > 0 {
		if err := w.Fill(1); err != nil {
			return err
		}
		k := min(n, int64(w.end-w.pos))
		w.pos += int(k)
		n -= k
	}
	return nil
}

// Failed returns the error that the reader gave, also while Rest still has bytes
// from before it, or nil.
func (w *Window) Failed() error { return w.err }

// Ended reports whether err says that the input ended, be it where it should or
// in the middle of a compressed frame.
func Ended(err error) bool { return err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) }
