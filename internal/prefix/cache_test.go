package prefix

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"
)

// market is n prefixes and topics of which every other one matches, in the shape
// of venue and symbol.
func market(prefixes, topics int) ([]string, [][]byte) {
	rng := rand.New(rand.NewPCG(1, 2))
	var p []string
	var t [][]byte
	for i := range prefixes {
		p = append(p, fmt.Sprintf("GLBX.MDP3.%c%c%04d", 'A'+rng.IntN(26), 'A'+rng.IntN(26), i))
	}
	for i := range topics {
		s := p[rng.IntN(len(p))] + "H4"
		if i%2 == 1 {
			s = "GLBX.MDP3.zz" + fmt.Sprint(i)
		}
		t = append(t, []byte(s))
	}
	rng.Shuffle(len(t), func(i, j int) { t[i], t[j] = t[j], t[i] })
	return p, t
}

// TestCacheDecidesAsTheSet asks for many topics, far more than there are slots,
// of all sizes, twice.
func TestCacheDecidesAsTheSet(t *testing.T) {
	for _, n := range []int{1, searchedFrom - 1, searchedFrom, 500} {
		prefixes, topics := market(n, 3*slotsMin)
		for size := range 256 {
			topics = append(topics, []byte(strings.Repeat("x", size)), []byte(prefixes[0]+strings.Repeat("y", size)))
		}
		s := New(prefixes)
		c := NewCache(s)
		matched := 0
		for range 2 {
			for _, topic := range topics {
				got, want := c.Match(topic), s.Match(topic)
				if got != want {
					t.Fatalf("%d prefixes, %q: %v, the set says %v", n, topic, got, want)
				}
				if want {
					matched++
				}
			}
		}
		if matched == 0 || matched == 2*len(topics) {
			t.Fatalf("%d of %d matched: the test decides nothing", matched, 2*len(topics))
		}
	}
	if c := NewCache(New(nil)); !c.All() || !c.Match([]byte("anything")) || !c.Match(nil) {
		t.Error("no prefixes do not match everything")
	}
}

// TestCacheOwnsItsTopics: the caller's bytes change, the memory does not.
func TestCacheOwnsItsTopics(t *testing.T) {
	c := NewCache(New([]string{"A", "B", "C", "D", "E"}))
	topic := []byte("A1")
	if !c.Match(topic) {
		t.Fatal("A1 does not match")
	}
	topic[0] = 'Z'
	if c.Match(topic) || !c.Match([]byte("A1")) {
		t.Error("a decision followed bytes that changed")
	}
}

func TestSlotIsOneCacheLine(t *testing.T) {
	if n := unsafe.Sizeof(slot{}); n != slotSize {
		t.Errorf("a slot has %d bytes, want %d", n, slotSize)
	}
}

func TestAllocCacheMatch(t *testing.T) {
	prefixes, topics := market(10_000, 3*slotsMax)
	c := NewCache(New(prefixes))
	i := 0
	if allocs := testing.AllocsPerRun(len(topics), func() {
		c.Match(topics[i%len(topics)])
		i++
	}); allocs != 0 {
		t.Errorf("%v allocations a record, want 0", allocs)
	}
}

// BenchmarkMatch is a decision for one record: by search, and remembered.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{1, 2, 4, 8, 100, 10_000} {
		for _, topics := range []int{1000, 20_000} {
			prefixes, list := market(n, topics)
			s := New(prefixes)
			c := NewCache(s)
			run := func(name string, match func([]byte) bool) {
				b.Run(fmt.Sprintf("%s/prefixes=%d/topics=%d", name, n, topics), func(b *testing.B) {
					b.ReportAllocs()
					i := 0
					for b.Loop() {
						match(list[i])
						if i++; i == len(list) {
							i = 0
						}
					}
				})
			}
			run("search", s.Match)
			run("cache", c.Match)
		}
	}
}
