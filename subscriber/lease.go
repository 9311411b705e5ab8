package subscriber

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// lease is a batch, or what is told between batches, that workers hold by
// reference. Whoever lets go last gives it back to its shard's pool.
type lease struct {
	pool    *pool
	message *zsock.Message // holds the batch's bytes; empty in a lease that is free
	size    int64          // bytes counted against the pool
	refs    atomic.Int32   // who hold it: workers, and the loop until it has handed it over
	lost    atomic.Bool    // a worker discarded it

	kind  leaseKind
	batch wire.Batch
	skip  uint32
	lists [][]place // ByTopic: the records of each worker

	note note // of every kind but leaseBatch
}

type leaseKind uint8

const (
	leaseBatch leaseKind = iota
	leaseGap
	leaseSession
	leaseEnd
	leaseNotice
)

// note is what is told between batches.
type note struct {
	epoch    wire.Epoch
	from, to wire.Seq
	session  *wire.Session
	complete bool
	notice   wire.Record // a copy
}

// place is where a record is in its batch's payload, bytes, and which one it is.
type place struct {
	at, size, index uint32
}

// placesKept is the longest list that a free lease keeps the memory of: rare
// large batches shall not hold theirs for ever.
const placesKept = 1 << 16

// drop lets go of the lease for one worker.
func (l *lease) drop() {
	if l.refs.Add(-1) == 0 {
		l.pool.put(l)
	}
}

// pool bounds what the workers hold of one shard. The shard's loop alone takes
// from it, workers give back. What came back last goes out first: its lists are
// still in the cache.
type pool struct {
	mu      sync.Mutex
	free    []*lease     // its capacity is the number of leases
	held    atomic.Int64 // bytes
	limit   int64        // bytes
	waiting atomic.Bool  // the loop waits, or is about to
	freed   chan struct{}

	waits  atomic.Uint64 // times that the loop had to wait
	waited atomic.Int64  // ns, together
}

// errStopped: the run ended while the loop waited for a lease.
var errStopped = errors.New("subscriber: stopped")

// messageMin is what a message is counted with at least, bytes: libzmq receives
// small messages into buffers of 8 KiB, and each keeps its whole buffer.
const messageMin = 8 << 10

func newPool(batches int, limit int64, workers int) *pool {
	p := &pool{limit: limit, freed: make(chan struct{}, 1)}
	leases := make([]lease, batches)
	for i := range leases {
		leases[i].pool, leases[i].lists = p, make([][]place, workers)
		p.free = append(p.free, &leases[i])
	}
	p.free = slices.Clip(p.free)
	return p
}

// open gives every lease its message. The pool must be whole.
func (p *pool) open() {
	for _, l := range p.free {
		l.message = zsock.NewMessage()
	}
}

// close takes the messages away again. The pool must be whole.
func (p *pool) close() {
	for _, l := range p.free {
		l.message.Close()
		l.message = nil
	}
}

// take returns a free lease for size bytes, held by the caller. While the pool is full it
// waits, until stop is closed: then it returns errStopped. A batch that is larger
// than the pool is let through when nothing else is held.
func (p *pool) take(size int64, stop <-chan struct{}) (*lease, error) {
	if l := p.try(size); l != nil {
		return l, nil
	}
	p.waits.Add(1)
	start := time.Now()
	defer func() { p.waited.Add(int64(time.Since(start))) }()
	var l *lease
	if !p.await(stop, func() bool { l = p.try(size); return l != nil }) {
		return nil, errStopped
	}
	return l, nil
}

// try returns nil where the pool is full.
func (p *pool) try(size int64) *lease {
	if held := p.held.Load(); held != 0 && held+size > p.limit {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.free)
	if n == 0 {
		return nil
	}
	l := p.free[n-1]
	p.free = p.free[:n-1]
	l.size = size
	p.held.Add(size)
	l.refs.Store(1)
	return l
}

// await waits until done, which it asks whenever a lease came back, or until
// stop is closed, and reports which.
func (p *pool) await(stop <-chan struct{}, done func() bool) bool {
	p.waiting.Store(true)
	defer p.waiting.Store(false)
	// Asked after waiting is set: a lease that comes back before shows in the
	// answer, one that comes back after wakes.
	for !done() {
		select {
		case <-p.freed:
		case <-stop:
			return false
		}
	}
	return true
}

// settle waits until every lease is back.
func (p *pool) settle() {
	p.await(nil, p.whole)
}

func (p *pool) whole() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.free) == cap(p.free)
}

func (p *pool) put(l *lease) {
	l.message.Clear()
	l.batch, l.note = wire.Batch{}, note{}
	for i, list := range l.lists {
		if cap(list) > placesKept {
			l.lists[i] = nil
		}
	}
	p.mu.Lock()
	p.held.Add(-l.size)
	p.free = append(p.free, l)
	p.mu.Unlock()
	if p.waiting.Load() {
		select {
		case p.freed <- struct{}{}:
		default:
		}
	}
}
