package columns

import (
	"bytes"
	"hash/maphash"
	"math/bits"
)

// topicTable numbers the topics of a block in the order in which they first
// appear. It borrows the payload.
type topicTable struct {
	seed  maphash.Seed
	slots []int32 // number of a topic and 1; 0 is free
	names [][]byte
}

// reset forgets all topics and makes room for those of that many records: at
// most every second slot is taken.
func (t *topicTable) reset(records int) {
	if t.slots == nil {
		t.seed = maphash.MakeSeed()
	}
	t.slots = resize(t.slots, 1<<bits.Len(uint(2*records)))
	clear(t.slots)
	t.names = t.names[:0]
}

// number returns the topic's number.
func (t *topicTable) number(topic []byte) uint64 {
	mask := uint64(len(t.slots) - 1)
	for at := maphash.Bytes(t.seed, topic) & mask; ; at = (at + 1) & mask {
		n := t.slots[at]
		if n == 0 {
			t.names = append(t.names, topic)
			t.slots[at] = int32(len(t.names))
			return uint64(len(t.names) - 1)
		}
		if bytes.Equal(t.names[n-1], topic) {
			return uint64(n - 1)
		}
	}
}

// append writes the dictionary: a column of sizes, a column of how many bytes
// are those of the topic before, and the other bytes of all topics.
func (t *topicTable) append(dst []byte) []byte {
	for _, name := range t.names {
		dst = append(dst, byte(len(name)))
	}
	for i := range t.names {
		dst = append(dst, byte(t.shared(i)))
	}
	for i, name := range t.names {
		dst = append(dst, name[t.shared(i):]...)
	}
	return dst
}

func (t *topicTable) shared(i int) int {
	if i == 0 {
		return 0
	}
	a, b := t.names[i-1], t.names[i]
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// samePlaces fills prev with the place of the last record of the same topic, or
// with the place before where there is none, for records of these topics. last
// has room for all topics of the block; its content is lost.
func samePlaces(prev []int32, topics []uint64, last []int32) {
	// Only the topics that occur are reset: a block may have many shapes.
	for _, t := range topics {
		last[t] = -1
	}
	for i, t := range topics {
		prev[i] = last[t]
		if prev[i] < 0 {
			prev[i] = max(int32(i)-1, 0)
		}
		last[t] = int32(i)
	}
}
