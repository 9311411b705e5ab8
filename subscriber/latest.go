package subscriber

import "github.com/tapedeck/tapedeck/wire"

// latest keeps the last record of every topic until it is taken, oldest topic
// first, and what is told between records in its place among them. Whoever uses
// it holds its lock. In steady state it does not allocate: a topic that was taken
// keeps its place and its memory until another one needs them.
//
// A record that replaces another of its topic takes over its place in the queue,
// so that a busy topic cannot hold up the others, nor be held up by them. Only
// where something was told since, it goes to the end: nothing that came after a
// session's description, or a gap, is handed over before it.
type latest struct {
	topicsMax int
	bytesMax  int64

	index   map[string]int32 // topics, waiting or idle
	nodes   []latestNode
	waiting chain
	idle    chain // topics that were taken, oldest first
	free    []int32
	bytes   int64
	topics  int // that wait
	told    int // what waits that is no record
	era     uint64
}

// latestNode is a topic, or something told.
type latestNode struct {
	prev, next int32
	waits      bool
	topic      string
	record     []byte // owned; its memory is kept while the topic is idle
	at         recordPlace
	skipped    uint64
	era        uint64 // how much was told before this record
	tell       func() // of what was told
}

// recordPlace is where in the stream a record was.
type recordPlace struct {
	header  wire.Header // its batch's
	seq     wire.Seq
	ordinal wire.Ordinal
}

const (
	// nodeCost is what a topic costs beside its name and its record, bytes, about:
	// a node and an entry of the index.
	nodeCost = 320
	// toldMax bounds what is told and waits: gaps, mostly.
	toldMax = 4096
)

func newLatest(topicsMax int, bytesMax int64) *latest {
	l := &latest{topicsMax: topicsMax, bytesMax: bytesMax}
	l.reset()
	return l
}

// reset lets go of all memory. Nothing may wait.
func (l *latest) reset() {
	*l = latest{topicsMax: l.topicsMax, bytesMax: l.bytesMax, index: map[string]int32{}, waiting: noChain, idle: noChain, era: l.era}
}

// waits is how many are to be taken.
func (l *latest) waits() int { return l.topics + l.told }

// put keeps a copy of a record. It reports how many records will never be handed
// over now: skipped, the earlier ones of its topic; dropped, those that there was
// no room for. A record without room takes with it the one of its topic that
// waits, which is not the latest any more.
func (l *latest) put(r wire.Record, at *recordPlace) (skipped, dropped uint64) {
	i, known := l.index[string(r.Topic())]
	if !known {
		if i = l.add(r.Topic()); i < 0 {
			return 0, 1
		}
	}
	n := &l.nodes[i]
	if n.waits {
		skipped = 1
		n.skipped++
	}
	if len(r) > cap(n.record) && !l.grow(i, len(r)) {
		if n.waits {
			l.retire(i)
			return 0, 1 + skipped // the one that waited has no successor that shows
		}
		return 0, 1
	}
	n.record = append(n.record[:0], r...)
	n.at = *at
	switch {
	case !n.waits:
		l.idle.remove(l.nodes, i)
		n.waits, n.skipped = true, 0
		l.topics++
		l.waiting.push(l.nodes, i)
	case n.era != l.era:
		l.waiting.remove(l.nodes, i)
		l.waiting.push(l.nodes, i)
	}
	n.era = l.era
	return skipped, 0
}

// add makes an idle node for a topic, or returns -1 where there is no room.
func (l *latest) add(topic []byte) int32 {
	cost := int64(nodeCost + len(topic))
	for len(l.index) >= l.topicsMax || l.bytes+cost > l.bytesMax {
		if !l.evict() {
			return -1
		}
	}
	i := l.node()
	l.nodes[i].topic = string(topic)
	l.index[l.nodes[i].topic] = i
	l.bytes += cost
	l.idle.push(l.nodes, i)
	return i
}

// node returns an unused node.
func (l *latest) node() int32 {
	if n := len(l.free); n > 0 {
		i := l.free[n-1]
		l.free = l.free[:n-1]
		return i
	}
	l.nodes = append(l.nodes, latestNode{})
	return int32(len(l.nodes) - 1)
}

// evict forgets the topic that has been idle for longest and reports whether
// there was one.
func (l *latest) evict() bool {
	i := l.idle.first
	if i < 0 {
		return false
	}
	l.forget(i)
	return true
}

func (l *latest) forget(i int32) {
	n := &l.nodes[i]
	l.idle.remove(l.nodes, i)
	delete(l.index, n.topic)
	l.bytes -= int64(nodeCost + len(n.topic) + cap(n.record))
	*n = latestNode{}
	l.free = append(l.free, i)
}

// grow gives node i memory for a record of size bytes, at the cost of idle topics
// where need be. What the memory held is lost.
func (l *latest) grow(i int32, size int) bool {
	size += size / 4 // the next record may be a little larger
	more := int64(size - cap(l.nodes[i].record))
	for l.bytes+more > l.bytesMax {
		// The topic at hand may itself be the one that is idle.
		victim := l.idle.first
		if victim == i {
			victim = l.nodes[i].next
		}
		if victim < 0 {
			return false
		}
		l.forget(victim)
	}
	l.bytes += more
	l.nodes[i].record = make([]byte, 0, size)
	return true
}

// retire makes a topic that waits idle.
func (l *latest) retire(i int32) {
	n := &l.nodes[i]
	l.waiting.remove(l.nodes, i)
	n.waits, n.skipped = false, 0
	l.topics--
	l.idle.push(l.nodes, i)
}

// tell queues what is told behind everything that waits now, and reports whether
// there was room.
func (l *latest) tell(f func()) bool {
	if l.told >= toldMax {
		return false
	}
	i := l.node()
	l.nodes[i].tell = f
	l.waiting.push(l.nodes, i)
	l.told++
	l.era++
	return true
}

// taken is what take took: a record, or something told.
type taken struct {
	record  wire.Record
	at      recordPlace
	skipped uint64
	tell    func()
}

// take takes what has waited longest. It gives t's record the topic's memory, and
// the topic t's: what it returns is t's own until the next call. It returns false
// where nothing waits.
func (l *latest) take(t *taken) bool {
	i := l.waiting.first
	if i < 0 {
		return false
	}
	n := &l.nodes[i]
	if n.tell != nil {
		t.tell = n.tell
		l.waiting.remove(l.nodes, i)
		*n = latestNode{}
		l.free = append(l.free, i)
		l.told--
		return true
	}
	t.tell, t.at, t.skipped = nil, n.at, n.skipped
	l.bytes += int64(cap(t.record) - cap(n.record))
	t.record, n.record = n.record, t.record[:0]
	l.retire(i)
	return true
}

// chain is a list of nodes, linked by their indexes.
type chain struct{ first, last int32 }

var noChain = chain{-1, -1}

// push appends node i.
func (c *chain) push(nodes []latestNode, i int32) {
	nodes[i].prev, nodes[i].next = c.last, -1
	if c.last < 0 {
		c.first = i
	} else {
		nodes[c.last].next = i
	}
	c.last = i
}

// remove takes node i out, which must be in.
func (c *chain) remove(nodes []latestNode, i int32) {
	prev, next := nodes[i].prev, nodes[i].next
	if prev < 0 {
		c.first = next
	} else {
		nodes[prev].next = next
	}
	if next < 0 {
		c.last = prev
	} else {
		nodes[next].prev = prev
	}
}
