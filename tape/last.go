package tape

import (
	"bytes"
	"context"
	"slices"
	"sort"

	"github.com/tapedeck/tapedeck/wire"
)

// LastConfig says as of when Tape.Last is to look.
type LastConfig struct {
	// At is the time: records at exactly that time count. wire.NanosMax means the
	// end of the tape.
	At wire.Nanos
	// Clock is the time of a record that At means. By the send clock a block
	// counts as a whole, once all of it had been sent.
	Clock Clock
	// Topics reports whether a topic is wanted; nil means all are. It is called
	// from several goroutines and must not keep the topic.
	Topics func(topic []byte) bool
}

// LastStats say what finding last values took.
type LastStats struct {
	Keyframe      int       // block of the keyframe that was read, -1 where none was
	KeyframeBytes int64     // as stored
	Blocks        int       // blocks that were read
	BlockBytes    int64     // as stored
	Records       uint64    // records that were looked at in them
	Passed        []Problem // keyframes that could not be used
	// Unknown is the number of topics whose last record before the tape's start
	// came after the wanted time: what they had then was removed from the tape.
	Unknown int
}

// Last is the last record of every topic as of one moment, a walk in bytewise
// order of the topics:
//
//	for l.Next() {
//		use(l.At(), l.Record())
//	}
//
// It owns its bytes and borrows nothing from the tape. It belongs to one
// goroutine.
type Last struct {
	list  []lastRecord
	i     int // of the next record
	stats LastStats
}

// lastRecord is one topic's last record.
type lastRecord struct {
	rec   wire.Record
	place place
}

// Next moves to the next topic and reports whether there is one.
func (l *Last) Next() bool {
	l.i = min(l.i+1, len(l.list)+1)
	return l.i <= len(l.list)
}

// Record returns the current topic's last record.
func (l *Last) Record() wire.Record { return l.list[l.i-1].rec }

// At returns the current record's place; Send is not known.
func (l *Last) At() At { return l.list[l.i-1].place.at() }

// Len is the number of topics.
func (l *Last) Len() int { return len(l.list) }

// Find returns the last record of one topic.
func (l *Last) Find(topic []byte) (rec wire.Record, at At, ok bool) {
	i := sort.Search(len(l.list), func(i int) bool { return bytes.Compare(l.list[i].rec.Topic(), topic) >= 0 })
	if i == len(l.list) || !bytes.Equal(l.list[i].rec.Topic(), topic) {
		return nil, At{}, false
	}
	return l.list[i].rec, l.list[i].place.at(), true
}

// Stats say what it took.
func (l *Last) Stats() LastStats { return l.stats }

// Last returns every topic's last record as of a moment: of the topic's records
// whose time is not after cfg.At, the last one in tape order. It reads one
// keyframe and at most about one keyframe interval of blocks; more where times
// go back by more than that, since a keyframe serves only from the time on that
// no record before it exceeds, and where the segment that is being written has
// no keyframes yet.
func (t *Tape) Last(ctx context.Context, cfg LastConfig) (*Last, error) {
	cut := lastCut{keyframe: t.blocks, end: t.blocks}
	if c, at := cfg.Clock, cfg.At; at != wire.NanosMax {
		cut.keyframe, cut.end = t.firstBlock(c, at+1), t.endBlock(c, at+1)
		cut.whole = func(b *BlockInfo) bool { return b.span(c).Max <= at }
		cut.skip = func(b *BlockInfo) bool {
			return b.span(c).Min > at || c == ClockSend && !b.NoSend && b.Send.Max > at
		}
		cut.wants = func(r wire.Record, _ int, _ wire.Ordinal) bool { return timeOf(r, c) <= at }
		cut.upTo = func(e *keyEntry) bool { return e.upTo[c] <= at }
		if c == ClockSend {
			cut.wantsHead = func(wire.Record) bool { return false }
		} else {
			cut.wantsHead = func(r wire.Record) bool { return timeOf(r, c) <= at }
		}
	}
	return t.last(ctx, &cut, cfg.Topics)
}

