package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// HeadSize is how much of an input's content Detect and Open may look at
// without consuming it, bytes.
const HeadSize = 64 << 10

// Input is an opened input with its containers (gzip, zstd, zip) peeled off.
// Containers are recognised by their first bytes, never by the file's name.
//
// One goroutine reads it. Size and Consumed may be called from any goroutine,
// Close from any goroutine that does so after the last Read has returned.
//
// OpenInput and NewInput make one. A literal with Reader, Name and Head set is
// an Input too: its Size and Consumed are 0 and its Close does nothing.
type Input struct {
	io.Reader        // the content, from its first byte
	Name      string // path as the user gave it, or "-"
	Inner     string // name of the member inside a zip, or ""
	Head      []byte // the first bytes of the content, not consumed from Reader

	raw       *rawReader
	peeled    bool           // there is a container around the content
	closers   []func() error // innermost container last
	closeOnce sync.Once
	closeErr  error
}

// OpenInput opens the file at path, or standard input where path is "-", peels
// its containers and reads its head:
//
//   - gzip, with any number of members;
//   - zstd, with any number of frames, skippable ones included;
//   - zip with exactly one file in it, which may itself be gzip or zstd.
//
// It streams: what it holds does not grow with the file. Standard input can be
// a zip only where it is redirected from a file, since a zip's directory is at
// its end.
//
// An empty input is no error here: its Head is empty and Detect says so. A
// container that is cut off or damaged gives a *ContainerError, from here where
// no content came before the damage, else from Read after the last good byte.
// When ctx ends, Read returns its cause.
func OpenInput(ctx context.Context, path string) (*Input, error) {
	return OpenMember(ctx, path, "")
}

// OpenMember is OpenInput for the file called member in a zip; with member ""
// the zip must hold exactly one file. A member that the input does not have is
// an error that lists those it has.
func OpenMember(ctx context.Context, path, member string) (*Input, error) {
	f := os.Stdin
	if path != "-" {
		var err error
		if f, err = os.Open(path); err != nil {
			return nil, err
		}
	}
	raw, err := newFileReader(ctx, f, path)
	if err != nil {
		if f != os.Stdin {
			err = errors.Join(err, f.Close())
		}
		return nil, err
	}
	in := &Input{Name: path, raw: raw}
	if f != os.Stdin {
		in.closers = append(in.closers, f.Close)
	}
	return in.open(ctx, member)
}

// NewInput is OpenInput for content that is not a file of this system; name is
// what errors call it. A zip needs an r that is an io.ReaderAt and has a Size
// method, as bytes.Reader has. Close does not close r.
func NewInput(ctx context.Context, r io.Reader, name string) (*Input, error) {
	in := &Input{Name: name, raw: newRawReader(ctx, r)}
	return in.open(ctx, "")
}

// open peels the containers off in.raw and reads the head. It closes in on
// error.
func (in *Input) open(ctx context.Context, member string) (*Input, error) {
	r, container, err := in.peel(member)
	in.peeled = container != ""
	if err == nil {
		r = &contentReader{r: r, ctx: ctx, in: in, container: container}
		in.Head = make([]byte, HeadSize)
		var n int
		n, err = io.ReadFull(r, in.Head)
		in.Head = in.Head[:n:n]
		if n > 0 || errors.Is(err, io.EOF) {
			// What went wrong behind the first byte is told when the reader of
			// the content gets there; contentReader repeats it.
			err = nil
		}
	}
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	in.Reader = &headReader{head: in.Head, rest: r}
	return in, nil
}

// Size is the number of bytes that the input has on disk, containers included;
// 0 where that is not known.
func (in *Input) Size() int64 {
	if in.raw == nil {
		return 0
	}
	return in.raw.size
}

// ReaderAt returns the content as something that can be read at any place, and
// its size. It reports false for a container's content, a pipe, and an Input
// that is a literal. It may be used beside Read, heeds the context, and may be
// used until Close.
func (in *Input) ReaderAt() (io.ReaderAt, int64, bool) {
	if in.raw == nil || in.raw.at == nil || in.peeled {
		return nil, 0, false
	}
	return in.raw, in.raw.size, true
}

// Consumed is how many of the bytes on disk have been read so far. It runs
// ahead of what Read has returned by what lies in buffers.
func (in *Input) Consumed() int64 {
	if in.raw == nil {
		return 0
	}
	return in.raw.consumed.Load()
}

// Close stops the decoders, waits for them and closes the file. It is
// idempotent and returns the first error. Standard input stays open.
func (in *Input) Close() error {
	in.closeOnce.Do(func() {
		if in.raw != nil {
			in.raw.stop()
		}
		for i := len(in.closers) - 1; i >= 0; i-- {
			if err := in.closers[i](); err != nil && in.closeErr == nil {
				in.closeErr = err
			}
		}
	})
	return in.closeErr
}

// headReader gives the head again and then the rest.
type headReader struct {
	head []byte
	rest io.Reader
}

// Read implements io.Reader.
func (h *headReader) Read(p []byte) (int, error) {
	if len(h.head) == 0 {
		return h.rest.Read(p)
	}
	n := copy(p, h.head)
	h.head = h.head[n:]
	return n, nil
}

// contentReader is the outermost reader of an input: it counts the content,
// heeds the context, gives errors their place and keeps the first one.
type contentReader struct {
	r         io.Reader
	ctx       context.Context
	in        *Input
	container string // innermost: "gzip", "zstd", "zip" or ""
	content   int64
	err       error
}

// Read implements io.Reader.
func (c *contentReader) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if c.ctx.Err() != nil {
		c.err = context.Cause(c.ctx)
		return 0, c.err
	}
	n, err := c.r.Read(p)
	c.content += int64(n)
	switch {
	case err == io.EOF && c.container != "" && c.in.raw.size > 0:
		// What lies behind the content, such as a zip's directory, counts as read.
		c.in.raw.consumed.Store(c.in.raw.size)
	case err != nil && err != io.EOF:
		err = c.in.containerError(c.container, c.content, err)
	}
	c.err = err
	return n, err
}

// containerError gives err, which a container's decoder returned after content
// bytes, its place. An error of the file itself or of the context is returned
// as it is: the container is not to blame for it.
func (in *Input) containerError(container string, content int64, err error) error {
	if rawErr := in.raw.failure(); rawErr != nil {
		return rawErr
	}
	if container == "" {
		return err
	}
	return &ContainerError{
		Name: in.Name, Inner: in.Inner, Container: container,
		Offset: in.Consumed(), Content: content, Err: err,
	}
}

// ContainerError: a gzip, zstd or zip around an input is cut off or damaged.
type ContainerError struct {
	Name      string // the input, as in Input.Name
	Inner     string // the zip's member, or ""
	Container string // "gzip", "zstd" or "zip"
	Offset    int64  // bytes of the file read when it showed; the damage is before it
	Content   int64  // good bytes of content before the damage
	Err       error  // what the decoder says; io.ErrUnexpectedEOF where the data ends too soon
}

// Error implements error.
func (e *ContainerError) Error() string {
	name := e.Name
	if e.Inner != "" {
		name += " (" + e.Inner + ")"
	}
	if errors.Is(e.Err, io.ErrUnexpectedEOF) {
		return fmt.Sprintf("%s: %s is cut off at byte %d, after %d bytes of content", name, e.Container, e.Offset, e.Content)
	}
	return fmt.Sprintf("%s: %s is damaged before byte %d, after %d bytes of content: %v",
		name, e.Container, e.Offset, e.Content, e.Err)
}

// Unwrap returns what the decoder says.
func (e *ContainerError) Unwrap() error { return e.Err }
