package lvc

import (
	"bytes"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// feed is one shard of the stream, as far as it has come.
type feed struct {
	epoch wire.Epoch
	next  wire.Seq
	ended bool
	// partial: records of the epoch never came, or came before this proxy: values
	// may be missing, or older than the stream's.
	partial bool

	seek    wire.Epoch // epoch that begins with the last values of another place, or 0
	taken   wire.Epoch // epoch by which another publisher goes on with the one before, or 0
	seeking bool       // they are coming in
	heard   time.Time  // when the last of them came
}

// HandleBatch implements subscriber.Handler: the records become last values and go
// out to who wants them.
func (p *Proxy) HandleBatch(b *wire.Batch, skip uint32) error {
	if int(b.Shard) >= len(p.feeds) {
		return &wire.FormatError{Reason: "shard of another stream", Shard: int(b.Shard), Seq: b.FirstSeq, Offset: -1}
	}
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	f := &p.feeds[b.Shard]
	p.arriveLocked(f, b)
	h := wire.Plain{Epoch: b.Epoch, Send: b.Send, Shard: b.Shard, Shards: b.Shards}
	if b.Flags&wire.FlagSnapshotBatch != 0 {
		h.Flags = wire.PlainSnapshot
	}
	taps := p.tap.openLocked()
	w := b.Records()
	for w.Next() {
		if skip > 0 {
			skip--
			continue
		}
		r := w.Record()
		h.Seq = w.Seq()
		setRecord(&h, r)
		p.takeLocked(r.Topic(), &h, r.Body(), taps)
		p.stats.Records++
		p.stats.Bytes += uint64(len(r))
	}
	p.hub.flushLocked()
	taps.close()
	// What could not be read was not delivered: the next sequence stays before it.
	if err := w.Err(); err != nil {
		return err
	}
	f.next = b.Next()
	p.stats.Batches++
	return nil
}

// arriveLocked takes note of the epoch of a batch and of whether it belongs to
// the last values of the place that a replay went to.
func (p *Proxy) arriveLocked(f *feed, b *wire.Batch) {
	if f.epoch != b.Epoch {
		partial := b.FirstSeq > 0
		if f.taken == b.Epoch && f.epoch != 0 {
			partial = f.partial || f.seeking // what repeats at its beginning has come in the one before
		}
		f.epoch, f.next, f.ended, f.seeking, f.partial = b.Epoch, b.FirstSeq, false, false, partial
		p.stats.Epochs++
		// Who came in the middle of them cannot know what is not among them.
		f.seeking = f.seek == b.Epoch && b.FirstSeq == 0
		f.heard = p.world.Now()
	}
	if !f.seeking {
		return
	}
	if b.Flags&wire.FlagSnapshotBatch == 0 {
		p.settleSeekLocked(f, int(b.Shard))
		return
	}
	f.heard = p.world.Now()
}

// partialLocked reports whether values may be missing, or old, because not all of
// the stream has come.
func (p *Proxy) partialLocked() bool {
	return slices.ContainsFunc(p.feeds, func(f feed) bool { return f.partial })
}

// incompleteLocked reports whether an answer may lack topics, or have old values.
func (p *Proxy) incompleteLocked() bool { return p.table.full() || p.partialLocked() }

// takeLocked takes in a record and queues it for who wants it.
func (p *Proxy) takeLocked(topic []byte, h *wire.Plain, body []byte, taps *tapping) {
	var (
		readers []*reader
		e       *entry
	)
	switch {
	case h.Kind == wire.KindDelete:
		p.removeLocked(topic, h)
	case !bytes.HasPrefix(topic, []byte(wire.OperatorPrefix)):
		e = p.storeLocked(topic, h, body)
	}
	if e != nil {
		readers = p.hub.filters.of(e)
	} else {
		readers = p.hub.filters.find(topic)
	}
	p.hub.sendLocked(topic, h, body, readers)
	taps.record(topic, h, body)
}

// storeLocked makes a record its topic's last value, if there is room.
func (p *Proxy) storeLocked(topic []byte, h *wire.Plain, body []byte) *entry {
	stored := &p.stored // a variable would be moved to the heap for the watcher
	*stored = *h
	stored.Flags = 0
	before := p.table.version
	e := p.table.put(topic, stored, body)
	switch {
	case p.cfg.Watcher == nil || p.table.version == before:
	case e != nil:
		p.cfg.Watcher.HandleChange(p.table.version, topic, stored, body)
	default: // it had a value, and there was no room for this one
		stored.Kind = wire.KindDelete
		p.cfg.Watcher.HandleChange(p.table.version, topic, stored, nil)
	}
	return e
}

// removeLocked takes away a topic's last value.
func (p *Proxy) removeLocked(topic []byte, h *wire.Plain) {
	if p.table.remove(topic) && p.cfg.Watcher != nil {
		p.cfg.Watcher.HandleChange(p.table.version, topic, h, nil)
	}
}

// HandleGap implements subscriber.Handler: readers are told what never came.
func (p *Proxy) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	p.stats.Gaps++
	p.stats.Lost += uint64(to - from)
	if shard >= 0 && shard < len(p.feeds) && (p.feeds[shard].epoch == epoch || p.feeds[shard].epoch == 0) {
		p.feeds[shard].partial = true
	}
	p.noticeLocked(GapTopic, GapNotice{Shard: shard, Epoch: epoch, From: from, To: to})
}

