package replay

import (
	"context"
	"slices"
	"sync"

	"github.com/tapedeck/tapedeck/wire"
)

// lastValues are the last values that an epoch began with, found once more.
type lastValues struct {
	epoch  *sentEpoch
	shards [][]lastValue // in the order in which they were sent
}

type lastValue struct {
	rec     wire.Record // owned; not marked
	ordinal wire.Ordinal
}

// lastCache keeps the last values that were asked for last: readers that missed
// some of them ask at the same time, and each for one part after the other.
type lastCache struct {
	mu     sync.Mutex // held while they are looked for: others want the same
	values *lastValues
}

// lastOf returns the last values of an epoch. They are shared and must not be
// changed.
func (p *Player) lastOf(ctx context.Context, e *sentEpoch) (*lastValues, error) {
	c := &p.history.last
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.values != nil && c.values.epoch == e {
		return c.values, nil
	}
	c.values = nil // rather one at a time in memory than two
	walk, err := e.walkLast(p.history.source(p.source))
	if err != nil {
		return nil, err
	}
	defer walk.Close()
	v := &lastValues{epoch: e, shards: make([][]lastValue, len(e.trails))}
	var room []byte
	for n := wire.Ordinal(0); ; n++ {
		ok, err := walk.Next(ctx)
		if err != nil {
			return nil, err
		}
		if !ok {
			c.values = v
			return v, nil
		}
		rec := walk.Record()
		if cap(room)-len(room) < len(rec) {
			room = make([]byte, 0, max(1<<18, len(rec)))
		}
		at := len(room)
		room = append(room, rec...)
		s := p.shardOf(rec, walk.Shard())
		v.shards[s] = append(v.shards[s], lastValue{rec: slices.Clip(room[at:]), ordinal: n})
	}
}

func (c *lastCache) forget() {
	c.mu.Lock()
	c.values = nil
	c.mu.Unlock()
}
