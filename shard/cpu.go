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
