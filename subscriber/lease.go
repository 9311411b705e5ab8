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
	lent    bool           // the bytes may be the loop's: it must wait for them
	bytes   []byte         // of a copied batch

	kind   leaseKind
	batch  wire.Batch
	skip   uint32
	refill bool      // the batch did not come live
	lists  [][]place // ByTopic: the records of each worker

	placed bool   // it has a number in the order of the shard
	number uint64 // see handled

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

// place gives the lease its place in the order of the shard: it reaches up to a
// sequence.
func (l *lease) place(epoch wire.Epoch, to wire.Seq) {
	l.placed, l.number = true, l.pool.handled.begin(epoch, to)
}

// drop lets go of the lease for one worker.
func (l *lease) drop() {
	if l.refs.Add(-1) == 0 {
		l.pool.put(l)
	}
}

// pool bounds what the workers hold of one shard. One goroutine at a time takes
// from it, the shard's loop or that of a Between; workers give back. What came back
// last goes out first: its lists are still in the cache.
type pool struct {
	mu    sync.Mutex
	free  []*lease     // its capacity is the number of leases
	spare [][]byte     // of copies, to be used again
	kept  int64        // bytes of it
	held  atomic.Int64 // bytes
	limit int64        // bytes
	lent  atomic.Int32 // leases whose bytes may be the loop's

	taking   waiter // who takes
	settling waiter // the loop, for lent to be 0
	handled  handled

	onHandled func() // nil, or to be called when a lease has come back

	waits  atomic.Uint64 // times that the loop had to wait
	waited atomic.Int64  // ns, together
}

// waiter is a goroutine that waits for leases to come back.
type waiter struct {
	waiting atomic.Bool // it waits, or is about to
	freed   chan struct{}
}

func newWaiter() waiter { return waiter{freed: make(chan struct{}, 1)} }

// errStopped: the run ended while the loop waited for a lease.
var errStopped = errors.New("subscriber: stopped")

// messageMin is what a message is counted with at least, bytes: libzmq receives
// small messages into buffers of 8 KiB, and each keeps its whole buffer.
const messageMin = 8 << 10

func newPool(batches int, limit int64, workers int) *pool {
	p := &pool{limit: limit, taking: newWaiter(), settling: newWaiter(), handled: newHandled(batches)}
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
	if !p.taking.await(stop, func() bool { l = p.try(size); return l != nil }) {
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

// lend takes note that a lease's bytes may be the loop's.
func (p *pool) lend(l *lease) {
	l.lent = true
	p.lent.Add(1)
}

// room returns an empty slice for a copy of size bytes.
func (p *pool) room(size int64) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := len(p.spare); n > 0; n = len(p.spare) {
		b := p.spare[n-1]
		p.spare[n-1], p.spare = nil, p.spare[:n-1]
		p.kept -= int64(cap(b))
		if int64(cap(b)) >= size {
			return b[:0]
		}
	}
	return make([]byte, 0, size)
}

// await waits until done, which it asks whenever a lease came back, or until
// stop is closed, and reports which.
func (w *waiter) await(stop <-chan struct{}, done func() bool) bool {
	w.waiting.Store(true)
	defer w.waiting.Store(false)
	// Asked after waiting is set: a lease that comes back before shows in the
	// answer, one that comes back after wakes.
	for !done() {
		select {
		case <-w.freed:
		case <-stop:
			return false
		}
	}
	return true
}

func (w *waiter) wake() {
	if w.waiting.Load() {
		select {
		case w.freed <- struct{}{}:
		default:
		}
	}
}

// settle waits until no lease is out whose bytes may be the loop's.
func (p *pool) settle() {
	p.settling.await(nil, func() bool { return p.lent.Load() == 0 })
}

func (p *pool) put(l *lease) {
	l.message.Clear()
	if l.placed {
		p.handled.end(l.number, l.lost.Load())
		l.placed = false
	}
	l.lost.Store(false)
	lent, copied := l.lent, l.bytes
	l.batch, l.note, l.lent, l.refill, l.bytes = wire.Batch{}, note{}, false, false, nil
	for i, list := range l.lists {
		if cap(list) > placesKept {
			l.lists[i] = nil
		}
	}
	p.mu.Lock()
	p.held.Add(-l.size)
	p.free = append(p.free, l)
	if size := int64(cap(copied)); size > 0 && p.kept+size <= p.limit {
		p.spare, p.kept = append(p.spare, copied), p.kept+size
	}
	p.mu.Unlock()
	if lent {
		p.lent.Add(-1)
	}
	p.taking.wake()
	p.settling.wake()
	if p.onHandled != nil {
		p.onHandled()
	}
}
