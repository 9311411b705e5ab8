package shard_test

import (
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/shard"
)

func TestPlan(t *testing.T) {
	none := shard.Placement{IO: shard.NoCPU, Receive: shard.NoCPU}
	for _, c := range []struct {
		name, allowed string
		n             int
		want          []shard.Placement
	}{
		{"off", "", 2, []shard.Placement{none, none}},
		{"one CPU is useless", "3", 2, []shard.Placement{none, none}},
		{"enough", "0-3", 2, []shard.Placement{{0, 1}, {2, 3}}},
		{"holes", "1,4,70,80,90", 2, []shard.Placement{{1, 4}, {70, 80}}},
		{"two CPUs, one shard", "4-5", 1, []shard.Placement{{4, 5}}},
		{"two CPUs swap roles", "4-5", 3, []shard.Placement{{4, 5}, {5, 4}, {4, 5}}},
		{"three CPUs", "0-2", 3, []shard.Placement{{0, 1}, {2, 0}, {1, 2}}},
		{"four CPUs shift", "0-3", 4, []shard.Placement{{0, 1}, {2, 3}, {1, 2}, {3, 0}}},
		{"no shards", "0-3", 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := shard.Plan(c.n, cpus(t, c.allowed)); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// TestPlanRules checks what Plan promises for every small number of shards and
// CPUs: inside the set, a shard's two threads apart, threads shared evenly, and
// so are the I/O threads alone.
func TestPlanRules(t *testing.T) {
	for width := 2; width <= 9; width++ {
		var allowed shard.CPUSet
		for i := range width {
			allowed.Add(shard.CPU(3 + 5*i))
		}
		for n := 1; n <= 40; n++ {
			threads, io := map[shard.CPU]int{}, map[shard.CPU]int{}
			for s, p := range shard.Plan(n, allowed) {
				if !allowed.Contains(p.IO) || !allowed.Contains(p.Receive) {
					t.Fatalf("%d shards on %v: shard %d at %v is outside", n, allowed, s, p)
				}
				if p.IO == p.Receive {
					t.Fatalf("%d shards on %v: shard %d shares %v", n, allowed, s, p.IO)
				}
				threads[p.IO]++
				threads[p.Receive]++
				io[p.IO]++
			}
			if d := spread(threads, allowed); d > 1 {
				t.Errorf("%d shards on %v: CPUs differ by %d threads: %v", n, allowed, d, threads)
			}
			if d := spread(io, allowed); d > 1 {
				t.Errorf("%d shards on %v: CPUs differ by %d I/O threads: %v", n, allowed, d, io)
			}
		}
	}
}

func spread(count map[shard.CPU]int, allowed shard.CPUSet) int {
	low, high := 1<<30, 0
	for _, cpu := range allowed.List() {
		low, high = min(low, count[cpu]), max(high, count[cpu])
	}
	return high - low
}

func TestPlacementString(t *testing.T) {
	if got := (shard.Placement{IO: 2, Receive: 13}).String(); got != "io 2, receive 13" {
		t.Error(got)
	}
	if got := (shard.Placement{IO: shard.NoCPU, Receive: shard.NoCPU}).String(); got != "none" {
		t.Error(got)
	}
}
