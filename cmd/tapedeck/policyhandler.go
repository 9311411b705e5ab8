package main

import (
	"bytes"
	"strconv"
	"time"

	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// observe takes note of a message, as it comes.
func (l *slowLane) observe(now snail.Instant, h *wire.Header) {
	l.mu.Lock()
	l.past.on = false
	l.meter.Observe(now, h)
	l.mu.Unlock()
}

func (l *slowLane) lose(now snail.Instant, n uint64) {
	l.mu.Lock()
	l.meter.Lose(now, n)
	l.mu.Unlock()
}

// work takes note that the handler was called, rest that it has returned. It was
// called before the tick that comes next: to know that spares a look at the clock.
func (l *slowLane) work(w *slowWatch) { l.busy.Store(w.nextTick.Load()) }
func (l *slowLane) rest()             { l.busy.Store(0) }

// slowFront sees what comes from the receive loops.
type slowFront struct {
	subscriber.Handler
	watch *slowWatch
}

// HandleBatch implements subscriber.Handler.
func (f *slowFront) HandleBatch(b *wire.Batch, skip uint32) error {
	f.watch.lanes[b.Shard][0].observe(f.watch.clock(), &b.Header)
	return f.Handler.HandleBatch(b, skip)
}

// HandleRefill implements resync.RefillHandler.
func (f *slowFront) HandleRefill(b *wire.Batch, skip uint32) error {
	f.watch.lanes[b.Shard][0].catchUp(f.watch.clock(), &b.Header)
	if next, ok := f.Handler.(resync.RefillHandler); ok {
		return next.HandleRefill(b, skip)
	}
	return f.Handler.HandleBatch(b, skip)
}

// HandleMark implements subscriber.MarkHandler.
func (f *slowFront) HandleMark(shard int, h *wire.Header) {
	f.watch.lanes[shard][0].mark(f.watch.clock(), h)
}

// HandleGap implements subscriber.Handler.
func (f *slowFront) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	f.watch.lanes[shard][0].lose(f.watch.clock(), uint64(to-from))
	f.Handler.HandleGap(shard, epoch, from, to)
}

// HandleNotice implements subscriber.NoticeHandler.
func (f *slowFront) HandleNotice(shard int, r wire.Record) {
	if next, ok := f.Handler.(subscriber.NoticeHandler); ok {
		next.HandleNotice(shard, r)
	}
}

// slowBack sees whether the handler returns.
type slowBack struct {
	watch *slowWatch
	next  *subHandler
}

func (k *slowBack) lane(shard int) *slowLane {
	l := &k.watch.lanes[shard][0]
	l.work(k.watch)
	return l
}

// HandleBatch implements subscriber.Handler.
func (k *slowBack) HandleBatch(b *wire.Batch, skip uint32) error {
	defer k.lane(int(b.Shard)).rest()
	return k.next.HandleBatch(b, skip)
}

// HandleRefill implements resync.RefillHandler.
func (k *slowBack) HandleRefill(b *wire.Batch, skip uint32) error {
	defer k.lane(int(b.Shard)).rest()
	return k.next.HandleRefill(b, skip)
}

// HandleConflated implements subscriber.ConflatedHandler.
func (k *slowBack) HandleConflated(c *subscriber.Conflated) error {
	defer k.lane(c.Shard).rest()
	return k.next.tallies[c.Shard].visitConflated(c)
}

// HandleGap implements subscriber.Handler.
func (k *slowBack) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	defer k.lane(shard).rest()
	k.next.HandleGap(shard, epoch, from, to)
}

// HandleSession implements subscriber.Handler.
func (k *slowBack) HandleSession(shard int, epoch wire.Epoch, s *wire.Session) {
	defer k.lane(shard).rest()
	k.next.HandleSession(shard, epoch, s)
}

// HandleEnd implements subscriber.Handler.
func (k *slowBack) HandleEnd(shard int, epoch wire.Epoch, complete bool) {
	defer k.lane(shard).rest()
	k.next.HandleEnd(shard, epoch, complete)
}

// HandleNotice implements subscriber.NoticeHandler.
func (k *slowBack) HandleNotice(shard int, r wire.Record) {
	if next, ok := subscriber.Handler(k.next).(subscriber.NoticeHandler); ok {
		defer k.lane(shard).rest()
		next.HandleNotice(shard, r)
	}
}

// slowWorker watches one worker. What waits for it is late, so it looks when the
// worker takes it.
type slowWorker struct {
	subscriber.WorkerHandler
	watch  *slowWatch
	number int
}

// HandleShare implements subscriber.WorkerHandler.
func (s *slowWorker) HandleShare(share *subscriber.Share) error {
	h := &share.Batch().Header
	l := &s.watch.lanes[h.Shard][s.number]
	if share.Refill() {
		l.catchUp(s.watch.clock(), h)
	} else {
		l.observe(s.watch.clock(), h)
	}
	l.work(s.watch)
	defer l.rest()
	return s.WorkerHandler.HandleShare(share)
}

// HandleGap implements subscriber.WorkerHandler.
func (s *slowWorker) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	l := &s.watch.lanes[shard][s.number]
	l.lose(s.watch.clock(), uint64(to-from))
	l.work(s.watch)
	defer l.rest()
	s.WorkerHandler.HandleGap(shard, epoch, from, to)
}

// HandleNotice implements subscriber.NoticeHandler.
func (s *slowWorker) HandleNotice(shard int, r wire.Record) {
	if next, ok := s.WorkerHandler.(subscriber.NoticeHandler); ok {
		next.HandleNotice(shard, r)
	}
}

// visitConflated visits the latest record of a topic, or a snapshot's.
func (t *tally) visitConflated(c *subscriber.Conflated) error {
	if !t.filter.All() && !t.filter.Match(c.Record.Topic()) {
		return nil
	}
	now := time.Now()
	if t.visited == 0 {
		t.first = now
	}
	t.last = now
	if c.Batch != nil {
		t.late(now, c.Batch, 1)
	}
	t.topics[string(c.Record.Topic())]++
	t.visited++
	if !t.all.print {
		return nil
	}
	if err := t.printRecord(c.Record, c.Skipped); err != nil {
		return err
	}
	return t.all.out.flush()
}

// appendSkipped adds to a printed record how many of its topic were skipped
// before it.
func appendSkipped(line []byte, asJSON bool, skipped uint64) []byte {
	if open := bytes.TrimSuffix(line, []byte("}")); asJSON && len(open) < len(line) {
		line = append(open, `,"skipped":`...)
		return append(strconv.AppendUint(line, skipped, 10), '}')
	}
	return strconv.AppendUint(append(line, " skipped="...), skipped, 10)
}
