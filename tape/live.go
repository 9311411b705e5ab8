package tape

import (
	"slices"
	"strings"
	"sync"

	"github.com/tapedeck/tapedeck/wire"
)

// liveTopic is one topic of a tape that is being written. But for its name it
// belongs to the goroutine that puts the blocks in order.
type liveTopic struct {
	// What every block with the topic changes lies together: with many topics
	// this is where the time goes, in waiting for memory.
	last         []byte // copy of the last record; nil where no keyframes are taken
	place        place  // of the last record
	records      uint64
	lastBlock    int
	lastTopicSeq uint32
	lastIndex    uint32

	firstBlock   int
	firstOrdinal wire.Ordinal
	name         string
}

// info is the topic as the topics file has it.
func (t *liveTopic) info() TopicInfo {
	return TopicInfo{
		Topic: t.name, Records: t.records, FirstBlock: t.firstBlock, LastBlock: t.lastBlock,
		FirstOrdinal: t.firstOrdinal, LastOrdinal: t.place.ordinal,
		LastTopicSeq: t.lastTopicSeq, LastIndex: t.lastIndex,
	}
}

// keep copies a record as the topic's last one.
func (t *liveTopic) keep(rec []byte) {
	if cap(t.last) < len(rec) {
		t.last = make([]byte, len(rec))
	}
	t.last = t.last[:len(rec)]
	copy(t.last, rec)
}

// place is where a record is.
type place struct {
	epoch   wire.Epoch
	seq     wire.Seq
	ordinal wire.Ordinal
	shard   uint16
}

func (p *place) at() At {
	return At{Shard: int(p.shard), Epoch: p.epoch, Seq: p.seq, Ordinal: p.ordinal}
}

// liveTopics are the topics of a tape that is being written. Encoders look names
// up; the rest is of the goroutine that puts the blocks in order, so that at any
// block it says how things stood before that block.
type liveTopics struct {
	mu     sync.Mutex
	byName map[string]*liveTopic

	list  []*liveTopic // those with records, as they appeared
	bytes int          // of all last records
	keep  bool         // keep the last records

	touched uint64 // takes what touch reads, so that it does read
}

func newLiveTopics(keep bool) *liveTopics {
	return &liveTopics{byName: make(map[string]*liveTopic), keep: keep}
}

// get returns the topic of that name, a new one where there was none.
func (l *liveTopics) get(topic []byte) *liveTopic {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.byName[string(topic)]
	if t == nil {
		t = &liveTopic{name: string(topic)}
		l.byName[t.name] = t
	}
	return t
}

// topicDelta is what one block adds to one topic.
type topicDelta struct {
	topic        *liveTopic
	firstOrdinal wire.Ordinal
	lastOrdinal  wire.Ordinal
	records      uint32
	lastTopicSeq uint32
	lastIndex    uint32
	offset, size uint32 // of the topic's last record in the payload
}

// apply takes in one block. The last records are copied: once a block and topic,
// however many records the topic has in it.
func (l *liveTopics) apply(b *BlockInfo, deltas []topicDelta, payload []byte) {
	for i := range deltas {
		if i%touchAhead == 0 {
			l.touch(deltas[i:min(i+touchAhead, len(deltas))])
		}
		d := &deltas[i]
		t := d.topic
		if t.records == 0 {
			t.firstBlock, t.firstOrdinal = b.Number, d.firstOrdinal
			l.list = append(l.list, t)
		}
		t.records += uint64(d.records)
		t.lastBlock, t.lastTopicSeq, t.lastIndex = b.Number, d.lastTopicSeq, d.lastIndex
		t.place = place{epoch: b.Epoch, seq: b.FirstSeq + wire.Seq(d.lastIndex), ordinal: d.lastOrdinal, shard: b.Shard}
		if l.keep {
			l.bytes += int(d.size) - len(t.last)
			t.keep(payload[d.offset:][:d.size])
		}
	}
}

