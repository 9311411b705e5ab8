package replay

import (
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/wire"
)

// buffer is where records are gathered into a batch: memory outside the Go heap,
// so that it can be lent to libzmq as it lies.
type buffer struct {
	pool    *pool
	memory  []byte // payload from the start, order from orderAt on
	orderAt int
	payload int // bytes used
	latest  int // where the latest record begins
	order   int // bytes used
	first   wire.Ordinal
	last    wire.Ordinal
	dense   bool // every ordinal follows the one before it
	count   uint32
	time    wire.Nanos   // tape time of the last record
	dues    []int64      // paced: when each record was due
	refs    atomic.Int32 // releases until it is free again
}

// orderMax is the size of the longest order step, bytes.
const orderMax = 10

// pool holds the buffers of one player. One goroutine takes; any may release.
type pool struct {
	mu      sync.Mutex
	free    []*buffer
	payload int // payload capacity of a buffer
	made    int
	max     int
}

func newPool(payload, max int) *pool { return &pool{payload: payload, max: max} }

// take returns an empty buffer with room for a record of the given size, or nil
// when all buffers are lent.
func (p *pool) take(need int) (*buffer, error) {
	if need > p.payload {
		return p.make(need) // an outsize record gets a buffer of its own
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return b, nil
	}
	if p.made >= p.max {
		return nil, nil
	}
	p.made++
	return p.make(p.payload)
}

func (p *pool) make(payload int) (*buffer, error) {
	orderAt := (payload + 7) &^ 7
	memory, err := unix.Mmap(-1, 0, orderAt+payload/4+orderMax, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("replay: memory for a batch of %d bytes: %w", payload, err)
	}
	return &buffer{pool: p, memory: memory, orderAt: orderAt}, nil
}

// close frees the buffers. None may be lent.
func (p *pool) close() {
	for _, b := range p.free {
		_ = unix.Munmap(b.memory)
	}
	p.free = nil
}

// Release gives one reference back; with the last one the buffer goes back to its
// pool.
func (b *buffer) Release() {
	if b.refs.Add(-1) > 0 {
		return
	}
	b.payload, b.order, b.count, b.dues = 0, 0, 0, b.dues[:0]
	if b.orderAt-b.pool.payload >= 8 {
		_ = unix.Munmap(b.memory) // it was made for an outsize record
		return
	}
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	b.pool.free = append(b.pool.free, b)
}

// fits reports whether a record of the given size has room.
func (b *buffer) fits(size int) bool {
	return b.payload+size <= b.orderAt && b.orderAt+b.order+orderMax <= len(b.memory)
}

// add copies one record. It must fit, and its ordinal must be above the last.
func (b *buffer) add(r wire.Record, ordinal wire.Ordinal) {
	if b.count == 0 {
		b.first, b.dense = ordinal, true
	} else {
		order := wire.AppendOrder(b.memory[b.orderAt+b.order:b.orderAt+b.order], b.last, ordinal)
		b.order += len(order)
		b.dense = b.dense && ordinal == b.last+1
	}
	b.last, b.latest = ordinal, b.payload
	b.payload += copy(b.memory[b.payload:b.orderAt], r)
	b.count++
}

// markLast marks the latest record as a last value.
func (b *buffer) markLast() { wire.Record(b.memory[b.latest:b.payload]).SetSnapshot() }

// batch returns the gathered records as a batch that borrows the buffer.
func (b *buffer) batch(due wire.Nanos) wire.Batch {
	batch := wire.Batch{
		Header:  wire.Header{Count: b.count, FirstOrdinal: b.first, Due: due},
		Payload: b.memory[:b.payload],
	}
	if !b.dense {
		batch.Order = b.memory[b.orderAt : b.orderAt+b.order]
	}
	batch.CRC = wire.CRC(batch.Payload, batch.Order)
	return batch
}

// spares are buffers in the Go heap, for batches that are made for others: nobody
// knows how long they keep them.
var spares sync.Pool

// takeSpare returns an empty buffer in the Go heap for a payload of the given size.
func takeSpare(payload int) *buffer {
	b, _ := spares.Get().(*buffer)
	if b == nil || b.orderAt < payload {
		b = &buffer{}
		b.reserve(payload)
	}
	return b
}

func (b *buffer) reserve(payload int) {
	b.orderAt = (payload + 7) &^ 7
	b.memory = make([]byte, b.orderAt+payload/4+orderMax)
}

// widen makes room for one large record where there is none yet.
func (b *buffer) widen(size int) bool {
	if b.count > 0 {
		return false
	}
	b.reserve(size)
	return true
}

// giveBack ends the use of a spare buffer.
func (b *buffer) giveBack() {
	b.payload, b.order, b.count = 0, 0, 0
	spares.Put(b)
}
