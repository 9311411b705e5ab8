package replay

import (
	"context"
	"slices"

	"github.com/tapedeck/tapedeck/internal/prefix"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// SetTopics plays only topics with one of the prefixes from here on; none, or an empty
// one, plays all. It begins a new epoch of the stream, with reason "filter": every wanted
// topic's last value before the place where the player stands, unless
// Config.NoSnapshot says no, and then it goes on as it did. Where shards are not at the
// same place, as at full speed, where each is played by itself, it is that of the one
// furthest behind: what the others had sent from there on they send again.
//
// SetTopics returns when the new epoch has begun. The prefixes are copied.
func (p *Player) SetTopics(ctx context.Context, prefixes []string) error {
	end, err := p.endOfPass()
	if err != nil {
		return err
	}
	t := newTopics(prefixes)
	return p.orders.give(ctx, "filter", func(o *order) {
		if p.refilter != nil {
			p.refilter.order.through(ErrOverruled)
		}
		p.refilter = &refilter{order: o, topics: t, end: end}
	})
}

// Again begins a new epoch of the stream where the player stands, and goes on as it did:
// for readers of the other one of a pair of players, which was active meanwhile. They
// know by it what repeats, and the player's own find that nothing does. Last values that
// are on their way go out first.
//
// Again returns when the new epoch has begun.
func (p *Player) Again(ctx context.Context) error {
	end, err := p.endOfPass()
	if err != nil {
		return err
	}
	return p.orders.give(ctx, "takeover", func(o *order) {
		if p.refilter != nil {
			p.refilter.order.through(ErrOverruled)
		}
		p.refilter = &refilter{order: o, topics: p.topics, end: end, again: true}
	})
}

// topics is a filter.
type topics struct {
	prefixes []string
	set      prefix.Set
}

func newTopics(prefixes []string) *topics {
	return &topics{prefixes: slices.Clone(prefixes), set: prefix.New(prefixes)}
}

// refilter is a filter that is to be set.
type refilter struct {
	order  *order
	topics *topics
	end    wire.Ordinal // of a pass
	again  bool         // it is that which there is
}

// setTopics makes a filter the player's own.
func (p *Player) setTopics(t *topics) { p.topics, p.filter = t, t.set }

// standing is the place, counted through all passes, where play goes on.
func (p *Player) standing() wire.Ordinal {
	if p.epoch.lead.Load() == leadUnknown {
		return p.epoch.start
	}
	return p.least() - p.lead
}

// placesOf are the places, counted through all passes, where the shards go on. There must
// be no last values on their way.
func (p *Player) placesOf() []wire.Ordinal {
	places := slices.Clone(p.next)
	for s := range places {
		places[s] -= p.lead
	}
	return places
}

// beginFiltered begins the epoch of another filter.
func (p *Player) beginFiltered(ctx context.Context) error {
	r := p.refilter
	pub, ok := p.cfg.Publisher.(EpochPublisher)
	if !ok {
		p.refilter = nil
		r.order.through(ErrNoEpochs)
		return errMore
	}
	place := p.standing()
	var places []wire.Ordinal
	if r.again {
		places = p.placesOf()
	}
	pass, rest := p.ordinals.split(place)
	start := wire.SessionStart{Reason: "filter", At: wire.Nanos(p.progress.Time.Load()), Clock: p.recordClock().String(), Snapshot: !p.cfg.NoSnapshot}
	if r.again {
		start.Reason, start.Snapshot = wire.TakeoverReason, false
	}
	if t, ok, err := p.timeOf(rest); err != nil {
		return err
	} else if ok && (p.cfg.Passes < 0 || pass < p.cfg.Passes) {
		start.At = t
	}
	if err := pub.Begin(ctx, start); err != nil {
		return err
	}
	p.refilter = nil
	p.stopLast()
	p.drop()
	if rest == 0 && pass > 0 {
		rest = r.end // the pass before has just ended
	}
	p.setTopics(r.topics)
	p.startEpoch(place, lastPlace{place: rest, known: start.Snapshot})
	if r.again {
		p.standAt(places) // what a shard has sent beyond the others it does not send twice
	}
	p.status.lanesAre(false)
	p.ended, p.roundWhole = false, false
	p.report.Filters++
	return p.begun(pub.Epoch(), r.order)
}

// recordClock is the player's clock, as far as records have it.
func (p *Player) recordClock() tape.Clock {
	if p.cfg.Clock == tape.ClockEvent {
		return tape.ClockEvent
	}
	return tape.ClockReceive
}
