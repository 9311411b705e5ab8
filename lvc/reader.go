package lvc

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/internal/zmtp"
)

const (
	writeAtOnce  = 64              // chunks of one write
	lingerAtStop = 2 * time.Second // for what waits to be taken when the hub closes
)

// answerStall is how long a part of an answer may take to be taken.
var answerStall = 10 * time.Second // tests have less time

// reader is one connection of a SUB client. Its queue is written by a goroutine of
// its own.
type reader struct {
	hub  *hub
	conn net.Conn // nil: an outlet, which has neither subscriptions nor an end
	peer string   // unique among those that are connected

	// Guarded by the hub's lock.
	who           identity // nobody, where there is no lock
	subscriptions map[string]struct{}
	everything    bool      // one of them is empty
	mark          uint64    // of the last lookup that found it
	batch         []byte    // messages of the batch at hand that its filters want
	messages      int       // in batch
	asked         time.Time // when it last wanted an answer
	pings         bool      // its version of the protocol has them
	marked        uint64    // the latest mark that it was given, see confirms
	confirmed     uint64    // the latest that it has all before
	tooFar        bool      // it is not waited for

	answered Bell          // rung when no long answer is on its way any more
	wake     Bell          // rung when the queue has something, and when the reader ends
	done     chan struct{} // closed when the reader ends

	mu     sync.Mutex // a leaf: nothing is locked within
	queue  []item     // from head on
	head   int
	tail   *chunk       // the last item, where messages may be copied behind it
	queued int64        // bytes of chunks in the queue, and being written
	urgent []byte       // between messages, before the queue
	behind bool         // the queue was full: nothing goes in until it is empty
	ending bool         // what waits is written, then the connection closes
	told   bool         // that records were dropped has been squawked
	passed []passedMark // of a reader without pings, not yet acknowledged

	dropped atomic.Uint64 // records
	written atomic.Uint64 // bytes that the kernel took
}

// item is what waits for a reader: messages, or a long answer that is yet to be
// put together, or a mark of a reader without pings.
type item struct {
	chunk  *chunk
	answer *answer
	mark   uint64
}

func newReader(h *hub, conn net.Conn, peer string) *reader {
	r := &reader{
		hub: h, conn: conn, peer: peer, subscriptions: map[string]struct{}{},
		answered: h.world.Bell(), wake: h.world.Bell(), done: make(chan struct{}),
	}
	r.answered.Ring()
	return r
}

// leave ends the reader: nothing is written any more.
func (r *reader) leave() {
	close(r.done)
	r.wake.Ring()
}

// left reports whether it has.
func (r *reader) left() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// push puts messages into the queue, or drops them where the queue is full, or was
// and is not empty yet. Few bytes are copied behind what waits; many are copied
// once, into a chunk that all readers who are given the same variable share.
func (r *reader) push(data []byte, messages int, shared **chunk) {
	r.mu.Lock()
	size := int64(len(data))
	if r.behind || r.queued > 0 && r.queued+size > r.hub.queueBytes {
		r.behind = true
		r.mu.Unlock()
		r.dropped.Add(uint64(messages))
		return
	}
	r.queued += size
	if len(data) < copyBelow {
		r.pushTailLocked(data, messages)
	} else {
		if *shared == nil {
			*shared = newChunk(len(data))
			(*shared).data, (*shared).messages = append((*shared).data, data...), messages
		}
		(*shared).refs.Add(1)
		r.queue, r.tail = append(r.queue, item{chunk: *shared}), nil
	}
	r.mu.Unlock()
	r.wake.Ring()
}

// pushTailLocked copies messages behind those that wait.
func (r *reader) pushTailLocked(data []byte, messages int) {
	if r.tail == nil || len(r.tail.data)+len(data) > cap(r.tail.data) {
		size := chunkSmall
		if r.tail != nil {
			size = chunkTail
		}
		r.tail = newChunk(size)
		r.queue = append(r.queue, item{chunk: r.tail})
	}
	r.tail.data = append(r.tail.data, data...)
	r.tail.messages += messages
}

// pushAnswer puts a long answer into the queue. It reports false where the reader
// is behind: then it is answered once it has caught up.
func (r *reader) pushAnswer(a *answer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.behind {
		return false
	}
	r.queue, r.tail = append(r.queue, item{answer: a}), nil
	r.wake.Ring()
	return true
}

// pong answers a ping. It goes out between messages, before what waits.
func (r *reader) pong(context []byte) {
	r.mu.Lock()
	if len(r.urgent) < 1<<10 { // who pings that much without reading gets one answer
		r.urgent = zmtp.AppendPong(r.urgent, context)
	}
	r.mu.Unlock()
	r.wake.Ring()
}

