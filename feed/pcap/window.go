package pcap

import (
	"context"
	"errors"
	"io"
)

// windowSize is the size of the buffer that a capture is read through, bytes. A
// packet that does not fit makes it grow as the packet's bytes arrive.
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

func newWindow(ctx context.Context, r io.Reader, size int) window {
	return window{ctx: ctx, r: r, buf: make([]byte, size)}
}

// rest returns what was read and not used yet, borrowed until the next fill.
func (w *window) rest() []byte { return w.buf[w.pos:w.end] }

// offset is the place of rest in the content.
func (w *window) offset() int64 { return w.base + int64(w.pos) }

// fill reads on until rest has at least n bytes. The error is the reader's,
// io.EOF at its end; rest is then what there was.
func (w *window) fill(n int) error {
	if w.end-w.pos >= n {
		return nil
	}
	return w.read(n)
}

func (w *window) read(n int) error {
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
		} else if idle++; idle == 100 && w.err == nil {
			w.err = io.ErrNoProgress
		}
	}
	return nil
}

// skip moves n bytes on.
func (w *window) skip(n int64) error {
	for n > 0 {
		if err := w.fill(1); err != nil {
			return err
		}
		k := min(n, int64(w.end-w.pos))
		w.pos += int(k)
		n -= k
	}
	return nil
}

// ended reports whether err says that the input ended, be it where it should or
// in the middle of a compressed frame.
func ended(err error) bool { return err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) }