// HandleSession implements subscriber.Handler. A session that goes on at another
// place of its source, with the last values as of there, takes away those that are
// not among them.
func (p *Proxy) HandleSession(shard int, epoch wire.Epoch, s *wire.Session) {
	if shard < 0 || shard >= len(p.feeds) || s.Start == nil {
		return
	}
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	switch f := &p.feeds[shard]; {
	case s.Start.TakesOver():
		f.taken = epoch
	case s.Start.Snapshot:
		f.seek = epoch
	}
}

// HandleEnd implements subscriber.Handler.
func (p *Proxy) HandleEnd(shard int, epoch wire.Epoch, complete bool) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if shard >= 0 && shard < len(p.feeds) {
		f := &p.feeds[shard]
		f.ended = true
		if f.seeking && f.epoch == epoch {
			p.settleSeekLocked(f, shard)
		}
	}
	p.noticeLocked(EndTopic, EndNotice{Shard: shard, Epoch: epoch, Complete: complete})
}

// HandleNotice implements subscriber.NoticeHandler: what the publisher says of
// itself goes on to plain readers.
func (p *Proxy) HandleNotice(_ int, r wire.Record) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	h := wire.Plain{Kind: wire.KindNotice, Event: r.Event(), Receive: r.Receive(), Send: p.cfg.Now()}
	p.hub.publishLocked(string(r.Topic()), &h, r.Body())
}

// settleSeekLocked ends the last values of another place: topics of the shard that
// are not among them had none there.
func (p *Proxy) settleSeekLocked(f *feed, shard int) {
	f.seeking = false
	h := wire.Plain{
		Epoch: f.epoch, Seq: f.next, Shard: uint16(shard), Shards: uint16(len(p.feeds)),
		Send: p.cfg.Now(), Kind: wire.KindDelete, Flags: wire.PlainSnapshot,
	}
	p.stats.Seeks++
	p.table.each(func(e *entry) {
		if e.header.Epoch == f.epoch || p.shardOf(e) != shard {
			return
		}
		topic := []byte(e.topic)
		p.hub.sendLocked(topic, &h, nil, p.hub.filters.of(e))
		p.removeLocked(topic, &h)
	})
	p.hub.flushLocked()
}

// shardOf is the shard of the stream that an entry's topic is on. One from a tape
// of another number of shards has another number.
func (p *Proxy) shardOf(e *entry) int {
	if int(e.header.Shards) == len(p.feeds) {
		return int(e.header.Shard)
	}
	return int(p.shards.Of([]byte(e.topic)))
}

// settleSeeks ends last values of another place after which nothing has come.
func (p *Proxy) settleSeeks(now time.Time) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	for i := range p.feeds {
		if f := &p.feeds[i]; f.seeking && now.Sub(f.heard) >= seekQuiet {
			p.settleSeekLocked(f, i)
		}
	}
}
