package chp

import "time"

// Entry is one key with its value. Its bytes never change.
type Entry struct {
	Key        []byte
	Sequence   uint64     // of the update that set it
	Properties Properties // without the time to live
	Value      []byte     // never empty
	Expires    time.Time  // when the value is removed; zero: never
}

// size is what an entry counts for, bytes.
func (e *Entry) size() int { return len(e.Key) + len(e.Properties) + len(e.Value) }

// item is an entry in a table.
type item struct {
	Entry
	slot   int // where it is in the table
	expiry int // index in the heap of expiries; below 0: not there
}

// newItem copies an entry, into one piece of memory.
func newItem(e *Entry) *item {
	memory := make([]byte, 0, e.size())
	part := func(b []byte) []byte {
		from := len(memory)
		memory = append(memory, b...)
		return memory[from:len(memory):len(memory)]
	}
	return &item{
		Entry:  Entry{Key: part(e.Key), Sequence: e.Sequence, Properties: part(e.Properties), Value: part(e.Value), Expires: e.Expires},
		expiry: -1,
	}
}

// chunkSize is how many entries a chunk has: what a write copies after a capture.
const chunkSize = 256

// chunk is a piece of a table. One that a capture holds is never written again.
type chunk struct {
	generation uint64
	items      [chunkSize]*item
}

// table is a map of entries that can be captured, whatever its size, at the cost
// of copying one pointer per 256 entries. It is not safe for concurrent use, but
// captures may be read while it changes.
type table struct {
	index      map[string]int // key to slot
	chunks     []*chunk
	free       []int  // slots without an item
	generation uint64 // chunks of an earlier one are shared with captures
	bytes      int    // sum of the entries' sizes
}

func newTable() *table { return &table{index: map[string]int{}, generation: 1} }

func (t *table) len() int { return len(t.index) }

func (t *table) get(key []byte) *item {
	slot, ok := t.index[string(key)]
	if !ok {
		return nil
	}
	return t.chunks[slot/chunkSize].items[slot%chunkSize]
}

// put stores it and returns what it replaces, or nil.
func (t *table) put(it *item) (old *item) {
	slot, ok := t.index[string(it.Key)]
	if ok {
		old = t.chunks[slot/chunkSize].items[slot%chunkSize]
		t.bytes -= old.size()
	} else {
		slot = t.slot()
		t.index[string(it.Key)] = slot
	}
	it.slot = slot
	t.bytes += it.size()
	t.write(slot, it)
	return old
}

// remove takes a key out and returns what it had, or nil.
func (t *table) remove(key []byte) *item {
	slot, ok := t.index[string(key)]
	if !ok {
		return nil
	}
	old := t.chunks[slot/chunkSize].items[slot%chunkSize]
	delete(t.index, string(key))
	t.bytes -= old.size()
	t.write(slot, nil)
	t.free = append(t.free, slot)
	return old
}

// slot finds room for another item.
func (t *table) slot() int {
	if n := len(t.free); n > 0 {
		slot := t.free[n-1]
		t.free = t.free[:n-1]
		return slot
	}
	// Every slot of the chunks is in use or free, so the next is behind them.
	slot := len(t.chunks) * chunkSize
	t.chunks = append(t.chunks, &chunk{generation: t.generation})
	for i := slot + chunkSize - 1; i > slot; i-- {
		t.free = append(t.free, i)
	}
	return slot
}

func (t *table) write(slot int, it *item) {
	c := t.chunks[slot/chunkSize]
	if c.generation != t.generation {
		copied := *c
		copied.generation = t.generation
		c = &copied
		t.chunks[slot/chunkSize] = c
	}
	c.items[slot%chunkSize] = it
}

// capture returns the table as it is now. What happens to the table later does
// not change it.
func (t *table) capture() []*chunk {
	t.generation++
	return append([]*chunk(nil), t.chunks...)
}

// walk gives the entries of captured chunks that keep accepts.
type walk struct {
	chunks []*chunk
	at     int // in the first chunk
	prefix []byte
}

// next returns the next entry whose key has the prefix, or nil.
func (w *walk) next() *Entry {
	for len(w.chunks) > 0 {
		c := w.chunks[0]
		for w.at < chunkSize {
			it := c.items[w.at]
			w.at++
			if it != nil && hasPrefix(it.Key, w.prefix) {
				return &it.Entry
			}
		}
		w.chunks, w.at = w.chunks[1:], 0
	}
	return nil
}

func hasPrefix(key, prefix []byte) bool {
	return len(key) >= len(prefix) && string(key[:len(prefix)]) == string(prefix)
}
