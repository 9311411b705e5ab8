package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// rawReader reads the bytes as they are on disk. It counts them and keeps the
// first error that is not the end, so that a decoder's error can be told from
// the file's.
type rawReader struct {
	r        io.Reader
	at       io.ReaderAt // nil where the input cannot be read at any place
	size     int64       // 0 where not known
	consumed atomic.Int64
	ctx      context.Context
	stop     context.CancelFunc

	mu  sync.Mutex
	err error
}

// newRawReader reads from r. A zip needs r to be an io.ReaderAt with a size.
func newRawReader(ctx context.Context, r io.Reader) *rawReader {
	raw := &rawReader{r: r}
	raw.ctx, raw.stop = context.WithCancel(ctx)
	at, isAt := r.(io.ReaderAt)
	sized, isSized := r.(interface{ Size() int64 })
	if isAt && isSized {
		raw.at, raw.size = at, sized.Size()
	}
	return raw
}

// newFileReader reads from f, which path names.
func newFileReader(ctx context.Context, f *os.File, path string) (*rawReader, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("feed: %s is a directory, not a file", path)
	}
	raw := &rawReader{r: f}
	raw.ctx, raw.stop = context.WithCancel(ctx)
	if info.Mode().IsRegular() {
		raw.at, raw.size = f, info.Size()
		return raw, nil
	}
	raw.r = &pipeReader{f: f, ctx: raw.ctx}
	return raw, nil
}

// Read implements io.Reader.
func (r *rawReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, r.fail(context.Cause(r.ctx))
	}
	n, err := r.r.Read(p)
	r.consumed.Add(int64(n))
	if err != nil && err != io.EOF {
		r.fail(err)
	}
	return n, err
}

// ReadAt implements io.ReaderAt where r.at is set.
func (r *rawReader) ReadAt(p []byte, off int64) (int, error) {
	if r.ctx.Err() != nil {
		return 0, r.fail(context.Cause(r.ctx))
	}
	n, err := r.at.ReadAt(p, off)
	r.consumed.Add(int64(n))
	if err != nil && err != io.EOF {
		r.fail(err)
	}
	return n, err
}

func (r *rawReader) fail(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
	return err
}

// failure returns the first error of the file or the context, or nil.
func (r *rawReader) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// pollMs is how long pipeReader waits before it looks at its context again.
const pollMs = 100

// pipeReader reads a pipe, terminal or device and gives up when its context
// ends. A plain read of one could block for ever, and neither closing the file
// nor a deadline ends a blocked read of an inherited descriptor.
type pipeReader struct {
	f   *os.File
	ctx context.Context
}

// Read implements io.Reader.
func (p *pipeReader) Read(b []byte) (int, error) {
	for {
		if p.ctx.Err() != nil {
			return 0, context.Cause(p.ctx)
		}
		fds := []unix.PollFd{{Fd: int32(p.f.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, pollMs)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0, os.NewSyscallError("poll", err)
		}
		if n > 0 {
			return p.f.Read(b)
		}
	}
}
