package tape

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestTopicNumbers: it answers as a map does, also for topics of no bytes and
// of many, before and after it has grown.
func TestTopicNumbers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var table topicNumbers
	want := map[string]int32{}
	if table.find([]byte("T")) != -1 {
		t.Error("an empty table has a topic")
	}
	for range 60_000 {
		topic := fmt.Appendf(nil, "%0*d", rng.IntN(40), rng.IntN(20_000))[:rng.IntN(3)*7%12%5+1]
		if rng.IntN(2) == 0 {
			topic = fmt.Appendf(nil, "venue.%d", rng.IntN(9000))
		}
		number, known := want[string(topic)]
		if got := table.find(topic); known && got != number || !known && got != -1 {
			t.Fatalf("%q has number %d, want %d, known %v", topic, got, number, known)
		}
		if !known {
			number = int32(len(want))
			want[string(topic)] = number
		}
		if got, first := table.put(topic); got != number || first == known {
			t.Fatalf("%q was put as %d, first %v; want %d, first %v", topic, got, first, number, !known)
		}
	}
	if table.len() != len(want) || len(want) < 2*topicSlotsMin {
		t.Errorf("%d topics, want %d", table.len(), len(want))
	}
	for topic, number := range want {
		if string(table.name(number)) != topic {
			t.Fatalf("topic %d is %q, want %q", number, table.name(number), topic)
		}
	}
}

func TestAllocTopicNumbers(t *testing.T) {
	var table topicNumbers
	topics := make([][]byte, 3000)
	for i := range topics {
		topics[i] = fmt.Appendf(nil, "venue.%d", i)
		table.put(topics[i])
	}
	if n := testing.AllocsPerRun(10, func() {
		for _, topic := range topics {
			table.put(topic)
			table.find(topic)
		}
	}); n != 0 {
		t.Errorf("%v allocations in looking up topics that are there", n)
	}
}
