package shard_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/tapedeck/tapedeck/shard"
)

func mustMap(t testing.TB, n int) shard.Map {
	t.Helper()
	m, err := shard.NewMap(n)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestMapPinned holds the map to values worked out from XXH64's published
// results: a change here would make old tapes and streams unreadable.
func TestMapPinned(t *testing.T) {
	const (
		hashEmpty = 0xef46db3751d8e999 // XXH64 of nothing, seed 0
		hashA     = 0xd24ec4f1a98c6e5b // of "a"
		hashABC   = 0x44bc2cf5ad770999 // of "abc"
	)
	for _, n := range []int{1, 2, 3, 4, 7, 8, 12, 64, 1000, shard.Max} {
		m := mustMap(t, n)
		for topic, hash := range map[string]uint64{"": hashEmpty, "a": hashA, "abc": hashABC} {
			if got, want := m.Of([]byte(topic)), shard.ID(hash%uint64(n)); got != want {
				t.Errorf("%d shards, topic %q: shard %d, want %d", n, topic, got, want)
			}
		}
	}
	// Topics as feeds name them, so that no change of the whole path goes unseen.
	m := mustMap(t, 8)
	for topic, want := range map[string]shard.ID{
		"XNAS.AAPL": 5, "GLBX.ESH4": 2, "SYN.A0001": 1, "BINANCE.btcusdt@trade": 5,
	} {
		if got := m.Of([]byte(topic)); got != want {
			t.Errorf("8 shards, topic %q: shard %d, want %d", topic, got, want)
		}
	}
}

// TestMapSplits checks the rule for going from N to k*N shards.
func TestMapSplits(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 5} {
		coarse := mustMap(t, n)
		for _, k := range []int{1, 2, 3, 8} {
			fine := mustMap(t, n*k)
			for i := range 2000 {
				topic := fmt.Appendf(nil, "TOPIC.%d", i)
				s := fine.Of(topic)
				got, ok := coarse.Within(s, n*k)
				if want := coarse.Of(topic); !ok || got != want || int(s)%n != int(want) {
					t.Fatalf("%q: shard %d of %d lies in %d of %d (%v), want %d", topic, s, n*k, got, n, ok, want)
				}
			}
		}
	}
}

func TestMapWithinRefuses(t *testing.T) {
	m := mustMap(t, 4)
	for _, c := range []struct {
		s     shard.ID
		finer int
	}{{0, 6}, {0, 2}, {8, 8}, {9, 8}, {0, 0}, {0, -4}} {
		if _, ok := m.Within(c.s, c.finer); ok {
			t.Errorf("shard %d of %d lies in one shard of 4", c.s, c.finer)
		}
	}
}

func TestMapSpreads(t *testing.T) {
	const topics, n = 64_000, 16
	m := mustMap(t, n)
	var count [n]int
	for i := range topics {
		count[m.Of(fmt.Appendf(nil, "SYN.A%04d", i))]++
	}
	// Each count is binomial; six standard deviations never happen by chance.
	mean := float64(topics) / n
	bound := 6 * math.Sqrt(mean*(1-1.0/n))
	for s, c := range count {
		if math.Abs(float64(c)-mean) > bound {
			t.Errorf("shard %d has %d topics, want %.0f within %.0f", s, c, mean, bound)
		}
	}
}

func TestNewMapRefuses(t *testing.T) {
	for _, n := range []int{-1, 0, shard.Max + 1} {
		if _, err := shard.NewMap(n); err == nil {
			t.Errorf("NewMap(%d) gave no error", n)
		}
	}
	if got := mustMap(t, shard.Max).Shards(); got != shard.Max {
		t.Errorf("Shards() = %d", got)
	}
}

func TestMapOfAllocatesNothing(t *testing.T) {
	m, topic := mustMap(t, 7), []byte("XNAS.AAPL")
	var sum shard.ID
	if n := testing.AllocsPerRun(1000, func() { sum += m.Of(topic) }); n != 0 {
		t.Errorf("Of allocates %v times", n)
	}
}

func BenchmarkMapOf(b *testing.B) {
	for _, topic := range []string{"XNAS.AAPL", "BINANCE.btcusdt@trade", "OPRA.SPXW  240621C05400000"} {
		b.Run(fmt.Sprintf("topicBytes=%d", len(topic)), func(b *testing.B) {
			m, key := mustMap(b, 4), []byte(topic)
			var sum shard.ID
			b.SetBytes(int64(len(key)))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				sum += m.Of(key)
				n++
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
