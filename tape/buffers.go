package tape

import "sync"

// bufferPool hands out the buffers that compressed blocks are decoded into. It
// is the one place that decides where they lie: replacing allocate puts them
// outside the Go heap.
type bufferPool struct {
	mu   sync.Mutex
	free []*buffer
}

// buffer is memory for one decoded block and the decoder that fills it.
type buffer struct {
	data []byte
	dec  decoder
}

// get returns a buffer of exactly size bytes with undefined content.
func (p *bufferPool) get(size int) *buffer {
	p.mu.Lock()
	var b *buffer
	if n := len(p.free); n > 0 {
		b, p.free = p.free[n-1], p.free[:n-1]
	}
	p.mu.Unlock()
	if b == nil {
		b = &buffer{}
	}
	if cap(b.data) < size {
		b.data = allocate(size)
	}
	b.data = b.data[:size]
	return b
}

func (p *bufferPool) put(b *buffer) {
	p.mu.Lock()
	p.free = append(p.free, b)
	p.mu.Unlock()
}

// allocate rounds up, so that a buffer fits the next block, too.
func allocate(size int) []byte {
	const step = 64 << 10
	return make([]byte, (size+step-1)/step*step)
}
