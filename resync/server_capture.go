package resync

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// captures are the snapshots of a server. A snapshot is taken after its request
// has come: only then does a reader that has buffered the stream since before it
// asked miss nothing. So requests for the same share one only while it has not
// begun; those that come while one is being taken share the next.
type captures struct {
	desk    *desk
	ctx     context.Context
	waiting map[string]*capture // not begun, by what is asked for
	queue   []*capture          // the same, in order
	begun   []*capture
	running atomic.Int64 // goroutines
	bytes   atomic.Int64 // of messages that are kept
}

// capture is one snapshot on its way to those who asked for it. A goroutine makes
// its messages, a few ahead of the fastest member; each is kept until the slowest
// has it.
type capture struct {
	set     *captures
	key     string
	query   Query
	bytes   int // payload of a message, about
	members []*request
	leader  *client // who asked first
	cancel  context.CancelFunc

	mu        sync.Mutex
	list      []*entries // kept
	base      int        // messages before them
	fastest   int        // messages that some member has
	left      bool       // nobody is there any more
	done      bool
	err       error
	positions []Span
	room      chan struct{} // a member got on
}

// entries is one message of a snapshot.
type entries struct {
	parts *zsock.Parts // payload, places
	head  []byte       // of no request yet
	count uint32
	crc   uint32
	size  int
}

// captureAhead is how many messages are made before the first of them is sent.
const captureAhead = 8

// join lets a request have a snapshot.
func (s *captures) join(r *request, key string, q Query) {
	c := s.waiting[key]
	if c == nil {
		c = &capture{set: s, key: key, query: q, bytes: r.chunk, leader: r.client, room: make(chan struct{}, 1)}
		s.waiting[key] = c
		s.queue = append(s.queue, c)
	} else {
		s.desk.count.Shared++
	}
	c.members = append(c.members, r)
	r.watch = c
}

// start begins the captures that there is room for. One client leads no more than
// a quarter of them, so that none keeps the others out.
func (s *captures) start() {
	s.begun = slices.DeleteFunc(s.begun, func(c *capture) bool { return len(c.members) == 0 })
	share := max(s.desk.s.cfg.Captures/4, 1)
	for i := 0; i < len(s.queue); {
		c := s.queue[i]
		if len(c.members) > 0 {
			if int(s.running.Load()) >= s.desk.s.cfg.Captures {
				return
			}
			led := 0
			for _, b := range s.begun {
				if b.leader == c.leader {
					led++
				}
			}
			if led >= share {
				i++
				continue
			}
			s.begin(c)
		}
		delete(s.waiting, c.key)
		s.queue = slices.Delete(s.queue, i, i+1)
	}
}

func (s *captures) begin(c *capture) {
	var ctx context.Context
	ctx, c.cancel = context.WithCancel(s.ctx)
	s.begun = append(s.begun, c)
	s.desk.count.Captures++
	s.running.Add(1)
	s.desk.workers.Go(func() {
		c.take(ctx)
		s.running.Add(-1)
		s.desk.s.waiter.Wake()
	})
}

// bound ends the slowest members of captures that keep too much.
func (s *captures) bound() {
	for s.bytes.Load() > s.desk.s.cfg.CaptureBytes {
		var slowest *request
		most := captureAhead // a member that keeps up is no more behind
		for _, c := range s.begun {
			c.mu.Lock()
			kept := len(c.list)
			c.mu.Unlock()
			for _, r := range c.members {
				if behind := c.base + kept - r.at; behind > most {
					slowest, most = r, behind
				}
			}
		}
		if slowest == nil {
			return
		}
		s.desk.fail(slowest, &RequestError{Code: CodeBusy, Advice: AdviceRetry, Wait: busyAgain, Text: "too far behind"})
	}
}

// end lets go of everything, after all goroutines have ended.
func (s *captures) end() {
	for _, c := range s.begun {
		c.trim(c.base + len(c.list))
	}
}

// take takes the snapshot and makes its messages.
func (c *capture) take(ctx context.Context) {
	positions, err := c.encode(ctx)
	c.mu.Lock()
	c.done, c.err, c.positions = true, err, positions
	c.mu.Unlock()
}

