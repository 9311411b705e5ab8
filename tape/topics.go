package tape

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/wire"
)

// TopicInfo is what a tape knows about one topic. First and last are by tape
// order: the order of the topic's blocks, then of the records in them.
type TopicInfo struct {
	Topic        string
	Records      uint64
	FirstBlock   int // -1 where retention has removed it
	LastBlock    int // the same
	FirstOrdinal wire.Ordinal
	LastOrdinal  wire.Ordinal
	LastTopicSeq uint32
	LastIndex    uint32 // place of its last record in LastBlock, from 0
}

// Topics file, little-endian: header, then the topics sorted bytewise, each
// [u8 size][topic] and seven unsigned LEB128 varints: records, first block,
// last block, first ordinal, last ordinal, last topic sequence, place of the
// last record in the last block.
//
//	0   4   magic "TPTP"
//	4   u8  version, 1
//	5   3   zero
//	8   u32 CRC32C of the whole file with this field zero
//	12  u32 zero
//	16  16  tape id
//	32  u64 number of topics
const (
	topVersionOff = 4
	topCRCOff     = 8
	topIDOff      = 16
	topCountOff   = 32

	topicsHeaderSize = 40
	topicsName       = "topics"
	topicsMagic      = "TPTP"
	topicsVersion    = 1
	topicsSizeMax    = 4 << 30
	topicEntryMin    = 1 + 1 + 7
)

// topicTable gathers topics. It belongs to one goroutine.
type topicTable struct {
	stats map[string]*TopicInfo
	// last is the entry of the record before: runs of one topic are common and
	// save the look-up.
	last *TopicInfo
}

func newTopicTable() *topicTable { return &topicTable{stats: make(map[string]*TopicInfo)} }

// add takes in the records of one block. Blocks may come in any order.
func (t *topicTable) add(number int, b *wire.Batch) {
	ordinals, i := b.Ordinals(), uint32(0)
	for w := b.Records(); w.Next(); i++ {
		rec, ordinal := w.Record(), ordinals.Next()
		s := t.last
		if topic := rec.Topic(); s == nil || s.Topic != string(topic) {
			s = t.get(topic)
			t.last = s
		}
		if s.Records == 0 || number < s.FirstBlock {
			s.FirstBlock, s.FirstOrdinal = number, ordinal
		}
		if s.Records == 0 || number >= s.LastBlock {
			s.LastBlock, s.LastOrdinal = number, ordinal
			s.LastTopicSeq, s.LastIndex = rec.TopicSeq(), i
		}
		s.Records++
	}
}

func (t *topicTable) get(topic []byte) *TopicInfo {
	s := t.stats[string(topic)]
	if s == nil {
		s = &TopicInfo{Topic: string(topic)}
		t.stats[s.Topic] = s
	}
	return s
}

// merge takes in what another table gathered from other blocks.
func (t *topicTable) merge(other *topicTable) {
	for topic, o := range other.stats {
		t.mergeOne(topic, o)
	}
}

func (t *topicTable) mergeOne(topic string, o *TopicInfo) {
	s := t.stats[topic]
	if s == nil {
		entry := *o
		t.stats[topic] = &entry
		return
	}
	if o.FirstBlock < s.FirstBlock {
		s.FirstBlock, s.FirstOrdinal = o.FirstBlock, o.FirstOrdinal
	}
	if o.LastBlock > s.LastBlock {
		s.LastBlock, s.LastOrdinal = o.LastBlock, o.LastOrdinal
		s.LastTopicSeq, s.LastIndex = o.LastTopicSeq, o.LastIndex
	}
	s.Records += o.Records
}

// sorted returns the topics in bytewise order.
func (t *topicTable) sorted() []TopicInfo {
	list := make([]TopicInfo, 0, len(t.stats))
	for _, s := range t.stats {
		list = append(list, *s)
	}
	slices.SortFunc(list, func(a, b TopicInfo) int { return strings.Compare(a.Topic, b.Topic) })
	return list
}

func encodeTopics(id ID, list []TopicInfo) []byte {
	b := make([]byte, topicsHeaderSize, topicsHeaderSize+len(list)*32)
	copy(b, topicsMagic)
	b[topVersionOff] = topicsVersion
	copy(b[topIDOff:], id[:])
	binary.LittleEndian.PutUint64(b[topCountOff:], uint64(len(list)))
	for i := range list {
		b = appendTopic(b, &list[i])
	}
	binary.LittleEndian.PutUint32(b[topCRCOff:], crcWithout(b, topCRCOff))
	return b
}

func appendTopic(b []byte, t *TopicInfo) []byte {
	b = append(b, byte(len(t.Topic)))
	b = append(b, t.Topic...)
	for _, v := range [...]uint64{
		t.Records, uint64(t.FirstBlock), uint64(t.LastBlock),
		uint64(t.FirstOrdinal), uint64(t.LastOrdinal), uint64(t.LastTopicSeq), uint64(t.LastIndex),
	} {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

// parseTopics checks and takes apart the content of a topics file. The topics
// are copied. The reason is empty when all is well.
func parseTopics(b []byte, id ID) (list []TopicInfo, reason string) {
	le := binary.LittleEndian
	switch {
	case len(b) < topicsHeaderSize:
		return nil, "topics file is cut off"
	case string(b[:len(topicsMagic)]) != topicsMagic:
		return nil, "not a topics file (magic)"
	case le.Uint32(b[topCRCOff:]) != crcWithout(b, topCRCOff):
		return nil, "topics checksum differs"
	case b[topVersionOff] != topicsVersion:
		return nil, "unknown topics version"
	case !allZero(b[topVersionOff+1:topCRCOff]) || le.Uint32(b[topCRCOff+4:]) != 0:
		return nil, reasonReserved
	case ID(b[topIDOff:topIDOff+16]) != id:
		return nil, "topics file is of another tape"
	}
	count, rest := le.Uint64(b[topCountOff:]), b[topicsHeaderSize:]
	if count > uint64(len(rest)/topicEntryMin) {
		return nil, "topic count does not fit the file"
	}
	list = make([]TopicInfo, 0, count)
	for range count {
		t, n := parseTopic(rest)
		if n == 0 || len(list) > 0 && t.Topic <= list[len(list)-1].Topic {
			return nil, "topic entry is damaged"
		}
		list, rest = append(list, t), rest[n:]
	}
	if len(rest) != 0 {
		return nil, "bytes after the last topic"
	}
	return list, ""
}

// parseTopic returns the entry at the start of b and its size, 0 where there is
// none.
func parseTopic(b []byte) (t TopicInfo, size int) {
	if len(b) == 0 || b[0] == 0 || len(b) < 1+int(b[0]) {
		return t, 0
	}
	n := 1 + int(b[0])
	t.Topic = string(b[1:n])
	var v [7]uint64
	for i := range v {
		x, k := binary.Uvarint(b[n:])
		if k <= 0 || k > 1 && b[n+k-1] == 0 {
			return t, 0 // cut off, too long, or not the shortest form
		}
		v[i], n = x, n+k
	}
	if v[1] > v[2] || v[2] > 1<<40 || v[5] > 1<<32-1 || v[6] > 1<<32-1 {
		return t, 0
	}
	t.Records, t.FirstBlock, t.LastBlock = v[0], int(v[1]), int(v[2])
	t.FirstOrdinal, t.LastOrdinal = wire.Ordinal(v[3]), wire.Ordinal(v[4])
	t.LastTopicSeq, t.LastIndex = uint32(v[5]), uint32(v[6])
	return t, n
}
