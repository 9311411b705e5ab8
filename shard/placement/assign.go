package placement

import (
	"fmt"

	"github.com/tapedeck/tapedeck/shard"
)

// assigner chooses CPUs for hot threads, one after the other.
type assigner struct {
	m       *Machine
	usable  shard.CPUSet // to choose from
	threads map[shard.CPU]int
	io      map[shard.CPU]int // of those, I/O threads
	core    map[shard.CPU]int // threads by core
	tight   bool              // there are fewer cores than threads of shards to place
}

func newAssigner(m *Machine) *assigner {
	return &assigner{m: m, usable: m.usable(), threads: map[shard.CPU]int{}, io: map[shard.CPU]int{}, core: map[shard.CPU]int{}}
}

// refuses says why a CPU cannot be used, or "".
func (a *assigner) refuses(cpu shard.CPU) string {
	online := a.m.Topology.Online()
	switch {
	case online.Len() > 0 && !online.Contains(cpu):
		return fmt.Sprintf("is not on this machine, which has %v", online)
	case !a.m.Allowed.Contains(cpu):
		return fmt.Sprintf("is not among those this process may use (%v)", a.m.Allowed)
	}
	return ""
}

func (a *assigner) use(cpu shard.CPU, io bool) {
	a.threads[cpu]++
	if io {
		a.io[cpu]++
	}
	a.core[a.cpu(cpu).Core]++
}

// cpu returns what is known of a CPU; where nothing is, it is a core for itself.
func (a *assigner) cpu(n shard.CPU) CPU {
	if c, ok := a.m.Topology.of(n); ok {
		return c
	}
	return CPU{Number: n, Core: n}
}

// score orders the choices for a thread: the one with the lowest numbers, the
// first number first, is the best.
type score [8]int

func (s score) less(o score) bool {
	for i := range s {
		if s[i] != o[i] {
			return s[i] < o[i]
		}
	}
	return false
}

// pick chooses the CPU of a thread of a shard whose other thread is on partner, or
// nowhere yet. The two never share a CPU.
func (a *assigner) pick(partner shard.CPU, io bool) shard.CPU {
	best, lowest := shard.NoCPU, score{}
	for _, n := range a.usable.List() {
		if n == partner {
			continue
		}
		if s := a.score(a.cpu(n), partner, io); best == shard.NoCPU || s.less(lowest) {
			best, lowest = n, s
		}
	}
	if best != shard.NoCPU {
		a.use(best, io)
	}
	return best
}

// pickFree chooses a CPU that has no thread, near another, or none.
func (a *assigner) pickFree(near shard.CPU) shard.CPU {
	free := false
	for _, n := range a.usable.List() {
		free = free || a.threads[n] == 0
	}
	if !free || a.usable.Len() < 2 {
		return shard.NoCPU
	}
	return a.pick(near, false)
}

// score says how bad a CPU is for a thread of a shard. Threads that are on it
// already count most, I/O threads before all.
func (a *assigner) score(c CPU, partner shard.CPU, io bool) score {
	s := score{0: a.threads[c.Number]}
	if io {
		s[1] = a.io[c.Number]
	}
	if partner == shard.NoCPU {
		a.scoreFirst(&s, c)
	} else {
		a.scoreSecond(&s, c, a.cpu(partner))
	}
	return s
}

// scoreFirst is for the first thread of a shard: where the second fits beside it,
// on a core without other threads, isolated if there is such a core. Last comes
// the core of CPU 0, where interrupts and everybody else tend to be.
func (a *assigner) scoreFirst(s *score, c CPU) {
	node, cache, sibling := a.beside(c)
	fits := node
	if a.tight {
		fits = sibling
	}
	s[2], s[3], s[4] = truth(!fits), truth(a.core[c.Core] > 0), truth(!c.Isolated)
	s[5], s[6], s[7] = truth(c.Core == 0), truth(!cache), int(c.Number)
}

// scoreSecond is for the second: on the node of the first, on a core without other
// threads, or where there are too few of them on the first one's own core, and
// behind the same cache.
func (a *assigner) scoreSecond(s *score, c, first CPU) {
	taken := a.core[c.Core] > 0
	if a.tight {
		taken = c.Core != first.Core
	}
	s[2], s[3], s[4] = truth(c.Node != first.Node), truth(taken), truth(c.Cache != first.Cache)
	s[5], s[6], s[7] = truth(!c.Isolated), truth(c.Core == 0), distance(c.Core, first.Core)
}

// beside says what there is beside a CPU: another core without a thread on its
// node; one behind its cache, other than the core of CPU 0; a sibling without a
// thread.
func (a *assigner) beside(c CPU) (node, cache, sibling bool) {
	for _, n := range a.usable.List() {
		o := a.cpu(n)
		switch {
		case n == c.Number || a.threads[n] > 0 || o.Node != c.Node:
		case o.Core == c.Core:
			sibling = true
		case a.core[o.Core] == 0:
			node, cache = true, cache || o.Cache == c.Cache && o.Core != 0
		}
	}
	return node, cache, sibling
}

// cores is the number of cores that have no thread.
func (a *assigner) cores() int {
	free := map[shard.CPU]bool{}
	for _, n := range a.usable.List() {
		if core := a.cpu(n).Core; a.core[core] == 0 {
			free[core] = true
		}
	}
	return len(free)
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

func distance(a, b shard.CPU) int { return max(int(a-b), int(b-a)) }
