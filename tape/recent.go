package tape

import (
	"slices"
	"sync"
)

// What is kept of the blocks that were read last by sequence: whoever wants a
// block in parts, or wants what others have just had, need not decode it again.
const (
	recentMax     = 8       // blocks
	recentSizeMax = 2 << 20 // of one of them, bytes
)

// recentBlocks keeps the blocks that were read last.
type recentBlocks struct {
	mu     sync.Mutex
	list   []recentBlock // the latest at the end
	closed bool
}

// recentBlock is a block, retained.
type recentBlock struct {
	segment *segment
	block   *Block
	hint    cutPoint // where its last part ended
}

// find returns a block's place in the list, or -1. The lock is held.
func (r *recentBlocks) find(s *segment, offset int64) int {
	return slices.IndexFunc(r.list, func(k recentBlock) bool { return k.segment == s && k.block.Info.Offset == offset })
}

// get returns a block with one more reference, and where its last part ended, or
// nil.
func (r *recentBlocks) get(s *segment, offset int64) (*Block, cutPoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.find(s, offset)
	if i < 0 {
		return nil, cutPoint{}
	}
	k := r.list[i]
	r.list = append(slices.Delete(r.list, i, i+1), k)
	k.block.Retain()
	return k.block, k.hint
}

// put keeps a block, retaining it, and notes where its last part ended.
func (r *recentBlocks) put(s *segment, b *Block, hint cutPoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || b.Info.RawSize() > recentSizeMax {
		return
	}
	if i := r.find(s, b.Info.Offset); i >= 0 {
		r.list[i].hint = hint
		return
	}
	if len(r.list) == recentMax {
		r.list[0].block.Release()
		r.list = slices.Delete(r.list, 0, 1)
	}
	b.Retain()
	r.list = append(r.list, recentBlock{segment: s, block: b, hint: hint})
}

// forget lets go of a segment's blocks.
func (r *recentBlocks) forget(s *segment) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = slices.DeleteFunc(r.list, func(k recentBlock) bool {
		if k.segment == s {
			k.block.Release()
		}
		return k.segment == s
	})
}

// close lets go of all blocks for good.
func (r *recentBlocks) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, k := range r.list {
		k.block.Release()
	}
	r.list = nil
}
