package sim

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// deckReader is a process that receives from both decks, with the streams of a
// subscriber, and says how far it has come.
type deckReader struct {
	run      *deckRun
	p        *Process
	from, to [2]*link
	feed     *feed
	at       []int        // by shard: index of the record that it is to be given next; -1: any
	epoch    []wire.Epoch // that it is in
	unsure   []bool       // it was told that it does not know what came between two epochs
	ended    []bool
}

func newDeckReader(r *deckRun, i int) *deckReader {
	d := &deckReader{run: r}
	d.p = r.w.Process(fmt.Sprintf("reader %d", i), d.boot)
	for k, s := range r.pair {
		d.from[k], d.to[k] = r.w.link(s.p, d.p), r.w.link(d.p, s.p)
		d.from[k].weather = weather{least: r.w.Between(0, 10*time.Millisecond)} // they are not equally far
		d.from[k].weather.most = d.from[k].weather.least + r.w.Between(0, 50*time.Millisecond)
	}
	return d
}

func (d *deckReader) boot() {
	n := d.run.shards
	d.feed = newFeed(d.run.w, d.p.name, n, d)
	d.feed.pair = true
	d.at, d.epoch, d.unsure, d.ended = slices.Repeat([]int{-1}, n), make([]wire.Epoch, n), make([]bool, n), make([]bool, n)
	d.p.Every(func() time.Duration { return 50 * time.Millisecond }, d.say)
}

// say tells both decks what it has received.
func (d *deckReader) say() {
	step := deckStep{life: d.p.life}
	for shard := range d.run.shards {
		next := wire.Seq(0)
		if e := d.run.epochs[d.epoch[shard]]; e != nil && !d.unsure[shard] {
			next = wire.Seq(max(d.at[shard]-e.first[shard], 0))
		}
		step.have = append(step.have, wire.ReaderStep{Epoch: d.epoch[shard], Next: next})
	}
	for i, s := range d.run.pair {
		d.to[i].send(func() {
			if s.steps != nil {
				step.at = s.p.Now()
				s.steps[d] = step
			}
		})
	}
}

// through reports whether it has come to the end of the tape.
func (d *deckReader) through() bool { return !slices.Contains(d.ended, false) }

// HandleBatch implements subscriber.Handler. It holds properties 1 and 2.
func (d *deckReader) HandleBatch(b *wire.Batch, skip uint32) error {
	w, shard := d.run.w, int(b.Shard)
	records := b.Records()
	for i := uint32(0); records.Next(); i++ {
		if i < skip && w.bug != bugDeckSkip {
			continue
		}
		place := int(binary.LittleEndian.Uint64(records.Record().Body()))
		at := d.run.records[place]
		switch {
		case d.at[shard] < 0, d.unsure[shard]:
		case at.index < d.at[shard]:
			w.Fail("%s: shard %d is given record %d again, in epoch %d, where %d comes next", d.p.name, shard, at.index, b.Epoch, d.at[shard])
		case at.index > d.at[shard]:
			w.Fail("%s: shard %d is given record %d in epoch %d, where %d comes next, and is not told", d.p.name, shard, at.index, b.Epoch, d.at[shard])
		}
		d.at[shard], d.unsure[shard] = at.index+1, false
	}
	d.epoch[shard] = b.Epoch
	return records.Err()
}

// HandleGap implements subscriber.Handler. It holds properties 2 and 3.
func (d *deckReader) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	w, e := d.run.w, d.run.epochs[epoch]
	if w.bug == bugDeckGap {
		return
	}
	w.Logf("%s: shard %d has lost [%d, %d) of epoch %d", d.p.name, shard, from, to, epoch)
	if at := e.first[shard] + int(from); at != d.at[shard] && d.at[shard] >= 0 && !d.unsure[shard] {
		w.Fail("%s: shard %d is said to have lost [%d, %d) of epoch %d, from record %d on, where %d comes next", d.p.name, shard, from, to, epoch, at, d.at[shard])
	}
	if d.run.gentle && !d.run.forgot() {
		w.Fail("%s: shard %d has lost [%d, %d) of epoch %d, and nothing is wrong but with the pair", d.p.name, shard, from, to, epoch)
	}
	d.at[shard] = e.first[shard] + int(to)
}

// HandleMark implements subscriber.MarkHandler.
func (d *deckReader) HandleMark(shard int, h *wire.Header) {
	if d.epoch[shard] != 0 && !d.run.kin(d.epoch[shard], h.Epoch) {
		d.unsure[shard] = true // another play, and Stream counts the one before as broken
	}
	d.epoch[shard] = h.Epoch
}

// HandleSession implements subscriber.Handler.
func (d *deckReader) HandleSession(int, wire.Epoch, *wire.Session) {}

// HandleEnd implements subscriber.Handler.
func (d *deckReader) HandleEnd(shard int, epoch wire.Epoch, _ bool) {
	if n := len(d.run.places[shard]); d.at[shard] != n && d.at[shard] >= 0 && !d.unsure[shard] {
		d.run.w.Fail("%s: shard %d is at its end in epoch %d, at record %d of %d", d.p.name, shard, epoch, d.at[shard], n)
	}
	d.ended[shard] = true
}
