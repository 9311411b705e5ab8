package lvc

import (
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

const (
	shortAnswer = 256 // topics that are put together at once, while the lock is held
	sliceTopics = 512 // topics of a long answer that are looked at in one go
)

// answer is what a subscription is answered with, where that takes long: a capture
// of the table, put together by the reader's goroutine when the queue comes to it.
type answer struct {
	capture    *capture
	incomplete bool // topics may be missing in the table, or their values old
	token      bool // the reader's next subscription waits for it
	asked      time.Time
	place      uint32
}

// answerLocked answers a reader's subscriptions as of now: at once where they have
// few topics, else by an answer in its queue, which it reports. The lock is held.
func (p *Proxy) answerLocked(r *reader, token bool, prefixes ...string) (long bool) {
	c := p.table.capture(prefixes...)
	a := &answer{capture: c, incomplete: p.incompleteLocked(), token: token, asked: r.asked}
	if c.total > shortAnswer {
		if r.pushAnswer(a) {
			return true
		}
		c.close()
		return false
	}
	var b []byte
	if c.total == 0 {
		b = appendEntry(b, prefixes[0], p.emptyHeader(a.incomplete), nil, false)
	}
	c.next(shortAnswer+len(p.table.index.dead), func(e *entry, v *value) { b = a.append(b, e, v) })
	c.close()
	var own *chunk
	r.push(b, 1, &own)
	if own != nil {
		own.release()
	}
	p.answers.Record(int64(p.world.Now().Sub(a.asked)))
	return false
}

// emptyHeader is that of the answer to a subscription that matches nothing.
func (p *Proxy) emptyHeader(incomplete bool) *wire.Plain {
	h := &wire.Plain{Flags: wire.PlainSnapshot | wire.PlainEmpty | wire.PlainLast, Kind: wire.KindNotice, Send: p.cfg.Now()}
	if incomplete {
		h.Flags |= wire.PlainIncomplete
	}
	return h
}

// append appends the next entry of the answer.
func (a *answer) append(dst []byte, e *entry, v *value) []byte {
	h := v.header
	h.Flags, h.Place = wire.PlainSnapshot, a.place
	a.place++
	last := int(a.place) == a.capture.total
	if last {
		h.Flags |= wire.PlainLast
		if a.incomplete {
			h.Flags |= wire.PlainIncomplete
		}
	}
	return appendEntry(dst, e.topic, &h, v.body, !last)
}

// stream implements owner: it puts an answer together, slice by slice, and writes
// it. Only the slices are taken with the lock held.
func (p *Proxy) stream(r *reader, a *answer) (ok bool) {
	defer func() {
		p.hub.mu.Lock()
		a.capture.close()
		p.hub.mu.Unlock()
	}()
	c := newChunk(2 * chunkSize)
	defer c.release()
	for more := true; more; {
		p.hub.mu.Lock()
		more = a.capture.next(sliceTopics, func(e *entry, v *value) { c.data = a.append(c.data, e, v) })
		p.hub.mu.Unlock()
		if more && len(c.data) < chunkSize {
			continue
		}
		if !r.stopping() {
			_ = r.conn.SetWriteDeadline(p.world.Now().Add(answerStall))
		}
		n, err := r.conn.Write(c.data)
		r.written.Add(uint64(n))
		if err != nil {
			p.countStalled(r)
			return false
		}
		c.data = c.data[:0]
	}
	if int(a.place) != a.capture.total {
		// What it needed is gone. Half an answer cannot be taken back: the reader
		// connects again and asks again.
		p.lostAnswers.Add(1)
		return false
	}
	p.answers.Record(int64(p.world.Now().Sub(a.asked)))
	if a.token {
		r.free()
	}
	if !r.stopping() {
		_ = r.conn.SetWriteDeadline(time.Time{})
	}
	return true
}

// countStalled counts a reader that was cut off because it did not take its answer.
func (p *Proxy) countStalled(r *reader) {
	if !r.left() && !r.stopping() {
		p.stalled.Add(1)
	}
}

// abandoned implements owner.
func (p *Proxy) abandoned(a *answer) { a.capture.close() }
