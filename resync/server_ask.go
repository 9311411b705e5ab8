package resync

import (
	"errors"
	"math"
	"time"
)

// fromClient takes in [client][head][...].
func (d *desk) fromClient(now time.Duration) {
	id, first := d.in.Frame(0), d.in.Frame(1)
	if !Is(first) {
		d.talks.begin(id, d.in)
		return
	}
	h, err := ParseHead(first, d.in.Len()-1)
	if err != nil {
		d.malformed(id, h.ID, err)
		return
	}
	switch h.Command {
	case CommandPing:
		d.pong(id, h.ID)
	case CommandCredit:
		err = d.credit(now, id, first)
	case CommandCancel:
		if r := d.find(id, h.ID); r != nil {
			d.count.Cancelled++
			d.drop(r)
		} else {
			d.count.Stray++
		}
	case CommandRefill:
		err = d.askRefill(now, id, first)
	case CommandFind:
		err = d.askFind(now, id, first)
	case CommandSnapshot:
		err = d.askSnapshot(now, id, first, d.in.Frame(2))
	default:
		err = bad(reasonCommand)
	}
	if err != nil {
		d.malformed(id, h.ID, err)
	}
}

// malformed answers what breaks the protocol, where it is known what about.
func (d *desk) malformed(id []byte, about RequestID, err error) {
	d.count.Malformed++
	switch {
	case errors.Is(err, ErrVersion):
		d.refuse(id, &RequestError{ID: about, Code: CodeVersion, Advice: AdviceOther})
	case about != 0 && d.find(id, about) == nil:
		d.refuse(id, &RequestError{ID: about, Code: CodeBadRequest, Text: err.Error()})
	}
}

// find returns a running request.
func (d *desk) find(id []byte, about RequestID) *request {
	c := d.clients[string(id)]
	if c == nil {
		return nil
	}
	for _, r := range c.requests {
		if r.id == about && !r.over {
			return r
		}
	}
	return nil
}

func (d *desk) pong(id []byte, about RequestID) {
	p := Pong{ID: about, Server: d.s.instance, Has: d.find(id, about) != nil}
	d.head = AppendPong(d.head[:0], &p)
	// Who has the pong finds everything counted that it was answered before.
	d.count.Pongs++
	d.publish()
	if d.s.front.SendParts(nil, 0, id, d.head) != nil {
		d.count.Dropped++
	}
}

func (d *desk) credit(now time.Duration, id, frame []byte) error {
	about, bytes, err := ParseCredit(frame)
	if err != nil {
		return err
	}
	r := d.find(id, about)
	if r == nil {
		d.count.Stray++
		return nil
	}
	if r.granted += bytes; r.granted < bytes {
		r.granted = math.MaxUint64
	}
	r.moved = now
	return nil
}

func (d *desk) askRefill(now time.Duration, id, frame []byte) error {
	q, err := ParseRefill(frame)
	if err != nil {
		return err
	}
	r := &request{id: q.ID, command: CommandRefill, limit: q.Deadline, granted: q.Credit, chunk: d.chunkBytes(q.ChunkBytes)}
	if !d.canRead() {
		d.refuse(id, &RequestError{ID: q.ID, Code: CodeNotServed, Advice: AdviceOther})
		return nil
	}
	r.refill = newRefill(q.Span)
	if d.admit(now, id, r) {
		d.count.Refills++
	}
	return nil
}

func (d *desk) askFind(now time.Duration, id, frame []byte) error {
	q, err := ParseFind(frame)
	if err != nil {
		return err
	}
	if !d.canRead() {
		d.refuse(id, &RequestError{ID: q.ID, Code: CodeNotServed, Advice: AdviceOther})
		return nil
	}
	r := &request{id: q.ID, command: CommandFind, limit: q.Deadline, find: append([]byte(nil), frame...)}
	if d.admit(now, id, r) {
		d.count.Finds++
	}
	return nil
}

func (d *desk) askSnapshot(now time.Duration, id, frame, prefixes []byte) error {
	q, err := ParseSnapshot(frame, prefixes)
	if err != nil {
		return err
	}
	if d.s.cfg.Snapshots == nil {
		d.refuse(id, &RequestError{ID: q.ID, Code: CodeNotServed, Advice: AdviceOther})
		return nil
	}
	r := &request{id: q.ID, command: CommandSnapshot, limit: q.Deadline, granted: q.Credit, chunk: d.chunkBytes(q.ChunkBytes)}
	if d.admit(now, id, r) {
		d.count.Snapshots++
		// What is asked for, and how it is to be cut; not who asks, nor the credit.
		key := string(frame[16:32]) + string(frame[44:]) + string(prefixes)
		d.captures.join(r, key, q.Query)
	}
	return nil
}

// canRead reports whether there may be tape readers.
func (d *desk) canRead() bool { return d.s.cfg.Workers > 0 || len(d.s.backends) > 0 }

func (d *desk) chunkBytes(wish uint32) int {
	if wish == 0 {
		return d.s.cfg.ChunkBytes
	}
	return int(min(max(wish, chunkMin), chunkMax))
}

// admit takes a request in, within the bounds.
func (d *desk) admit(now time.Duration, id []byte, r *request) bool {
	r.limit, r.began, r.moved = min(r.limit, limitMax), now, now
	c := d.clients[string(id)]
	if c != nil && d.find(id, r.id) != nil {
		d.count.Repeated++
		return false
	}
	cfg, address := &d.s.cfg, ""
	if c == nil && cfg.AddressClients > 0 {
		address = d.in.From().Address
	}
	if d.requests >= cfg.Requests || c == nil && (len(d.clients) >= cfg.MaxClients || address != "" && d.addresses[address] >= cfg.AddressClients) ||
		c != nil && len(c.requests) >= cfg.ClientRequests {
		d.refuse(id, &RequestError{ID: r.id, Code: CodeBusy, Advice: AdviceRetry, Wait: busyAgain, Next: r.next()})
		return false
	}
	if c == nil {
		c = &client{id: append([]byte(nil), id...), address: address}
		d.clients[string(id)] = c
		if address != "" {
			d.addresses[address]++
		}
		d.ring = append(d.ring, c)
	}
	r.client = c
	c.requests = append(c.requests, r)
	d.requests++
	return true
}
