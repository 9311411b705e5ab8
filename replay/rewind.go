package replay

import (
	"context"
	"errors"
	"sync"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// rewind walks once more over what a shard was sent in an epoch: last values, then
// the tape's records, pass after pass, that the player plays on that shard. It
// belongs to one goroutine.
type rewind struct {
	player  *Player
	epoch   *sentEpoch
	shard   int
	lead    wire.Ordinal // leadUnknown while there are last values only
	rec     wire.Record  // current, borrowed until the next step
	ordinal wire.Ordinal // of rec

	values   *lastValues // of the epoch, while the walk is in them
	value    int         // place of the current one in the shard's
	records  Walk
	item     Item
	pass     int
	ordinals ordinals
	any      bool // the pass had some
}

// errNotThere: the tape does not have what was sent. It was changed.
var errNotThere = errors.New("replay: the tape no longer has what was sent")

// rewindTo returns a walk that stands at the record with a sequence, which has been
// sent.
func (p *Player) rewindTo(ctx context.Context, e *sentEpoch, shard int, seq wire.Seq) (*rewind, error) {
	w := &rewind{player: p, epoch: e, shard: shard, lead: wire.Ordinal(e.lead.Load()), ordinals: ordinals{span: p.ordinals.span}}
	pt, ok := e.trails[shard].before(func(pt *point) bool { return pt.seq > seq })
	if !ok {
		return nil, errNotThere
	}
	if h, ok := p.history.hints.before(e, shard, seq); ok && h.seq > pt.seq {
		pt = h
	}
	at, err := w.start(ctx, pt, seq)
	for ; err == nil && at < seq; at++ {
		err = w.next(ctx)
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// start goes to a point of the shard's trail; among last values, whose sequences
// begin at 0, to sequence seq, or the last one. It returns the sequence that it
// stands at.
func (w *rewind) start(ctx context.Context, pt point, seq wire.Seq) (at wire.Seq, err error) {
	if pt.ordinal >= w.lead {
		return pt.seq, w.enter(ctx, pt.ordinal-w.lead)
	}
	if w.values, err = w.player.lastOf(ctx, w.epoch); err != nil {
		return 0, err
	}
	n := wire.Seq(len(w.values.shards[w.shard]))
	if n == 0 {
		return 0, errNotThere
	}
	at = min(seq, n-1)
	w.value = int(at)
	w.take()
	return at, nil
}

func (w *rewind) take() {
	v := &w.values.shards[w.shard][w.value]
	w.rec, w.ordinal = v.rec, v.ordinal
}

// next moves to the shard's next record.
func (w *rewind) next(ctx context.Context) error {
	if w.values == nil {
		return w.step(ctx)
	}
	if w.value++; w.value < len(w.values.shards[w.shard]) {
		w.take()
		return nil
	}
	w.values = nil
	return w.enter(ctx, w.epoch.start)
}

// enter goes to the first record at or behind a place.
func (w *rewind) enter(ctx context.Context, place wire.Ordinal) error {
	pass, rest := w.ordinals.split(max(place, w.epoch.start))
	if err := w.open(pass, rest); err != nil {
		return err
	}
	return w.step(ctx)
}

// open begins a pass at a place in it.
func (w *rewind) open(pass int, rest wire.Ordinal) error {
	p := w.player
	w.close()
	w.pass, w.any = pass, rest > 0 // of a part nothing is known
	w.ordinals.rebase(w.lead + wire.Ordinal(pass)*w.ordinals.span)
	cfg := tape.ReadConfig{Clock: p.cfg.Clock, From: p.cfg.From, To: p.cfg.To}
	if p.asTape {
		cfg.Shards = []int{w.shard}
	}
	records, err := p.history.source(p.source).Walk(cfg, rest)
	if err != nil {
		return err
	}
	w.records = records
	return nil
}

// step moves to the shard's next record of the tape.
func (w *rewind) step(ctx context.Context) error {
	p := w.player
	for {
		for n := 1; w.records.Next(&w.item); n++ {
			if n%checkEvery == 0 && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			rec := w.item.Record
			if p.shardOf(rec, w.item.Shard) != w.shard || !w.epoch.topics.set.Match(rec.Topic()) {
				continue
			}
			w.rec, w.ordinal, w.any = rec, w.item.Place+w.ordinals.base, true
			return nil
		}
		if err := w.records.Err(); err != nil {
			return err
		}
		if !w.any {
			return errNotThere
		}
		if err := w.open(w.pass+1, 0); err != nil {
			return err
		}
	}
}

func (w *rewind) close() {
	if w.records != nil {
		_ = w.records.Close() // returns nil
		w.records = nil
	}
}

// hints are where reads ended of late: whoever reads on begins there.
type hints struct {
	mu   sync.Mutex
	list [32]hint
	next int
}

// hint is a point of a trail.
type hint struct {
	e     *sentEpoch
	shard int
	point
}

func (h *hints) put(x hint) {
	h.mu.Lock()
	h.list[h.next%len(h.list)] = x
	h.next++
	h.mu.Unlock()
}

// before returns the latest point that is not behind a sequence.
func (h *hints) before(e *sentEpoch, shard int, seq wire.Seq) (best point, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.list {
		if x := &h.list[i]; x.e == e && x.shard == shard && x.seq <= seq && (!ok || x.seq > best.seq) {
			best, ok = x.point, true
		}
	}
	return best, ok
}
