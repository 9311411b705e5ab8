package majordomo

import (
	"context"

	"github.com/tapedeck/tapedeck/control/pirate"
	"github.com/tapedeck/tapedeck/internal/zsock"
)

// registration is one worker as the broker sees it: a socket that has offered the
// service, and is given one request at a time.
type registration struct {
	m      workerMachine
	socket *zsock.Socket // nil: away
	at     int           // endpoint that it is connected to
	index  int           // of its socket in the waiter
	in     *zsock.Inbox  // with the request that is handled
	parsed message       // the request
	number []byte        // its number frame, or nil
	reply  Reply

	ctx    context.Context // of the handler; used again until it ends
	cancel context.CancelFunc
}

// request is the body of the request, less a number frame.
func (r *registration) request() [][]byte {
	body := r.parsed.body
	r.number = nil
	if len(body) > 0 {
		if _, failed, ok := pirate.ParseNumber(body[0]); ok && !failed {
			r.number, body = body[0], body[1:]
		}
	}
	return body
}

// put puts the reply, behind the addresses and the number of its request, into the
// outbox.
func (r *registration) put(out *zsock.Outbox) {
	sayCommand(out, frameWorkerSays, false)
	for _, f := range r.parsed.client {
		out.Frame(f, false)
	}
	out.Frame(frameEmpty, false)
	if r.number != nil {
		out.Frame(r.number, false)
	}
	for i, f := range r.reply.Frames {
		out.Frame(f, i == len(r.reply.Frames)-1)
	}
	if len(r.reply.Frames) == 0 {
		out.Frame(frameEmpty, true)
	}
}

// sayCommand puts the beginning of a worker's message into the outbox.
func sayCommand(out *zsock.Outbox, command []byte, last bool) {
	out.Frame(frameEmpty, false)
	out.Frame(frameWorker, false)
	out.Frame(command, last)
}

// over lets go what the request and its reply needed.
func (r *registration) over() {
	size := 0
	for _, f := range r.parsed.body {
		size += len(f)
	}
	if r.reply.Release != nil {
		r.reply.Release()
	}
	r.reply, r.parsed, r.number = Reply{}, message{}, nil
	if size > largeBatch {
		r.in.Close()
		r.in = zsock.NewInbox()
	}
}
