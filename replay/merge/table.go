package merge

import (
	"sort"
	"sync"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/tape/timeorder"
	"github.com/tapedeck/tapedeck/wire"
)

// table is what a search needs to know of a block: the records whose times are above
// those of all records before them in the block. It does not change.
type table []high

type high struct {
	place wire.Ordinal
	at    wire.Nanos
}

// first returns the place of the block's first record at or after a time; ok is
// false where it has none.
func (t table) first(at wire.Nanos) (place wire.Ordinal, ok bool) {
	i := sort.Search(len(t), func(i int) bool { return t[i].at >= at })
	if i == len(t) {
		return 0, false
	}
	return t[i].place, true
}

// upTo returns the greatest time of the block's records up to a place, which is not
// before its first.
func (t table) upTo(place wire.Ordinal) wire.Nanos {
	i := sort.Search(len(t), func(i int) bool { return t[i].place > place })
	if i == 0 {
		return wire.NanosMin
	}
	return t[i-1].at
}

// readTable makes a block's table.
func (x *index) readTable(t *tape.Tape, n int) (table, error) {
	b, err := t.ReadBlock(n, false)
	if err != nil {
		return nil, err
	}
	defer b.Release()
	var (
		list     table
		ordinals = b.Ordinals()
		send     = blockSend(&b.Info)
		w        = b.Records()
	)
	for w.Next() {
		o := ordinals.Next()
		at := timeorder.Time(w.Record(), x.clock, send)
		if len(list) == 0 || at > list[len(list)-1].at {
			list = append(list, high{x.placeOf(&b.Info, o), at})
		}
	}
	return list, w.Err()
}

// tables keeps the tables of the blocks that were looked at last: a search by halves
// comes to the same ones again and again, and so does the next one.
type tables struct {
	mu   sync.Mutex
	kept map[tableKey]*keptTable
	size int   // of all, entries
	time int64 // of the latest use
}

type tableKey struct{ tape, block int }

type keptTable struct {
	table table
	used  int64
}

// cost is what a table takes of tablesMax, with what is needed to keep it.
func (t table) cost() int { return len(t) + 8 }

// tablesMax bounds the tables that are kept, entries: 8 MiB.
const tablesMax = 1 << 19

func (c *tables) get(k tableKey) (table, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept, ok := c.kept[k]
	if !ok {
		return nil, false
	}
	c.time++
	kept.used = c.time
	return kept.table, true
}

func (c *tables) put(k tableKey, t table) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.kept[k]; ok {
		return // two looked for it at one time
	}
	if c.kept == nil {
		c.kept = map[tableKey]*keptTable{}
	}
	c.time++
	c.kept[k] = &keptTable{t, c.time}
	for c.size += t.cost(); c.size > tablesMax && len(c.kept) > 1; {
		c.drop()
	}
}

// drop forgets the table that was not used for the longest time.
func (c *tables) drop() {
	oldest, least := tableKey{}, c.time+1
	for k, kept := range c.kept {
		if kept.used < least {
			oldest, least = k, kept.used
		}
	}
	c.size -= c.kept[oldest].table.cost()
	delete(c.kept, oldest)
}