func (c *capture) encode(ctx context.Context) ([]Span, error) {
	snap, err := c.set.desk.s.cfg.Snapshots.Snapshot(ctx, c.query)
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	var payload, places []byte
	var count, total uint64
	emit := func() error {
		if count == 0 {
			return nil
		}
		err := c.emit(ctx, payload, places)
		total += count
		payload, places, count = payload[:0], places[:0], 0
		return err
	}
	for {
		r, at, ok := snap.Next()
		if !ok {
			break
		}
		if len(payload) > 0 && len(payload)+len(r) > c.bytes {
			if err := emit(); err != nil {
				return nil, err
			}
		}
		payload, places = append(payload, r...), AppendPlace(places, at)
		count++
	}
	if err := snap.Err(); err != nil {
		return nil, err
	}
	if err := emit(); err != nil {
		return nil, err
	}
	positions := slices.Clone(snap.Positions())
	if total != snap.Entries() || len(positions) > SpansMax {
		return nil, fmt.Errorf("resync: a snapshot of %d entries has %d, and %d positions", snap.Entries(), total, len(positions))
	}
	for i := range positions {
		positions[i].From = 0
	}
	return positions, nil
}

// emit adds a message, and waits while it is far ahead.
func (c *capture) emit(ctx context.Context, payload, places []byte) error {
	e := &entries{parts: zsock.NewParts(), size: len(payload) + len(places), head: AppendEntriesHead(nil, 0, payload, places)}
	e.count, e.crc = uint32(len(places)/PlaceSize), binary.LittleEndian.Uint32(e.head[24:])
	if err := e.parts.Append(payload); err != nil {
		e.parts.Close()
		return err
	}
	if err := e.parts.Append(places); err != nil {
		e.parts.Close()
		return err
	}
	for {
		c.mu.Lock()
		if c.left {
			c.mu.Unlock()
			e.parts.Close()
			return context.Canceled
		}
		if c.base+len(c.list)-c.fastest < captureAhead {
			c.list = append(c.list, e)
			c.set.bytes.Add(int64(e.size))
			c.mu.Unlock()
			c.set.desk.s.waiter.Wake()
			return nil
		}
		c.mu.Unlock()
		select {
		case <-c.room:
		case <-ctx.Done():
			e.parts.Close()
			return ctx.Err()
		}
	}
}

// next is the message that a member is to be sent now; done says that there is
// none and will be none.
func (c *capture) next(r *request) (e *entries, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := r.at - c.base; i < len(c.list) {
		return c.list[i], false
	}
	return nil, c.done
}

// got takes note that a member was sent its message.
func (c *capture) got(r *request) {
	r.at++
	c.mu.Lock()
	c.fastest = max(c.fastest, r.at)
	c.mu.Unlock()
	c.trim(c.slowest())
	select {
	case c.room <- struct{}{}:
	default:
	}
}

// slowest is the first message that some member still needs.
func (c *capture) slowest() int {
	at := c.members[0].at
	for _, m := range c.members {
		at = min(at, m.at)
	}
	return at
}

// trim lets go of the messages before one.
func (c *capture) trim(before int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.list) > 0 && c.base < before {
		c.set.bytes.Add(-int64(c.list[0].size))
		c.list[0].parts.Close()
		c.list[0] = nil
		c.list = c.list[1:]
		c.base++
	}
}

// leave takes a member away; when it was the last one, the capture ends.
func (c *capture) leave(r *request) {
	c.members = slices.DeleteFunc(c.members, func(m *request) bool { return m == r })
	r.watch = nil
	switch {
	case len(c.members) > 0:
		c.trim(c.slowest())
		return
	case c.cancel == nil:
		return // never begun
	}
	c.mu.Lock()
	c.left = true
	c.mu.Unlock()
	c.trim(c.base + len(c.list))
	c.cancel()
}

// stepSnapshot sends a member its next message.
func (d *desk) stepSnapshot(now time.Duration, r *request) bool {
	c := r.watch
	e, done := c.next(r)
	switch {
	case e == nil && !done:
		return false
	case e == nil && c.err != nil:
		d.fail(r, sourceAnswer(r.id, c.err))
		return true
	case e == nil:
		d.end(r, &End{Positions: c.positions})
		return r.over
	case r.sent >= r.granted:
		return false
	}
	if d.waits = max(d.waits, d.rate.wait(now)); d.waits > 0 {
		d.count.Throttled++
		return false
	}
	d.head = append(d.head[:0], e.head...)
	putHead(d.head, CommandEntries, r.id)
	if !d.to(now, r.client, e.parts, 0, d.head) {
		return false
	}
	d.rate.take(e.size)
	r.took(now, e.count, e.crc, e.size)
	d.sent(e.count, e.size)
	c.got(r)
	return true
}
