package resync

import (
	"encoding/binary"
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// readsPerReader is how many reads are with the pool for each tape reader: one
// that it does, and one that waits, so that it need not. More would only be ahead
// of another client's.
const readsPerReader = 2

// read asks the tape readers for what can be sent soon, for each client in turn,
// again and again.
func (d *desk) read(now time.Duration) {
	most := readsPerReader * max(d.readers, 1)
	for progress := true; progress; {
		progress = false
		d.each(&d.readsAt, func(c *client) bool {
			if len(d.reads) >= most {
				progress = false
				return false
			}
			if d.readFor(now, c) {
				progress = true
			}
			return d.waits == 0
		})
		if len(d.reads) >= most || d.waits > 0 {
			return
		}
	}
}

// readFor asks for one read for one of a client's requests, in turn.
func (d *desk) readFor(now time.Duration, c *client) bool {
	n := len(c.requests)
	for i := range n {
		r := c.requests[(c.readsAt+i)%n]
		if r.over {
			continue
		}
		ok := false
		if r.find != nil {
			frame := r.find
			if r.find = nil; !d.ask(r, nil, frame, 0) {
				r.find = frame
			} else {
				ok = true
			}
		} else if l := d.lane(now, r); l != nil {
			if d.waits = d.rate.wait(now); d.waits > 0 {
				d.count.Throttled++
				return false
			}
			ok = d.askLane(r, l)
		}
		if ok {
			c.readsAt = (c.readsAt + i + 1) % n
			return true
		}
	}
	return false
}

// lane is what is to be read for a refill now: what its credit, and the bound of
// its client, let be sent.
func (d *desk) lane(now time.Duration, r *request) *lane {
	if r.refill == nil {
		return nil
	}
	ahead := r.refill.bytes + r.reading*r.chunk
	if r.sent >= r.granted || uint64(ahead) >= r.granted-r.sent {
		return nil
	}
	if r.client.bytes > 0 && r.client.bytes+r.chunk > d.s.cfg.ClientBytes {
		return nil
	}
	return r.refill.plan(now, d.s.cfg.Ahead)
}

func (d *desk) askLane(r *request, l *lane) bool {
	q := RefillRequest{
		ID: r.id, ChunkBytes: uint32(r.chunk), Credit: 1, Deadline: d.s.cfg.Read,
		Span: Span{Epoch: r.refill.span.Epoch, Shard: r.refill.span.Shard, From: l.next, To: l.to},
	}
	d.body = AppendRefill(d.body[:0], &q)
	if !d.ask(r, l, d.body, r.chunk) {
		return false
	}
	l.reading = true
	return true
}

// ask sends a request to the tape readers.
func (d *desk) ask(r *request, l *lane, frame []byte, bytes int) bool {
	d.head = pirate.AppendNumber(d.head[:0], d.asked+1, false)
	if d.s.pool.SendParts(nil, 0, nil, d.head, frame) != nil {
		return false
	}
	d.asked++
	d.count.Reads++
	d.reads[d.asked] = &read{request: r, lane: l, bytes: bytes}
	d.rate.take(bytes)
	r.reading++
	r.client.bytes += bytes
	return true
}

// fromPool takes in [][number][extent][message ...], or [][number][reason].
func (d *desk) fromPool(now time.Duration) {
	n, failed, ok := pirate.ParseNumber(d.in.Frame(1))
	rd := d.reads[n]
	if !ok || rd == nil {
		d.count.BadReads++
		return
	}
	delete(d.reads, n)
	r := rd.request
	r.reading--
	r.client.bytes -= rd.bytes
	size := 0
	for i := 4; i < d.in.Len(); i++ {
		size += len(d.in.Frame(i))
	}
	d.rate.take(size - rd.bytes)
	if r.over {
		d.count.Abandoned++
		return
	}
	var e *RequestError
	switch {
	case failed:
		d.count.Unread++
		e = poolError(pirate.Reason(d.in.Frame(2)))
	default:
		if e, ok = d.brought(now, r, rd.lane); !ok {
			d.count.BadReads++
			e = &RequestError{Code: CodeFailed, Advice: AdviceOther, Text: "a tape reader's answer makes no sense"}
		}
	}
	switch {
	case e == nil:
	case rd.lane == nil:
		r.failed = e
	case e.Code == CodeNotYet:
		r.refill.lacked(rd.lane, now, min(d.s.cfg.NotYetWait, r.limit/2), e)
	default:
		rd.lane.reading, rd.lane.fail = false, e
	}
}

// brought takes in a tape reader's answer, which may be an error. It reports
// whether it makes sense.
func (d *desk) brought(now time.Duration, r *request, l *lane) (*RequestError, bool) {
	const first = 3
	if d.in.Len() <= first || len(d.in.Frame(2)) != extentSize {
		return nil, false
	}
	head := d.in.Frame(first)
	h, err := ParseHead(head, d.in.Len()-first)
	if err != nil || h.ID != r.id {
		return nil, false
	}
	switch {
	case h.Command == CommandError:
		e, err := ParseError(head, d.in.Frame(first+1))
		return &e, err == nil
	case h.Command == CommandSpans && l == nil:
		r.answer = [][]byte{append([]byte(nil), head...), append([]byte(nil), d.in.Frame(first+1)...)}
		return nil, true
	case h.Command == CommandEnd && l != nil:
		if !r.refill.open || !d.extent(r, l.next) || l.next < r.refill.span.To {
			return nil, false
		}
		r.refill.nothing(l)
		return nil, true
	case h.Command == CommandChunk && l != nil:
		return nil, d.chunk(r, l, head)
	}
	return nil, false
}

// chunk takes in what a lane's read has brought.
func (d *desk) chunk(r *request, l *lane, head []byte) bool {
	const first = 3
	h, err := wire.ParseHeader(head[headSize:])
	if err != nil || h.Bare() || h.Twin() || len(d.in.Frame(first+1)) != int(h.PayloadSize) || len(d.in.Frame(first+2)) != int(h.OrderSize) {
		return false
	}
	s := &r.refill.span
	if h.Epoch != s.Epoch || int(h.Shard) != s.Shard || h.FirstSeq != l.next || h.Next() > l.to {
		return false
	}
	d.extent(r, h.Next())
	c := &chunk{message: d.in, first: first, header: h, size: int(h.PayloadSize) + int(h.OrderSize)}
	r.refill.arrived(l, c, r.chunk)
	r.client.bytes += c.size
	d.held += c.size
	d.in = zsock.NewParts()
	return true
}

// extent takes in what a tape reader says of where its records end: at least
// where those end that it has sent.
func (d *desk) extent(r *request, least wire.Seq) bool {
	extent := d.in.Frame(2)
	if extent[8]&extentKnown == 0 {
		return false
	}
	r.refill.limit(max(wire.Seq(binary.LittleEndian.Uint64(extent)), least), extent[8]&extentEnded != 0)
	return true
}

// poolError is the answer where the tape readers could not answer.
func poolError(reason pirate.Reason) *RequestError {
	e := &RequestError{Code: CodeFailed, Advice: AdviceRetry, Wait: busyAgain, Text: "tape readers: " + string(reason)}
	if reason == pirate.ReasonNoWorker || reason == pirate.ReasonFull {
		e.Code = CodeBusy
	}
	return e
}
