package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/wire"
)

// healReader is a process with a resync.Healer in front of a handler that checks what
// it is given. What it has handled it saves now and then, and goes on from there when
// it is started again.
type healReader struct {
	run    *healRun
	p      *Process
	queue  [][][]byte // messages that were received and not looked at
	feed   *feed
	healer *resync.Healer
	shards []healState
	saved  healSaved
	from   []resync.Span // where this life goes on
	lost   bool          // it has said that it does not know which epochs came since
	work   time.Duration // for a message
}

// healSaved is what a reader has saved.
type healSaved struct {
	positions []resync.Span
	shards    []healState
}

// healState is what a reader was given of a shard.
type healState struct {
	number  int
	begun   bool
	resumed bool // from a saved position, in this life
	current int  // index of the epoch
	got     map[wire.Epoch]*healGot
}

// healGot is what it was given of an epoch.
type healGot struct {
	from, next wire.Seq
	lost       wire.Seq // in this life
	whole      bool     // this life began with sequence 0, or where the one before had saved
	ended      bool
	broken     bool
}

func (s *healState) clone() healState {
	c := *s
	c.got = maps.Clone(s.got)
	for k, v := range c.got {
		g := *v
		c.got[k] = &g
	}
	return c
}

func newHealReader(r *healRun, i int) *healReader {
	d := &healReader{run: r, work: one(r.w, 0, 0, time.Millisecond, 20*time.Millisecond)}
	d.p = r.w.Process(fmt.Sprintf("reader %d", i), d.boot)
	r.publisher.attach(d.p, func(frames [][]byte) { d.queue = append(d.queue, frames) })
	return d
}

func (d *healReader) boot() {
	r := d.run
	d.queue, d.from, d.lost = nil, d.saved.positions, false
	d.shards = make([]healState, r.shards)
	for i := range d.shards {
		d.shards[i] = healState{number: i, got: map[wire.Epoch]*healGot{}}
		if d.saved.shards != nil {
			d.shards[i] = d.saved.shards[i].clone()
			d.shards[i].resume()
		}
	}
	if r.w.bug == bugHealResume {
		d.from = nil
	}
	var endpoints []string
	for _, c := range r.recorders {
		endpoints = append(endpoints, c.endpoint)
	}
	client, err := resync.NewClient(resync.ClientConfig{Endpoints: endpoints, Context: d.p.Context(), WindowBytes: one(r.w, int64(1000), 100_000)})
	if err != nil {
		r.w.Fail("no client: %v", err)
	}
	d.healer, err = resync.NewHealer(resync.HealerConfig{Shards: r.shards, Client: client, HoldBytes: one(r.w, int64(2000), 1<<20),
		Seed: r.w.rng.Uint64(), Warn: d.warn, Start: resync.Start{Positions: d.from}}, d)
	if err != nil {
		r.w.Fail("no healer: %v", err)
	}
	d.feed = newFeed(r.w, d.p.name, r.shards, d.healer)
	d.p.Go(func() {
		err := client.Run(context.Background())
		r.w.Fail("%s: the client has ended: %v", d.p.name, err)
	})
	d.p.Go(func() {
		err := d.healer.Run(context.Background())
		r.w.Fail("%s: the healer has ended: %v", d.p.name, err)
	})
	d.p.Go(d.receive)
	d.p.Every(func() time.Duration { return r.w.Between(0, 3*time.Second) }, d.save)
}

// receive is the receive loop.
func (d *healReader) receive() {
	for {
		d.p.Sleep(-1, func() bool { return len(d.queue) > 0 })
		m := d.queue[0]
		d.queue = d.queue[1:]
		if len(d.queue) > 200 {
			d.queue = d.queue[100:] // a full queue at the publisher
		}
		d.feed.take(m)
		if d.work > 0 && !d.run.calm {
			d.p.Sleep(d.run.w.Between(0, d.work), nil)
		}
	}
}

// save keeps where the reader is.
func (d *healReader) save() {
	at := d.healer.Positions()
	for _, p := range d.from { // of a shard of which it has had nothing yet, where it would go on
		if !slices.ContainsFunc(at, func(q resync.Span) bool { return q.Shard == p.Shard }) {
			at = append(at, p)
		}
	}
	for _, p := range at {
		s := &d.shards[p.Shard]
		if got := s.got[p.Epoch]; got == nil && p.To != 0 && s.begun || got != nil && got.next != p.To {
			d.run.w.Fail("%s: shard %d is said to be at %d of epoch %d, and was given %+v", d.p.name, p.Shard, p.To, p.Epoch, got)
		}
	}
	d.saved = healSaved{positions: at}
	for i := range d.shards {
		d.saved.shards = append(d.saved.shards, d.shards[i].clone())
	}
}

// resume begins a life at what was saved.
func (s *healState) resume() {
	s.resumed = s.begun
	for _, got := range s.got {
		got.lost, got.whole = 0, true
	}
}

// of returns what the reader has of an epoch, or nil.
func (s *healState) of(e *healEpoch) *healGot { return s.got[e.id] }

