package replay

import (
	"context"
	"math"
	"slices"

	"github.com/tapedeck/tapedeck/internal/prefix"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// LastValue is a topic's last record, and the shard that it was sent on.
type LastValue struct {
	Record wire.Record // owned
	Shard  int
}

// LastValues returns the last record of every topic that is wanted, and where each
// shard goes on behind them: the epoch, and in To the next sequence. With clock "" they
// are those of what each shard has been sent; otherwise of what it has been sent
// before the first record, in the tape's one order, whose time by that clock is after
// t. topics, where it is not nil, says which topics are wanted; it must not keep them.
//
// A topic that has not come yet in this pass over the tape has its last record of
// the pass before, and one that was not played, but lies before the places, its last
// one there. Any goroutine may call it, until Close. The error wraps tape.ErrNotYet
// before anything was sent.
func (p *Player) LastValues(ctx context.Context, t wire.Nanos, clock string, topics func(topic []byte) bool) ([]LastValue, []tape.SeqSpan, error) {
	e, place, err := p.asOf(t, clock)
	if err != nil {
		return nil, nil, err
	}
	next, places := make([]tape.SeqSpan, len(e.trails)), make([]wire.Ordinal, len(e.trails))
	for s := range e.trails {
		next[s] = tape.SeqSpan{Epoch: e.epoch, Shard: s}
		if next[s].To, places[s], err = p.sentBefore(ctx, e, s, place); err != nil {
			return nil, nil, err
		}
	}
	values, err := p.valuesBefore(ctx, e, places, topics)
	return values, next, err
}

// unbounded is a place behind everything.
const unbounded = wire.Ordinal(math.MaxUint64)

// asOf returns the epoch of the stream that was at hand at a time, and the place,
// counted through all passes, of the first record behind it; unbounded where play has
// not come to that.
func (p *Player) asOf(t wire.Nanos, clock string) (*sentEpoch, wire.Ordinal, error) {
	epochs := p.history.all()
	if len(epochs) == 0 || p.ordinals.span == 0 {
		return nil, 0, &tape.SeqError{Err: tape.ErrNotYet}
	}
	latest := epochs[len(epochs)-1]
	if clock == "" || t == wire.NanosMax {
		return latest, unbounded, nil
	}
	c, err := tape.ParseClock(clock)
	if err != nil {
		return nil, 0, err
	}
	// The latest epoch that has gone past the time, or came to its end before it; where
	// all of them began behind it, the oldest one's start.
	for i := len(epochs) - 1; i >= 0; i-- {
		place, gone, err := p.firstSince(epochs[i], c, t+1)
		switch {
		case err != nil:
			return nil, 0, err
		case !gone && (i == len(epochs)-1 || epochs[i].furthest() > epochs[i].start):
			return epochs[i], unbounded, nil
		case gone && (place > epochs[i].start || i == 0):
			return epochs[i], place, nil
		}
	}
	return epochs[0], epochs[0].start, nil
}

// sentBefore returns how many records a shard was sent in an epoch before a place,
// and the place behind the last of them.
func (p *Player) sentBefore(ctx context.Context, e *sentEpoch, shard int, place wire.Ordinal) (wire.Seq, wire.Ordinal, error) {
	next := wire.Seq(e.trails[shard].next.Load())
	if next == 0 {
		return 0, e.start, nil
	}
	w, err := p.rewindTo(ctx, e, shard, next-1)
	if err != nil {
		return 0, 0, err
	}
	last, lead := w.ordinal, w.lead
	w.close()
	switch {
	case last < lead:
		return next, e.start, nil // some of its last values, or all
	case last-lead < place:
		return next, last - lead + 1, nil
	}
	next, err = p.seqAt(ctx, e, shard, place, next)
	return next, place, err
}

// valuesBefore finds last values of each shard's topics before its own place.
func (p *Player) valuesBefore(ctx context.Context, e *sentEpoch, places []wire.Ordinal, topics func([]byte) bool) ([]LastValue, error) {
	all := gathered{player: p, filter: &e.topics.set, places: places, topics: topics, later: make([]map[string]struct{}, len(places))}
	if err := all.before(ctx, slices.Max(places)); err != nil {
		return nil, err
	}
	for s, later := range all.later {
		if len(later) == 0 {
			continue
		}
		// Of these there is more behind the shard's place: look before it.
		all.later[s] = nil
		all.topics = func(topic []byte) bool { _, ok := later[string(topic)]; return ok }
		if err := all.before(ctx, places[s]); err != nil {
			return nil, err
		}
	}
	return all.values, nil
}

// endOfPass is the place behind the last record that a pass plays.
func (p *Player) endOfPass() (wire.Ordinal, error) {
	if p.cfg.To == 0 {
		return p.ordinals.span, nil
	}
	return p.history.source(p.source).Find(p.cfg.Clock, p.cfg.To, 0)
}

// gathered are last values on their way into memory.
type gathered struct {
	player *Player
	places []wire.Ordinal // of the shards
	topics func([]byte) bool
	there  map[string]struct{}   // topics of the pass at hand, while the one before is looked at
	filter *prefix.Set           // topics that are played
	later  []map[string]struct{} // of each shard, topics with a record behind its place
	values []LastValue
	room   []byte
}

// before takes the last values before a place, counted through all passes.
func (g *gathered) before(ctx context.Context, place wire.Ordinal) error {
	p := g.player
	pass, rest := p.ordinals.split(place)
	from := len(g.values)
	if rest > 0 {
		if err := g.take(ctx, pass, rest); err != nil {
			return err
		}
	}
	if pass == 0 {
		return nil
	}
	end, err := p.endOfPass()
	if err != nil {
		return err
	}
	g.there = make(map[string]struct{}, len(g.values)-from)
	for _, v := range g.values[from:] {
		g.there[string(v.Record.Topic())] = struct{}{}
	}
	for _, later := range g.later {
		for topic := range later {
			g.there[topic] = struct{}{}
		}
	}
	err = g.take(ctx, pass-1, end)
	g.there = nil
	return err
}

// take takes the last values before a place of the tape, as it is in a pass.
func (g *gathered) take(ctx context.Context, pass int, place wire.Ordinal) error {
	p := g.player
	walk, err := p.history.source(p.source).WalkLast(place, g.wants())
	if err != nil {
		return err
	}
	defer walk.Close()
	for {
		ok, err := walk.Next(ctx)
		if err != nil || !ok {
			return err
		}
		rec := walk.Record()
		s := p.shardOf(rec, walk.Shard())
		before, err := g.gone(walk, pass, s)
		if err != nil {
			return err
		}
		if !before {
			if g.later[s] == nil {
				g.later[s] = map[string]struct{}{}
			}
			g.later[s][string(rec.Topic())] = struct{}{}
			continue
		}
		g.values = append(g.values, LastValue{Record: g.copy(rec), Shard: s})
	}
}

// gone reports whether a shard has been sent the current record of a walk, in a pass.
func (g *gathered) gone(walk LastWalk, pass, shard int) (bool, error) {
	span := g.player.ordinals.span
	start := wire.Ordinal(pass) * span
	if g.places[shard] <= start {
		return false, nil
	}
	return walk.Before(min(g.places[shard]-start, span))
}

// copy returns a copy of a record, in memory that many share.
func (g *gathered) copy(rec wire.Record) wire.Record {
	if cap(g.room)-len(g.room) < len(rec) {
		g.room = make([]byte, 0, max(1<<18, len(rec)))
	}
	at := len(g.room)
	g.room = append(g.room, rec...)
	return wire.Record(g.room[at:len(g.room):len(g.room)])
}

// wants says which topics are wanted; nil is all of them.
func (g *gathered) wants() func([]byte) bool {
	filter, topics, there := g.filter, g.topics, g.there
	if filter.All() && topics == nil && there == nil {
		return nil
	}
	return func(topic []byte) bool {
		if _, known := there[string(topic)]; known {
			return false
		}
		return filter.Match(topic) && (topics == nil || topics(topic))
	}
}
