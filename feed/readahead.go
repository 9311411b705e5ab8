package feed

import (
	"io"
	"os"
	"sync"
)

const (
	// aheadBuffers is how many buffers a readAhead has.
	aheadBuffers = 3
	// aheadSize is the size of each, bytes.
	aheadSize = 256 << 10
)

// readAhead reads from a decoder in a goroutine of its own, so that unpacking
// overlaps with what the reader does with the content. The goroutine owns the
// decoder; buffers travel to the reader through full and back through free.
type readAhead struct {
	full chan filled
	free chan []byte
	quit chan struct{}
	done chan struct{}
	once sync.Once

	current filled // the reader's; rest of it is unread
	rest    []byte
}

// filled is one buffer's content and the error that came behind it.
type filled struct {
	buf []byte
	err error
}

// newReadAhead starts reading r. The caller must Close it, and must not use r
// before it has.
func newReadAhead(r io.Reader) *readAhead {
	a := &readAhead{
		full: make(chan filled, aheadBuffers),
		free: make(chan []byte, aheadBuffers),
		quit: make(chan struct{}),
		done: make(chan struct{}),
	}
	for range aheadBuffers {
		a.free <- make([]byte, aheadSize)
	}
	go a.run(r)
	return a
}

func (a *readAhead) run(r io.Reader) {
	defer close(a.done)
	for {
		var buf []byte
		select {
		case <-a.quit:
			return
		case buf = <-a.free:
		}
		n, err := fill(r, buf[:cap(buf)])
		// full has room for every buffer, so this never blocks.
		a.full <- filled{buf[:n], err}
		if err != nil {
			return
		}
	}
}

// fill reads until buf is full or r gives an error, which it returns as it is.
func fill(r io.Reader, buf []byte) (int, error) {
	n := 0
	for n < len(buf) {
		m, err := r.Read(buf[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Read implements io.Reader.
func (a *readAhead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.current.err != nil {
			return 0, a.current.err
		}
		if a.current.buf != nil {
			a.free <- a.current.buf // has room: there are no more buffers than places
		}
		if !a.next() {
			return 0, os.ErrClosed
		}
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// next takes the next full buffer. It reports whether there is one, which is
// not so only after Close.
func (a *readAhead) next() bool {
	select {
	case a.current = <-a.full:
	case <-a.done:
		select {
		case a.current = <-a.full: // the last one, and done, came together
		default:
			a.current = filled{}
			return false
		}
	}
	a.rest = a.current.buf
	return true
}

// Close stops the goroutine and waits for it. It is idempotent.
func (a *readAhead) Close() error {
	a.once.Do(func() { close(a.quit) })
	<-a.done
	return nil
}
