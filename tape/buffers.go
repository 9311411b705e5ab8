package tape

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// bufferPool hands out the buffers that compressed blocks are decoded into. They
// lie outside the Go heap: whoever retains a block may lend its bytes to C,
// which may keep them until the block is released.
type bufferPool struct {
	mu     sync.Mutex
	free   []*buffer
	closed bool
}

// buffer is memory for one decoded block and the decoder that fills it.
type buffer struct {
	memory []byte // as it was mapped
	data   []byte // of the current block
	dec    decoder
}

// get returns a buffer of exactly size bytes with undefined content.
func (p *bufferPool) get(size int) (*buffer, error) {
	p.mu.Lock()
	var b *buffer
	if n := len(p.free); n > 0 {
		b, p.free = p.free[n-1], p.free[:n-1]
	}
	p.mu.Unlock()
	if b == nil {
		b = &buffer{}
	}
	if len(b.memory) < size {
		if err := b.grow(size); err != nil {
			return nil, err
		}
	}
	b.data = b.memory[:size:size]
	return b, nil
}

// grow maps more memory, rounded up so that it fits the next block, too.
func (b *buffer) grow(size int) error {
	const step = 64 << 10
	b.unmap()
	memory, err := unix.Mmap(-1, 0, (size+step-1)/step*step, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("tape: memory for a block of %d bytes: %w", size, err)
	}
	b.memory = memory
	return nil
}

func (b *buffer) unmap() {
	if b.memory != nil {
		_ = unix.Munmap(b.memory) // unmapping what was mapped does not fail
		b.memory, b.data = nil, nil
	}
}

// put takes a buffer back.
func (p *bufferPool) put(b *buffer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		b.unmap()
		return
	}
	p.free = append(p.free, b)
}

// close frees the buffers that nobody has; the others are freed when they come
// back.
func (p *bufferPool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, b := range p.free {
		b.unmap()
	}
	p.free = nil
}
