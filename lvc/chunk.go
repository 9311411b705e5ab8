package lvc

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/internal/zmtp"
	"github.com/tapedeck/tapedeck/wire"
)

const (
	chunkSmall = 16 << 10  // what a tail begins with
	chunkTail  = 64 << 10  // and goes on with, where more waits
	chunkSize  = 256 << 10 // messages are handed on when there are so many bytes
	copyBelow  = 8 << 10   // fewer bytes are cheaper to copy than to share
)

// chunk is whole messages as they go out. A large one is shared by the queues of
// all readers that get all of it; small ones are one reader's.
type chunk struct {
	data     []byte
	messages int
	refs     atomic.Int32
}

// chunkClasses are pools of chunks by capacity, so that little that waits takes
// little memory.
var chunkClasses = [...]struct {
	size int
	pool sync.Pool
}{{size: chunkSmall}, {size: chunkTail}, {size: chunkSize}, {size: 2 * chunkSize}}

// newChunk returns an empty chunk that has room for size bytes, and one reference.
func newChunk(size int) *chunk {
	for i := range chunkClasses {
		if class := &chunkClasses[i]; size <= class.size {
			c, ok := class.pool.Get().(*chunk)
			if !ok {
				c = &chunk{data: make([]byte, 0, class.size)}
			}
			c.data, c.messages = c.data[:0], 0
			c.refs.Store(1)
			return c
		}
	}
	c := &chunk{data: make([]byte, 0, size)}
	c.refs.Store(1)
	return c
}

// release gives a reference back. The bytes are not to be touched any more.
func (c *chunk) release() {
	if c.refs.Add(-1) != 0 {
		return
	}
	for i := range chunkClasses {
		if class := &chunkClasses[i]; cap(c.data) == class.size {
			class.pool.Put(c)
			return // it may be another's by now
		}
	}
}

// appendEntry appends [topic][header][body] as frames and returns the extended
// slice. more says that another entry of the same message follows.
func appendEntry[T string | []byte](dst []byte, topic T, h *wire.Plain, body []byte, more bool) []byte {
	dst = zmtp.AppendFrameHead(dst, len(topic), true)
	dst = append(dst, topic...)
	dst = zmtp.AppendFrameHead(dst, wire.PlainHeaderSize, true)
	n := len(dst)
	dst = slices.Grow(dst, wire.PlainHeaderSize)[:n+wire.PlainHeaderSize]
	wire.PutPlain(dst[n:], h)
	return zmtp.AppendFrame(dst, body, more)
}
