package majordomo

import (
	"context"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
	"github.com/tapedeck/tapedeck/internal/zsock"
)

// registration is one worker as the broker sees it: a socket that has offered the
// service, and what has come over it to be handled.
type registration struct {
	m       workerMachine
	socket  *zsock.Socket  // nil: away
	monitor *zsock.Monitor // of its connection, where that is watched
	stood   bool           // the connection has stood before
	at      int            // endpoint; it never changes
	first   bool           // of those at its endpoint
	index   int            // of its socket in the waiter
	in      *zsock.Inbox   // with the requests; the handler's while there is one
	large   bool           // they are
	unsent  bool           // some replies to them could not be sent
	look    time.Duration  // when to look for replies that are there, while others are to come
	every   time.Duration  // how long after the last look that is
	number  []byte         // the handler's: the number frame of the request, or nil

	mu     sync.Mutex // guards what follows, against the goroutine of the handler
	out    *zsock.Outbox
	taken  bool          // a handler has taken the requests that came
	began  time.Duration // the request that is being handled
	ctx    context.Context
	cancel context.CancelFunc
}

// Replies to requests that came together are gathered for flushAfter. Then the
// handler tells of them, when it gets to the next request; should that take long,
// the loop looks for them, after lookFirst and then less and less often.
const (
	flushAfter = 200 * time.Microsecond
	lookFirst  = time.Millisecond
	lookMost   = 64 * time.Millisecond
)

// serve handles the requests in the inbox. partly is called where replies are there
// while further requests are not handled.
func (r *registration) serve(w *Worker, partly func()) {
	gathered := w.now()
	r.in.Rewind()
	var m message
	for frames := r.in.Next(); frames != nil; frames = r.in.Next() {
		parseAtWorker(&m, frames)
		if m.command != workerRequest {
			continue
		}
		now := w.now()
		if now-gathered >= flushAfter {
			gathered = now
			partly()
		}
		r.number = nil
		if len(m.body) > 0 {
			if _, failed, ok := pirate.ParseNumber(m.body[0]); ok && !failed {
				r.number, m.body = m.body[0], m.body[1:]
			}
		}
		reply := w.cfg.Handler(r.start(w, now), m.body)
		r.put(m.client, r.number, reply.Frames)
		if reply.Release != nil {
			reply.Release()
		}
	}
}

// start returns the context of the request that is handled from now on.
func (r *registration) start(w *Worker, now time.Duration) context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.began, r.taken = now, true
	if r.ctx.Err() != nil { // the one before took too long
		r.cancel()
		r.ctx, r.cancel = w.contextOf(r)
	}
	return r.ctx
}

// contextOf returns a context for the handlers of a registration's requests.
func (w *Worker) contextOf(r *registration) (context.Context, context.CancelFunc) {
	return context.WithCancel(context.WithValue(w.handling, requestKey{}, r))
}

// overdue ends the context of the request that is handled, where that is still the
// one that has begun then.
func (r *registration) overdue(began time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.began == began {
		r.cancel()
	}
}

// put puts a reply, behind the addresses and the number of its request, into the
// outbox.
func (r *registration) put(client [][]byte, number []byte, body [][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sayCommand(r.out, frameWorkerSays, false)
	for _, f := range client {
		r.out.Frame(f, false)
	}
	r.out.Frame(frameEmpty, false)
	if number != nil {
		r.out.Frame(number, false)
	}
	for i, f := range body {
		r.out.Frame(f, i == len(body)-1)
	}
	if len(body) == 0 {
		r.out.Frame(frameEmpty, true)
	}
}

// shrink lets go the memory that large requests needed.
func (r *registration) shrink() {
	if r.large {
		r.in.Close()
		r.in, r.large = zsock.NewInbox(), false
	}
}

// replies takes the replies that are there, and leaves spare for those to come.
func (r *registration) replies(spare *zsock.Outbox) *zsock.Outbox {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.out
	r.out = spare
	return out
}

// sayCommand puts the beginning of a worker's message into the outbox.
func sayCommand(out *zsock.Outbox, command []byte, last bool) {
	out.Frame(frameEmpty, false)
	out.Frame(frameWorker, false)
	out.Frame(command, last)
}
