package dbn

import (
	"bytes"
	"fmt"
	"math"

	"github.com/tapedeck/tapedeck/wire"
)

const (
	topicSizeMax = wire.TopicSizeMax
	// idSizeMax is the room that "." and an instrument id take in a topic.
	idSizeMax = len(".4294967295")
	// topicsKept is how many topics are kept ready. Beyond it they are all
	// forgotten and made again as they are needed.
	topicsKept = 1 << 20
	// learnedMax bounds the instruments that symbol mapping records can name.
	learnedMax = 1 << 21
)

// topics names records. The rule is in the package comment.
type topics struct {
	last    *topic // of the record before, nil at first
	ready   map[uint64]*topic
	learned map[uint32][]byte // symbols by symbol mapping records, owned
	table   *symbolTable
	dataset []byte // nil where each record's publisher names it
	prefix  []byte
	scratch []byte
	age     uint32 // moves when learned changes: topics made before are stale
}

// topic is the ready topic of an instrument over a range of index times, one UTC
// day: what a mapping says holds for whole days.
type topic struct {
	key    uint64
	from   uint64 // index times [from, to), ns
	to     uint64
	name   []byte // owned, rewritten in place
	age    uint32
	mapped bool // whether it has a symbol rather than the instrument id
}

// newTopics checks that a topic can be made at all: that prefix, dataset and an
// instrument id fit.
func newTopics(prefix, dataset string, table *symbolTable) (*topics, error) {
	t := &topics{
		ready: make(map[uint64]*topic), learned: make(map[uint32][]byte),
		table: table, prefix: []byte(prefix),
	}
	longest := publisherDatasetMax
	if usable([]byte(dataset)) {
		t.dataset = []byte(dataset)
		longest = len(dataset)
	}
	if len(prefix)+longest+idSizeMax > topicSizeMax {
		return nil, fmt.Errorf("%w: topic prefix and dataset are %d bytes and leave no room for a symbol in %d",
			ErrOption, len(prefix)+longest, topicSizeMax)
	}
	return t, nil
}

// of returns the topic of a record, borrowed until the next call. publisher and
// id are from its head; ts is its index time.
func (t *topics) of(l *layout, body []byte, publisher uint16, id uint32, ts uint64) []byte {
	key := uint64(id)
	if t.dataset == nil {
		key |= uint64(publisher) << 32
	}
	e := t.last
	if e == nil || e.key != key || ts-e.from >= e.to-e.from || e.age != t.age {
		e = t.refresh(key, publisher, id, ts)
	}
	if !e.mapped && l.symbolOff != 0 {
		return t.byDefinition(l, body, publisher, id)
	}
	return e.name
}

// refresh finds or makes the topic of an instrument for the day of ts.
func (t *topics) refresh(key uint64, publisher uint16, id uint32, ts uint64) *topic {
	e := t.ready[key]
	if e == nil {
		if len(t.ready) >= topicsKept {
			clear(t.ready)
		}
		e = &topic{key: key}
		t.ready[key] = e
	}
	t.last = e
	if e.name != nil && ts-e.from < e.to-e.from && e.age == t.age {
		return e
	}
	symbol := t.learned[id]
	if symbol == nil {
		symbol = t.table.find(id, ts)
	}
	e.name, e.mapped = t.compose(e.name[:0], publisher, id, symbol)
	e.age = t.age
	e.from, e.to = undefinedTime, 0 // wraps: covers just the undefined time
	if ts != undefinedTime {
		e.from = ts - ts%dayNs
		e.to = e.from + min(dayNs, math.MaxUint64-e.from)
	}
	return e
}

// byDefinition names a definition by the symbol in itself.
func (t *topics) byDefinition(l *layout, body []byte, publisher uint16, id uint32) []byte {
	symbol := cstring(body[l.symbolOff:][:l.symbolLen])
	t.scratch, _ = t.compose(t.scratch[:0], publisher, id, symbol)
	return t.scratch
}

// compose appends the topic for a symbol, or for the instrument id where the
// symbol is not usable or does not fit, and reports whether it took the symbol.
func (t *topics) compose(dst []byte, publisher uint16, id uint32, symbol []byte) ([]byte, bool) {
	dst = append(dst, t.prefix...)
	if t.dataset != nil {
		dst = append(dst, t.dataset...)
	} else {
		dst = append(dst, publisherDataset(publisher)...)
	}
	dst = append(dst, '.')
	if !usable(symbol) || len(dst)+len(symbol) > topicSizeMax {
		return appendID(dst, id), false
	}
	return append(dst, symbol...), true
}

// learn takes in a symbol mapping record: from here on its instrument has the
// symbol it gives. A record that gives none changes nothing.
func (t *topics) learn(l *layout, body []byte, id uint32) error {
	symbol := mappingSymbol(l, body, id)
	if symbol == nil || bytes.Equal(symbol, t.learned[id]) {
		return nil
	}
	if len(t.learned) >= learnedMax && t.learned[id] == nil {
		return fmt.Errorf("%w: more than %d instruments", ErrMappings, learnedMax)
	}
	t.learned[id] = append(t.learned[id][:0], symbol...)
	t.age++
	return nil
}
