package lvc

import (
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/tapedeck/tapedeck/wire"
)

// value is a topic's record: all of it but the topic.
type value struct {
	header  wire.Plain // as a live record's: no flags, no place
	body    []byte     // owned
	version uint64     // of the table when it was put
	older   *value     // what captures still need, newest first
}

// entry is a topic. A topic that was deleted and comes back is another entry, so
// once gone it never changes.
type entry struct {
	topic string
	value
	diedAt uint64      // version of the table at which it was deleted; 0: it lives
	gone   atomic.Bool // diedAt is set; for mergers, who hold no lock
	purged bool        // in no run any more

	route *route // who wants the topic; the hub's
}

// at returns the entry's value as of a version of the table, or nil.
func (e *entry) at(version uint64) *value {
	if e.diedAt != 0 && e.diedAt <= version {
		return nil
	}
	for v := &e.value; v != nil; v = v.older {
		if v.version <= version {
			return v
		}
	}
	return nil
}

// overhead is what a topic takes beside its own bytes and its body's: entry, place
// in the map and in the sorted runs, and the rounding of three allocations.
// TestMemoryPerTopic holds it.
const overhead = 224

// table holds the last value of every topic, bounded in topics and bytes. It is
// pure: it starts nothing and locks nothing. Whoever uses it holds one lock, but
// for merge and what it is told to be safe without.
//
// Bodies are copied. Where no capture looks on, a topic's memory is used again.
type table struct {
	maxTopics int
	maxBytes  int64

	entries map[string]*entry
	index   index
	version uint64 // +1 per change
	bytes   int64  // of topics, bodies and overhead

	captures  []*capture // open ones, oldest first
	preserved []*entry   // those with older values
	kept      int64      // bytes of older values

	refused uint64 // records of topics that did not fit
	evicted uint64 // topics whose value did not fit any more
	deleted uint64 // topics deleted
}

func newTable(maxTopics int, maxBytes int64) *table {
	return &table{maxTopics: maxTopics, maxBytes: maxBytes, entries: map[string]*entry{}}
}

// len is the number of topics that have a last value.
func (t *table) len() int { return len(t.entries) }

// full reports whether values may be missing because they did not fit.
func (t *table) full() bool { return t.refused+t.evicted > 0 }

// find returns a topic's entry, or nil.
func (t *table) find(topic []byte) *entry { return t.entries[string(topic)] }

// put makes a record its topic's last value, and returns the topic's entry; nil
// where there is no room for a new topic, or none any more for this one. topic and
// body are copied.
func (t *table) put(topic []byte, h *wire.Plain, body []byte) *entry {
	e := t.entries[string(topic)]
	if e == nil {
		if e = t.add(topic, len(body)); e == nil {
			return nil
		}
	} else if more := len(body) - cap(e.body); more > 0 && t.bytes+int64(more) > t.maxBytes {
		// An old value that stands for the last one would be a lie.
		t.evicted++
		t.drop(e)
		return nil
	} else if t.watched(e) {
		t.preserve(e)
	}
	before := cap(e.body)
	t.version++
	e.header, e.version = *h, t.version
	e.body = append(e.body[:0], body...)
	t.bytes += int64(cap(e.body) - before)
	return e
}

// add makes a topic's entry, if there is room.
func (t *table) add(topic []byte, body int) *entry {
	if len(t.entries) >= t.maxTopics || t.bytes+int64(overhead+len(topic)+body) > t.maxBytes {
		t.refused++
		return nil
	}
	e := &entry{topic: string(topic)}
	t.entries[e.topic] = e
	t.bytes += int64(overhead + len(topic))
	t.index.add(e)
	return e
}

// remove deletes a topic's last value and reports whether there was one.
func (t *table) remove(topic []byte) bool {
	e := t.entries[string(topic)]
	if e == nil {
		return false
	}
	t.deleted++
	t.drop(e)
	return true
}

func (t *table) drop(e *entry) {
	if t.watched(e) {
		t.preserve(e)
	}
	t.version++
	t.bytes -= int64(overhead + len(e.topic) + cap(e.body))
	e.version, e.diedAt, e.body, e.route = t.version, t.version, nil, nil
	e.gone.Store(true)
	delete(t.entries, e.topic)
	t.index.died(e)
}

// watched reports whether an open capture may need the entry's current value.
func (t *table) watched(e *entry) bool {
	n := len(t.captures)
	return n > 0 && e.version <= t.captures[n-1].version
}

// valueSize is what an older value takes beside its body, bytes.
const valueSize = int64(unsafe.Sizeof(value{}))

// preserve sets the current value aside for the captures that have yet to come to
// it, so that another can take its place.
func (t *table) preserve(e *entry) {
	old := e.value
	if old.older == nil {
		t.preserved = append(t.preserved, e)
	}
	e.older, e.body = &old, nil
	t.bytes -= int64(cap(old.body))
	t.kept += valueSize + int64(cap(old.body))
	t.trim(e, t.version+1)
	for t.kept > t.maxBytes && len(t.captures) > 0 {
		t.captures[0].lost = true
		t.forget(t.captures[0])
		t.settle()
	}
}

// trim lets go of the older values that no open capture needs: one is needed by
// the captures from its own version on and before that of the value after it.
// after is the version of the current value.
func (t *table) trim(e *entry, after uint64) {
	at := &e.older
	for *at != nil {
		old := *at
		needed := slices.ContainsFunc(t.captures, func(c *capture) bool { return old.version <= c.version && c.version < after })
		if after = old.version; needed {
			at = &old.older
			continue
		}
		*at = old.older
		t.kept -= valueSize + int64(cap(old.body))
	}
}

// forget takes a capture out of the open ones.
func (t *table) forget(c *capture) {
	t.captures = slices.DeleteFunc(t.captures, func(o *capture) bool { return o == c })
}

// settle lets go of all older values that no open capture needs.
func (t *table) settle() {
	t.preserved = slices.DeleteFunc(t.preserved, func(e *entry) bool {
		// A value that is just being replaced has the version of the one set aside.
		after := e.version
		if e.older != nil && e.older.version == after {
			after = t.version + 1
		}
		t.trim(e, after)
		return e.older == nil
	})
}

// settleSome is settle of up to n topics, for when no capture is open; it reports
// whether there are more.
func (t *table) settleSome(n int) bool {
	for ; n > 0 && len(t.captures) == 0 && len(t.preserved) > 0; n-- {
		last := len(t.preserved) - 1
		t.trim(t.preserved[last], t.preserved[last].version)
		t.preserved[last] = nil
		t.preserved = t.preserved[:last]
	}
	return len(t.captures) == 0 && len(t.preserved) > 0
}

// each calls f with every topic that lives; f may remove it.
func (t *table) each(f func(e *entry)) {
	for _, run := range t.index.all() {
		for _, e := range run {
			if e.diedAt == 0 {
				f(e)
			}
		}
	}
}
