package subscriber

import (
	"sync"

	"github.com/tapedeck/tapedeck/wire"
)

// Position is how far a shard has been handled: all before sequence Next of Epoch.
type Position struct {
	Shard int
	Epoch wire.Epoch
	Next  wire.Seq
}

// Handled returns how far the workers have handled each shard of which they were
// given anything: every worker has returned from everything before that place.
// Where a batch was discarded, a shard stays where it was. It may be called while
// Run runs; one that goes on there later misses nothing.
func (w *Workers) Handled() []Position {
	var list []Position
	for i, p := range w.pools {
		if at, ok := p.handled.at(); ok {
			at.Shard = i
			list = append(list, at)
		}
	}
	return list
}

// handled keeps the order in which a shard's leases went out, and how far those that
// came back reach without one missing before them.
type handled struct {
	mu    sync.Mutex
	steps []step // a ring: of the leases that are out, those with a place in the stream
	first uint64 // number of the oldest
	next  uint64 // number of the next one
	pos   Position
	begun bool
	stuck bool // a batch was discarded
}

// step is the end of a batch, or of a gap.
type step struct {
	epoch wire.Epoch
	to    wire.Seq
	done  bool
	lost  bool
}

// newHandled has room for as many leases as a pool has.
func newHandled(leases int) handled { return handled{steps: make([]step, leases)} }

// begin takes note that something goes out, and returns its number.
func (h *handled) begin(epoch wire.Epoch, to wire.Seq) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.next
	h.steps[n%uint64(len(h.steps))] = step{epoch: epoch, to: to}
	h.next++
	return n
}

// end takes note that it came back.
func (h *handled) end(n uint64, lost bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &h.steps[n%uint64(len(h.steps))]
	s.done, s.lost = true, lost
	for ; h.first < h.next; h.first++ {
		s := &h.steps[h.first%uint64(len(h.steps))]
		if !s.done {
			return
		}
		h.stuck = h.stuck || s.lost
		if !h.stuck {
			h.pos, h.begun = Position{Epoch: s.epoch, Next: s.to}, true
		}
	}
}

// idle reports whether nothing is out, or was discarded, and otherwise how far what
// has come back reaches; of epoch 0 where that is nowhere.
func (h *handled) idle() (behind Position, idle bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pos, h.first == h.next && !h.stuck
}

func (h *handled) at() (Position, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pos, h.begun
}