// LastBefore returns every topic's last record before a position in tape order;
// of the position it looks at Block and Index, as Find and FindSeq give them.
// The position at the end of the tape gives the last records of the whole tape.
func (t *Tape) LastBefore(ctx context.Context, pos Position, topics func(topic []byte) bool) (*Last, error) {
	n := min(max(pos.Block, 0), t.blocks)
	cut := lastCut{keyframe: n, end: n}
	if n < t.blocks && n == pos.Block && pos.Index > 0 {
		cut.end = n + 1
	}
	cut.whole = func(b *BlockInfo) bool { return b.Number < n }
	cut.wants = func(_ wire.Record, index int, _ wire.Ordinal) bool { return index < pos.Index }
	return t.last(ctx, &cut, topics)
}

// LastBeforeOrdinal returns every topic's last record before an ordinal in an
// epoch, in the one order over all shards: what has gone before when Records
// comes to that ordinal. The error wraps ErrNoSeq where the tape does not have
// the epoch.
func (t *Tape) LastBeforeOrdinal(ctx context.Context, epoch wire.Epoch, ordinal wire.Ordinal, topics func(topic []byte) bool) (*Last, error) {
	cut, err := t.cutAtOrdinal(epoch, ordinal)
	if err != nil {
		return nil, err
	}
	return t.last(ctx, cut, topics)
}

// lastCut says which records lie before a moment. Functions that are nil answer
// as if there were no moment.
type lastCut struct {
	keyframe int // no record before this block is unwanted
	end      int // no record from this block on is wanted
	skip     func(b *BlockInfo) bool
	whole    func(b *BlockInfo) bool
	wants    func(r wire.Record, index int, ordinal wire.Ordinal) bool
	begun    func(t *TopicInfo) bool // a topic's first record is wanted; nil: that cannot be told

	// Of a tape whose first segments were removed: whether all that a keyframe
	// is made of is wanted, and if not, whether a record of it is.
	upTo      func(e *keyEntry) bool
	wantsHead func(r wire.Record) bool
}

func (c *lastCut) skips(b *BlockInfo) bool { return c.skip != nil && c.skip(b) }

func (c *lastCut) takes(b *BlockInfo) bool { return c.whole == nil || c.whole(b) }

// last finds everything and puts it in order of the topics.
func (t *Tape) last(ctx context.Context, cut *lastCut, topics func([]byte) bool) (*Last, error) {
	w, err := t.walkLast(cut, topics)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	var (
		found []lastRecord // in blocks, by their numbers in w.found
		keep  arena
	)
	for !w.last {
		for _, r := range w.list {
			if w.news(r.rec.Topic()) {
				found = append(found, lastRecord{rec: keep.copy(r.rec), place: r.place})
			}
		}
		if err := w.more(ctx); err != nil {
			return nil, err
		}
	}
	return &Last{list: joinLast(&w.found, found, w.list), stats: w.stats}, nil
}

// joinLast joins what blocks and keyframe have, in order of the topics. numbers has
// the topics of what was found in blocks, which is newer; base is in order.
func joinLast(numbers *topicNumbers, found, base []lastRecord) []lastRecord {
	for i := range base {
		if n := numbers.find(base[i].rec.Topic()); n >= 0 {
			base[i], found[n].rec = found[n], nil
		}
	}
	fresh := slices.DeleteFunc(found, func(r lastRecord) bool { return r.rec == nil })
	slices.SortFunc(fresh, compareTopics)
	if len(base) == 0 {
		return fresh
	}
	list := make([]lastRecord, 0, len(base)+len(fresh))
	for _, f := range fresh {
		n, _ := slices.BinarySearchFunc(base, f, compareTopics)
		list = append(append(list, base[:n]...), f)
		base = base[n:]
	}
	return append(list, base...)
}

func compareTopics(a, b lastRecord) int { return bytes.Compare(a.rec.Topic(), b.rec.Topic()) }

// arena is memory for copies of records, in large pieces.
type arena struct{ free []byte }

// arenaSize is how much room for copies is made at once, bytes.
const arenaSize = 1 << 20

func (a *arena) copy(rec wire.Record) wire.Record {
	if cap(a.free)-len(a.free) < len(rec) {
		a.free = make([]byte, 0, max(arenaSize, len(rec)))
	}
	at := len(a.free)
	a.free = append(a.free, rec...)
	return wire.Record(a.free[at:len(a.free):len(a.free)])
}
