package main

import (
	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/wire"
)

// catchingUp is a shard whose reader gets what it missed.
type catchingUp struct {
	on   bool
	best wire.Nanos // how long before it was taken the least late batch was sent
}

// catchUp takes note of a batch that did not come live. It is late by nature; what
// counts is whether the reader gains on the stream, so it is as late as it is later
// than at its best since the catching up began. Where nothing was heard live yet, or
// nobody knows when the batch was sent, that says nothing.
func (l *slowLane) catchUp(now snail.Instant, h *wire.Header) {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := l.meter.Status()
	if h.Send == 0 || st.Heard == 0 {
		return
	}
	behind := now.Wall - h.Send
	if !l.past.on || behind < l.past.best {
		l.past = catchingUp{on: true, best: behind}
	}
	later := behind - l.past.best
	l.meter.Observe(now, &wire.Header{Epoch: st.Epoch, FirstSeq: st.Next, PayloadSize: h.PayloadSize, Send: now.Wall - wire.Nanos(st.Skew) - later})
}

// mark takes note of a mark, which says how late the live stream is: nothing about a
// reader that is not there yet.
func (l *slowLane) mark(now snail.Instant, h *wire.Header) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.past.on {
		l.meter.Observe(now, h)
	}
}
