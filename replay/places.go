package replay

import "github.com/tapedeck/tapedeck/wire"

// Where a player stands is one ordinal of the stream per shard: everything before
// it has gone out. Ordinals of the stream are last values first, then passes over
// the tape. Only what goes out moves a shard on, so play can be broken off at any
// moment, taken up again in another way (shards by themselves or in one order,
// paced or not), and sends every record once.

// least is where the shard stands that is furthest behind.
func (p *Player) least() wire.Ordinal {
	if p.lane != allShards {
		return p.next[p.lane]
	}
	least := p.next[0]
	for _, o := range p.next {
		least = min(least, o)
	}
	return least
}

// reach moves the shards on to an ordinal, where they are not further already.
func (p *Player) reach(o wire.Ordinal) {
	for s := range p.next {
		if p.lane == allShards || p.lane == s {
			p.next[s] = max(p.next[s], o)
			p.trails[s].reach(p.next[s])
		}
	}
	p.taken = max(p.taken, o)
	p.stand()
}

// stand shows where a player stands that plays all shards: before the first record
// that did not go out.
func (p *Player) stand() {
	if p.lane == allShards {
		p.epoch.place.Store(uint64(p.least()))
	}
}

// pass shows where it stands behind a batch that went out with ordinals up to last.
// In the one order every record up to there has gone out, or was gathered.
func (p *Player) pass(last wire.Ordinal) {
	if p.lane != allShards {
		return
	}
	if len(p.next) > 1 && p.sendsBlocks() {
		p.stand() // shards' blocks reach over one another
		return
	}
	place := last + 1
	for _, b := range p.open {
		if b != nil {
			place = min(place, b.first)
		}
	}
	p.epoch.place.Store(uint64(place))
}

// land puts every shard where an epoch's records begin, behind so many last values.
func (p *Player) land(place, lead wire.Ordinal) {
	p.lead, p.taken = lead, place+lead
	for s := range p.next {
		p.next[s] = p.taken
	}
	p.epoch.land(lead)
}

// drop lets go of what was gathered.
func (p *Player) drop() {
	p.gathered = 0
	for s, b := range p.open {
		if b != nil {
			p.open[s] = nil
			b.Release()
		}
	}
}

// come says that a walk in the one order has come to an ordinal.
func (p *Player) come(o wire.Ordinal) {
	p.walked, p.taken = o, max(p.taken, o)
}

// takeBack is drop after a walk in the one order: each shard stands before the first
// of its records that did not go out.
func (p *Player) takeBack() {
	for s, b := range p.open {
		if b == nil {
			p.next[s] = max(p.next[s], p.walked)
			continue
		}
		p.next[s] = b.first
		if p.stepping != nil {
			p.steps += int(b.count)
			p.stepped -= int(b.count)
		}
	}
	p.drop()
	p.stand()
}
