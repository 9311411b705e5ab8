package shard

import (
	"fmt"
	"strconv"
)

// CPU is the number of a CPU as the operating system counts them, or NoCPU.
type CPU int

// NoCPU stands where a thread is not pinned.
const NoCPU CPU = -1

// String returns the number, or "none".
func (c CPU) String() string {
	if c < 0 {
		return "none"
	}
	return strconv.Itoa(int(c))
}

// Placement says on which CPUs the two hot threads of one shard run. Both are
// NoCPU where the shard is not pinned.
type Placement struct {
	IO      CPU // the I/O thread of the shard's ZeroMQ context
	Receive CPU // the thread that sends or receives and walks the records
}

// String returns the placement for a log line or a table.
func (p Placement) String() string {
	if p.IO == NoCPU && p.Receive == NoCPU {
		return "none"
	}
	return fmt.Sprintf("io %s, receive %s", p.IO, p.Receive)
}

// Plan places the threads of n shards on the allowed CPUs and never on others.
// It is round robin in ascending order: with 2n CPUs or more every thread has
// its own; with fewer they are shared evenly. The two threads of a shard, which
// work at the same time, never share one.
//
// An empty set turns pinning off. A set of one CPU does too: pinning there
// gains nothing and would keep the threads on it if the set grew.
//
// Plan knows nothing of cores, sockets or NUMA nodes. Whoever does narrows the
// set. It returns nil where n is below 1.
func Plan(n int, allowed CPUSet) []Placement {
	if n < 1 {
		return nil
	}
	cpus := allowed.List()
	plan := make([]Placement, n)
	for i := range plan {
		if len(cpus) < 2 {
			plan[i] = Placement{IO: NoCPU, Receive: NoCPU}
			continue
		}
		plan[i] = Placement{IO: slot(cpus, 2*i), Receive: slot(cpus, 2*i+1)}
	}
	return plan
}

// slot returns the CPU of thread k. When the number of CPUs is even, each further
// round starts one CPU later; otherwise all I/O threads would meet on the CPUs of
// even place. An odd number of CPUs alternates by itself.
func slot(cpus []CPU, k int) CPU {
	round := 0
	if len(cpus)%2 == 0 {
		round = k / len(cpus)
	}
	return cpus[(k+round)%len(cpus)]
}