// at returns what the reader has of the epoch that it is at now, which begins here if
// it is a new one. It holds property 3.
func (s *healState) at(d *healReader, epoch wire.Epoch, seq wire.Seq) *healGot {
	w := d.run.w
	i, ok := d.run.known[epoch]
	if !ok {
		w.Fail("%s: shard %d is at epoch %d, which there is none of", d.p.name, s.number, epoch)
	}
	if s.begun && i == s.current && s.got[epoch] != nil {
		return s.got[epoch]
	}
	if s.begun && i <= s.current && d.lost {
		// It has said that it does not know what came when. What it was given it was
		// given, and it begins anew.
		w.Logf("%s: shard %d goes back to epoch %d, and has said that it may", d.p.name, s.number, epoch)
		s.begun, s.got = false, map[wire.Epoch]*healGot{}
	}
	if s.begun && i <= s.current {
		w.Fail("%s: shard %d goes back to epoch %d", d.p.name, s.number, epoch)
	}
	if s.begun && !d.lost {
		s.leave(d)
		for _, e := range d.run.epochs[s.current+1 : i] {
			if all := (resync.Span{Epoch: e.id + 1000000, Shard: s.number, To: e.sent[s.number]}); d.run.has(all) {
				w.Fail("%s: shard %d leaves out epoch %d, of which a recorder has something", d.p.name, s.number, e.id)
			}
		}
	}
	if s.begun {
		seq = 0 // what follows an epoch is wanted from its beginning
	}
	s.begun, s.current = true, i
	saved := slices.Contains(d.from, resync.Span{Epoch: epoch, Shard: s.number, To: seq})
	s.got[epoch] = &healGot{from: seq, next: seq, whole: seq == 0 || saved}
	w.Logf("%s: shard %d begins epoch %d at %d", d.p.name, s.number, epoch, seq)
	return s.got[epoch]
}

// leave is the end of the epoch that the shard is in: another follows.
func (s *healState) leave(d *healReader) {
	e := d.run.epochs[s.current]
	if got := s.got[e.id]; got.next != e.sent[s.number] && !got.broken {
		d.run.w.Fail("%s: shard %d leaves epoch %d at %d of %d, and does not say so", d.p.name, s.number, e.id, got.next, e.sent[s.number])
	}
}

// end is the end of the run: the last epoch is there.
func (s *healState) end(d *healReader, last *healEpoch) {
	if got := s.of(last); got.next != last.sent[s.number] {
		d.run.w.Fail("%s: shard %d has epoch %d up to %d of %d", d.p.name, s.number, last.id, got.next, last.sent[s.number])
	}
}

// HandleBatch implements resync.Handler. It holds property 1.
func (d *healReader) HandleBatch(b *wire.Batch, skip uint32) error {
	w, s := d.run.w, &d.shards[b.Shard]
	from := b.FirstSeq + wire.Seq(skip)
	got := s.at(d, b.Epoch, from)
	if from != got.next || skip >= b.Count {
		w.Fail("%s: shard %d of epoch %d is given [%d, %d) where %d comes next", d.p.name, s.number, b.Epoch, from, b.Next(), got.next)
	}
	records := b.Records()
	for records.Next() {
		body := records.Record().Body()
		epoch, shard, seq := binary.LittleEndian.Uint64(body), binary.LittleEndian.Uint64(body[8:]), binary.LittleEndian.Uint64(body[16:])
		if wire.Epoch(epoch) != b.Epoch || int(shard) != s.number || wire.Seq(seq) != records.Seq() {
			w.Fail("%s: sequence %d of epoch %d is another record", d.p.name, records.Seq(), b.Epoch)
		}
	}
	if err := records.Err(); err != nil {
		w.Fail("%s: %v", d.p.name, err)
	}
	got.next = b.Next()
	return nil
}

// HandleGap implements resync.Handler.
func (d *healReader) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	got := d.shards[shard].at(d, epoch, from)
	if from != got.next || to <= from {
		d.run.w.Fail("%s: shard %d of epoch %d is said to have lost [%d, %d) where %d comes next", d.p.name, shard, epoch, from, to, got.next)
	}
	got.next = to
	got.lost += to - from
}

// HandleSession implements resync.Handler.
func (d *healReader) HandleSession(int, wire.Epoch, *wire.Session) {}

// HandleEnd implements resync.Handler. It holds property 4.
func (d *healReader) HandleEnd(shard int, epoch wire.Epoch, complete bool) {
	w, s := d.run.w, &d.shards[shard]
	if w.bug == bugHealEnd {
		return
	}
	complete = complete || w.bug == bugHealComplete
	e := d.run.epochs[d.run.known[epoch]]
	got := s.at(d, epoch, e.sent[shard])
	all := got.whole && got.lost == 0 && got.next == e.sent[shard] && !e.early
	w.Logf("%s: shard %d: the end of epoch %d, complete: %v", d.p.name, shard, epoch, complete)
	switch {
	case got.ended && !s.resumed:
		w.Fail("%s: shard %d is told of the end of epoch %d again", d.p.name, shard, epoch)
	case !e.marked:
		w.Fail("%s: shard %d is told of the end of epoch %d, which has none", d.p.name, shard, epoch)
	case complete != all:
		w.Fail("%s: epoch %d of shard %d is said to be complete: %v, and is %+v of %d", d.p.name, epoch, shard, complete, *got, e.sent[shard])
	}
	got.ended = true
}

// warn holds property 2.
func (d *healReader) warn(shard int, err error) {
	w := d.run.w
	if w.bug == bugHealSilent {
		return
	}
	w.Logf("%s: %v", d.p.name, err)
	d.lost = d.lost || errors.Is(err, resync.ErrSince)
	var lost *resync.LostError
	if !errors.As(err, &lost) {
		return
	}
	if lost.Span.To == resync.Open {
		d.shards[shard].at(d, lost.Span.Epoch, lost.Span.From).broken = true
		return
	}
	if reached := lost.Reason == resync.ReasonGone || d.run.calmFor() > 30*time.Second; reached && d.run.has(lost.Span) {
		w.Fail("%s gives up %+v, %v, and a recorder has some of it", d.p.name, lost.Span, lost.Reason)
	}
}