// touchAhead is how many topics are looked at before they are changed.
const touchAhead = 16

// touch reads what apply is about to change. With many topics all of that lies
// far from the processor, which fetches it for several topics at once as long as
// nothing hangs on the order.
func (l *liveTopics) touch(deltas []topicDelta) {
	sum := uint64(0)
	for i := range deltas {
		sum += deltas[i].topic.records
	}
	if l.keep {
		for i := range deltas {
			if last := deltas[i].topic.last; len(last) > 0 {
				sum += uint64(last[0]) + uint64(last[len(last)-1])
			}
		}
	}
	l.touched = sum
}

// seed takes over what a tape that is opened again has of a topic.
func (l *liveTopics) seed(info *TopicInfo) {
	t := l.get([]byte(info.Topic))
	t.records, t.firstBlock, t.lastBlock = info.Records, info.FirstBlock, info.LastBlock
	t.firstOrdinal, t.place.ordinal = info.FirstOrdinal, info.LastOrdinal
	t.lastTopicSeq, t.lastIndex = info.LastTopicSeq, info.LastIndex
	l.list = append(l.list, t)
}

// seedLast takes over a topic's last record, copying it. Without its counts the
// topic has one record.
func (l *liveTopics) seedLast(rec wire.Record, p place) {
	t := l.get(rec.Topic())
	if t.records == 0 {
		t.records = 1
		l.list = append(l.list, t)
	}
	l.bytes += len(rec) - len(t.last)
	t.keep(rec)
	t.place = p
}

// forget lets go of the last records for good.
func (l *liveTopics) forget() {
	l.keep, l.bytes = false, 0
	for _, t := range l.list {
		t.last = nil
	}
}

// sorted returns the topics in bytewise order, as the topics file has them.
func (l *liveTopics) sorted() []TopicInfo {
	list := make([]TopicInfo, len(l.list))
	for i, t := range l.list {
		list[i] = t.info()
	}
	slices.SortFunc(list, func(a, b TopicInfo) int { return strings.Compare(a.Topic, b.Topic) })
	return list
}

// topicScan finds what a block adds to its topics. It belongs to one encoder.
type topicScan struct {
	live  *liveTopics
	known map[string]*scannedTopic
	// last is the topic of the record before: runs of one topic are common and
	// save the look-up.
	last *scannedTopic
}

// scannedTopic is a topic as one encoder knows it.
type scannedTopic struct {
	name  string // the live topic's, which need not be looked at for it
	block int    // the latest block that has it, counted from 1
	delta int    // its place among that block's deltas
	live  *liveTopic
}

func newTopicScan(live *liveTopics) *topicScan {
	return &topicScan{live: live, known: make(map[string]*scannedTopic)}
}

// block appends what a block adds to its topics to dst and returns it.
func (s *topicScan) block(dst []topicDelta, number int, b *wire.Batch) []topicDelta {
	ordinals, i, offset := b.Ordinals(), uint32(0), uint32(0)
	for w := b.Records(); w.Next(); i++ {
		rec, ordinal := w.Record(), ordinals.Next()
		t := s.last
		if topic := rec.Topic(); t == nil || t.name != string(topic) {
			t = s.get(topic)
			s.last = t
		}
		if t.block != number+1 {
			t.block, t.delta = number+1, len(dst)
			dst = append(dst, topicDelta{topic: t.live, firstOrdinal: ordinal})
		}
		d := &dst[t.delta]
		d.records++
		d.lastOrdinal, d.lastTopicSeq, d.lastIndex = ordinal, rec.TopicSeq(), i
		d.offset, d.size = offset, uint32(len(rec))
		offset += uint32(len(rec))
	}
	return dst
}

func (s *topicScan) get(topic []byte) *scannedTopic {
	t := s.known[string(topic)]
	if t == nil {
		live := s.live.get(topic)
		t = &scannedTopic{name: live.name, live: live}
		s.known[t.name] = t
	}
	return t
}
