package tape

import (
	"bytes"
	"hash/maphash"
)

// topicNumbers numbers topics in the order in which they come. It is what
// map[string]int32 would be, without a piece of memory for each topic: last values
// of a hundred thousand topics are looked for while readers wait. It belongs to
// one goroutine. The zero value is empty.
type topicNumbers struct {
	slots []topicSlot // a power of two; at most 3/4 taken
	names []byte      // of all topics, one behind the other
	ends  []int       // where each topic's name ends
	seed  maphash.Seed
}

// topicSlot is a place in the table: part of a topic's hash, and its number
// counted from 1; 0 where the place is free.
type topicSlot struct {
	hash   uint32
	number int32
}

const topicSlotsMin = 1 << 10

// len is how many topics there are.
func (t *topicNumbers) len() int { return len(t.ends) }

// name returns a topic by its number, borrowed until the next put.
func (t *topicNumbers) name(number int32) []byte {
	start := 0
	if number > 0 {
		start = t.ends[number-1]
	}
	return t.names[start:t.ends[number]]
}

// find returns a topic's number, or -1 where it is not there.
func (t *topicNumbers) find(topic []byte) int32 {
	if len(t.slots) == 0 {
		return -1
	}
	number, _ := t.look(topic, uint32(maphash.Bytes(t.seed, topic)))
	return number
}

// put returns a topic's number, and whether it has come now for the first time.
// The topic is copied.
func (t *topicNumbers) put(topic []byte) (number int32, first bool) {
	if 4*len(t.ends) >= 3*len(t.slots) {
		t.grow()
	}
	hash := uint32(maphash.Bytes(t.seed, topic))
	number, at := t.look(topic, hash)
	if number >= 0 {
		return number, false
	}
	number = int32(len(t.ends))
	t.names = append(t.names, topic...)
	t.ends = append(t.ends, len(t.names))
	t.slots[at] = topicSlot{hash: hash, number: number + 1}
	return number, true
}

// look returns a topic's number, or -1 and the slot where it belongs.
func (t *topicNumbers) look(topic []byte, hash uint32) (number int32, at uint32) {
	mask := uint32(len(t.slots) - 1)
	for at = hash & mask; ; at = (at + 1) & mask {
		s := t.slots[at]
		switch {
		case s.number == 0:
			return -1, at
		case s.hash == hash && bytes.Equal(t.name(s.number-1), topic):
			return s.number - 1, at
		}
	}
}

// grow doubles the table.
func (t *topicNumbers) grow() {
	old := t.slots
	if len(old) == 0 {
		t.seed = maphash.MakeSeed()
	}
	t.slots = make([]topicSlot, max(2*len(old), topicSlotsMin))
	mask := uint32(len(t.slots) - 1)
	for _, s := range old {
		if s.number == 0 {
			continue
		}
		at := s.hash & mask
		for t.slots[at].number != 0 {
			at = (at + 1) & mask
		}
		t.slots[at] = s
	}
}