// backlog is how many bytes wait for the reader, here and in the kernel, and how
// many have left both.
func (r *reader) backlog() (waiting int64, taken uint64) {
	r.mu.Lock()
	waiting = r.queued
	r.mu.Unlock()
	unsent := 0
	written := r.written.Load()
	if r.conn != nil {
		unsent = r.hub.world.Unsent(r.conn)
	}
	return waiting + int64(unsent), written - min(uint64(unsent), written)
}

// take takes from the queue what is to be written next: chunks, or one answer.
// bufs gets their bytes. ok is false where there is nothing.
func (r *reader) take(bufs net.Buffers, taken []*chunk) (_ net.Buffers, _ []*chunk, a *answer, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.urgent) > 0 {
		bufs = append(bufs, r.urgent)
		r.urgent = nil
	}
	for r.head < len(r.queue) && len(taken) < writeAtOnce {
		it := &r.queue[r.head]
		if (it.answer != nil || it.mark != 0) && len(bufs) > 0 {
			break
		}
		if it.mark != 0 {
			r.passed = append(r.passed, passedMark{it.mark, r.written.Load()})
		}
		a = it.answer
		if it.chunk != nil {
			taken, bufs = append(taken, it.chunk), append(bufs, it.chunk.data)
		}
		*it = item{}
		if r.head++; a != nil {
			break
		}
	}
	if r.head == len(r.queue) {
		r.queue, r.head, r.tail = r.queue[:0], 0, nil
	} else if r.head > 1<<10 && 2*r.head > len(r.queue) {
		n := copy(r.queue, r.queue[r.head:])
		clear(r.queue[n:])
		r.queue, r.head = r.queue[:n], 0
	}
	return bufs, taken, a, a != nil || len(bufs) > 0
}

// wrote gives chunks back that were written, and reports whether the reader has
// caught up with a queue that was full.
func (r *reader) wrote(taken []*chunk) (caughtUp bool) {
	var size int64
	for _, c := range taken {
		size += int64(len(c.data))
		c.release()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queued -= size
	return r.behind && r.queued == 0 && len(r.queue) == 0
}

// write writes the queue to the connection until that ends. An error of it is the
// reader's end, and no other's concern.
func (r *reader) write() {
	defer func() {
		_ = r.conn.Close()
		r.free() // nobody waits any more for what will not come
	}()
	var (
		bufs  = make(net.Buffers, 0, writeAtOnce+1)
		taken []*chunk
	)
	for {
		now, list, a, ok := r.take(bufs[:0], taken[:0])
		taken = list
		switch {
		case a != nil:
			if !r.hub.owner.stream(r, a) {
				return
			}
			if r.wrote(nil) {
				r.hub.caughtUp(r)
			}
		case ok:
			out := now // WriteTo uses it up
			n, err := out.WriteTo(r.conn)
			r.written.Add(uint64(n))
			if caughtUp := r.wrote(taken); err != nil {
				return
			} else if caughtUp {
				r.hub.caughtUp(r)
			}
			clear(taken)
		case r.ended():
			return
		case r.wrote(nil): // the last that waited was a mark
			r.hub.caughtUp(r)
		default:
			if r.wake.Wait(); r.left() {
				return
			}
		}
	}
}

// free says that no long answer is on its way. Both goroutines of a reader may say so
// at its end.
func (r *reader) free() { r.answered.Ring() }

// ended reports whether the reader is to be closed once all is written, as it is.
func (r *reader) ended() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ending && len(r.queue) == 0 && len(r.urgent) == 0
}

// stopping reports whether the reader is to end.
func (r *reader) stopping() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ending
}

// stop makes the reader end when what waits is written, or after a while.
func (r *reader) stop() {
	r.mu.Lock()
	r.ending = true
	r.mu.Unlock()
	if r.conn != nil {
		_ = r.conn.SetWriteDeadline(r.hub.world.Now().Add(lingerAtStop))
	}
	r.wake.Ring()
}

// discard lets go of what waits, when the reader has left. The hub's lock is held.
func (r *reader) discard() {
	r.mu.Lock()
	queue := r.queue[r.head:]
	r.queue, r.head, r.tail, r.behind = nil, 0, nil, true
	r.mu.Unlock()
	for _, it := range queue {
		if it.chunk != nil {
			it.chunk.release()
		} else if it.answer != nil {
			r.hub.owner.abandoned(it.answer)
		}
	}
}
