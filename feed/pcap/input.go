package pcap

import (
	"bufio"
	"context"
	"io"
)

// bufferMin is the least buffer that the library's readers read from without
// putting one of their own in front.
const bufferMin = 4096

// input is the input of a capture, behind a buffer that the readers of the library
// share: they read from a bufio.Reader as it is. So the place of what comes next is
// known, which they do not tell.
type input struct {
	buf  *bufio.Reader
	ctx  context.Context
	r    io.Reader
	read int64 // bytes out of r
	err  error // of r or of ctx, which the library does not always hand on as it is
}

func newInput(ctx context.Context, r io.Reader, size int) *input {
	in := &input{ctx: ctx, r: r}
	in.buf = bufio.NewReaderSize(in, max(size, bufferMin))
	return in
}

// Read is for the buffer. Reads fail once the context has ended.
func (in *input) Read(p []byte) (int, error) {
	if in.ctx.Err() != nil {
		in.err = context.Cause(in.ctx)
		return 0, in.err
	}
	n, err := in.r.Read(p)
	in.read += int64(n)
	if err != nil {
		in.err = err
	}
	return n, err
}

// offset is the place of what comes next, bytes.
func (in *input) offset() int64 { return in.read - int64(in.buf.Buffered()) }
