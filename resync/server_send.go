package resync

import (
	"errors"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// sendsPerTurn bounds how many messages go out before the sockets are looked at.
const sendsPerTurn = 64

// send sends one message to each client in turn, again and again, as long as
// there is something and there is credit for it. It reports whether it stopped
// before.
func (d *desk) send(now time.Duration) (more bool) {
	left := sendsPerTurn
	for progress := true; progress; {
		progress = false
		d.each(&d.sendsAt, func(c *client) bool {
			if left == 0 {
				more = true
				return false
			}
			if d.serve(now, c) {
				progress = true
				left--
			}
			return true
		})
		if more {
			return true
		}
	}
	return false
}

// serve sends one message of one of a client's requests, in turn.
func (d *desk) serve(now time.Duration, c *client) bool {
	if now < c.full {
		d.hindered = true
		return false
	}
	n := len(c.requests)
	for i := range n {
		r := c.requests[(c.sendsAt+i)%n]
		if !r.over && d.step(now, r) {
			c.sendsAt = (c.sendsAt + i + 1) % n
			return true
		}
		if now < c.full {
			return false
		}
	}
	return false
}

// step sends one message of a request, if there is one and credit for it.
func (d *desk) step(now time.Duration, r *request) bool {
	switch {
	case r.refill != nil:
		return d.stepRefill(now, r)
	case r.watch != nil:
		return d.stepSnapshot(now, r)
	case r.failed != nil:
		d.fail(r, r.failed)
		return r.over
	case r.answer != nil:
		return d.finish(r)
	}
	return false
}

func (d *desk) stepRefill(now time.Duration, r *request) bool {
	f := r.refill
	c := f.head()
	if c == nil {
		done, fail := f.ended()
		switch {
		case fail != nil:
			d.fail(r, fail)
		case done:
			d.end(r, &End{Next: r.next(), Ended: f.last})
		}
		return r.over
	}
	if r.sent >= r.granted || !d.to(now, r.client, c.message.(*zsock.Parts), c.first) {
		return false
	}
	r.took(now, c.header.Count, c.header.CRC, c.size)
	r.client.bytes -= c.size
	d.held -= c.size
	f.sent().message.Close()
	d.sent(c.header.Count, c.size)
	return true
}

// next is the sequence after the last one that was sent of a refill.
func (r *request) next() wire.Seq {
	if r.refill == nil {
		return 0
	}
	return r.refill.span.From + wire.Seq(r.digest.Records)
}

// took takes note that a message with records was sent.
func (r *request) took(now time.Duration, count, crc uint32, size int) {
	r.digest.Add(count, crc, size)
	r.sent += uint64(size)
	r.moved = now
}

func (d *desk) sent(count uint32, size int) {
	d.count.Records += uint64(count)
	d.count.Bytes += uint64(size)
	d.count.Chunks++
}

// to sends a message to a client. Where its queue is full it is tried again in a
// moment; where it is gone its requests are over.
func (d *desk) to(now time.Duration, c *client, p *zsock.Parts, from int, lead ...[]byte) bool {
	var all [4][]byte
	err := d.s.front.SendParts(p, from, append(append(all[:0], c.id), lead...)...)
	switch {
	case err == nil:
		return true
	case errors.Is(err, zsock.ErrUnreachable):
		for _, r := range c.requests {
			if !r.over {
				d.count.Unreachable++
				d.drop(r)
			}
		}
	default:
		d.count.Full++
		c.full = now + fullAgain
		d.hindered = true
	}
	return false
}

// end ends a request with what was sent for it.
func (d *desk) end(r *request, e *End) {
	e.ID, e.Digest = r.id, r.digest
	d.head, d.body = AppendEnd(d.head[:0], d.body[:0], e)
	r.answer = [][]byte{d.head, d.body}
	d.finish(r)
	r.answer = nil
}

// finish sends what ends a request, and reports whether it went out.
func (d *desk) finish(r *request) bool {
	now := d.s.now()
	if !d.to(now, r.client, nil, 0, r.answer...) {
		return r.over
	}
	d.count.Ended++
	if t := d.s.RequestTimes(r.command); t != nil {
		t.Record(int64(now - r.began))
	}
	d.drop(r)
	return true
}

// fail ends a request with an error. Who does not read is told nothing, but no
// more is sent to it either.
func (d *desk) fail(r *request, e *RequestError) {
	if r.over {
		return
	}
	told := *e
	told.ID, told.Next = r.id, r.next()
	if told.Skip <= told.Next {
		told.Skip = 0
		if told.Advice == AdviceSkip {
			told.Advice = AdviceOther
		}
	}
	d.refuse(r.client.id, &told)
	d.drop(r)
}

// drop forgets a request.
func (d *desk) drop(r *request) {
	r.over = true
	if r.refill != nil {
		r.client.bytes -= r.refill.bytes
		d.held -= r.refill.bytes
		r.refill.drop()
	}
	if r.watch != nil {
		r.watch.leave(r)
	}
}

// refuse sends an error that is about no running request.
func (d *desk) refuse(id []byte, e *RequestError) {
	d.count.Errors.add(e.Code)
	d.head, d.body = AppendError(d.head[:0], d.body[:0], e)
	if d.s.front.SendParts(nil, 0, id, d.head, d.body) != nil {
		d.count.Dropped++
	}
}
