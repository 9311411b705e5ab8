// Package faults decides what a bad network does to a stream's messages: which are
// lost, come twice, out of order, late or damaged. It only decides, and is pure: the
// same seed gives a message of the same shard, epoch and sequence the same fault,
// whatever the time, the machine and the readers. Whoever sends carries it out.
//
// A message has one fault at most, so what readers must miss can be counted.
package faults

import (
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// Kind is what happens to a message.
type Kind uint8

// The kinds of faults.
const (
	None    Kind = iota
	Drop         // it does not go out
	Corrupt      // one bit of its payload is another, so its checksum is wrong
	Dup          // it goes out twice
	Reorder      // it goes out behind the next message of the shard
	Delay        // it, and everything behind it, goes out later
)

var kindNames = [...]string{None: "none", Drop: "drop", Corrupt: "corrupt", Dup: "dup", Reorder: "reorder", Delay: "delay"}

// String returns the kind's name, as a Spec's text has it.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("fault %d", uint8(k))
}

// Spec is how often which faults occur. Rates are parts of one, such as 0.001 for one
// message in a thousand; together they are at most 1.
type Spec struct {
	Drop, Corrupt, Dup, Reorder, Delay float64

	DelayFor time.Duration // how much later; at least 1 ns where Delay is above 0
	Marks    bool          // marks are treated like batches: hellos, heartbeats, end marks, notices
	Seed     uint64        // another one gives other messages the faults
}

// DelayMax is the longest delay.
const DelayMax = time.Minute

// ErrSpec: a Spec, or its text, asks for what cannot be.
var ErrSpec = errors.New("faults")

func (s *Spec) rates() [5]float64 { return [5]float64{s.Drop, s.Corrupt, s.Dup, s.Reorder, s.Delay} }

func (s *Spec) check() error {
	sum := 0.0
	for i, rate := range s.rates() {
		if !(rate >= 0 && rate <= 1) { // not a number, too
			return fmt.Errorf("%w: %v=%v: want 0 to 1, or 0%% to 100%%", ErrSpec, Kind(i+1), rate)
		}
		sum += rate
	}
	switch {
	case sum > 1+1e-9:
		return fmt.Errorf("%w: the rates are %.4g%% together; a message has one fault at most", ErrSpec, 100*sum)
	case s.DelayFor < 0 || s.DelayFor > DelayMax:
		return fmt.Errorf("%w: a delay of %v: want up to %v", ErrSpec, s.DelayFor, DelayMax)
	case s.Delay > 0 && s.DelayFor == 0:
		return fmt.Errorf("%w: delay: how long? For example delay=0.5%%:20ms", ErrSpec)
	}
	return nil
}

// Plan is a Spec that was checked. It does not change, and any goroutine may use it.
type Plan struct {
	spec  Spec
	seed  uint64
	below [5]uint64 // of 53 random bits: below the first it is dropped, and so on
}

// New checks a Spec.
func New(spec Spec) (*Plan, error) {
	if err := spec.check(); err != nil {
		return nil, err
	}
	p := &Plan{spec: spec, seed: mix(spec.Seed + golden)}
	sum := 0.0
	for i, rate := range spec.rates() {
		sum += rate
		p.below[i] = uint64(min(sum, 1) * (1 << 53))
	}
	return p, nil
}

// Spec returns what the plan was made from.
func (p *Plan) Spec() Spec { return p.spec }

// Fault is what happens to one message.
type Fault struct {
	Kind Kind
	Bits uint64 // random: of a payload that is damaged, bit Bits mod its number of bits
}

// Batch decides about a batch by its shard, the number of its epoch, counted from 0 in
// the order in which the publisher began them, and its first sequence.
func (p *Plan) Batch(shard int, epoch uint64, first wire.Seq) Fault {
	return p.decide(mix(mix(mix(p.seed^uint64(shard))^epoch) ^ uint64(first)))
}

// Mark decides about a shard's n-th mark, counted from 0. Without Spec.Marks nothing
// happens to it. How many marks there are is a matter of time, unlike batches.
func (p *Plan) Mark(shard int, n uint64) Fault {
	if !p.spec.Marks {
		return Fault{}
	}
	return p.decide(mix(mix(^p.seed^uint64(shard)) ^ n))
}

func (p *Plan) decide(random uint64) Fault {
	n := random >> 11
	for i, below := range p.below {
		if n < below {
			return Fault{Kind: Kind(i + 1), Bits: mix(random + golden)}
		}
	}
	return Fault{}
}

// golden is 2^64 divided by the golden ratio, as in SplitMix64.
const golden = 0x9e3779b97f4a7c15

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom
// number generators, 2014): it is one to one, and each bit of its result depends on
// all bits of x.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Counts are the faults that were carried out.
type Counts struct {
	Dropped    uint64 `json:"dropped"` // messages, here and below
	Corrupted  uint64 `json:"corrupted"`
	Duplicated uint64 `json:"duplicated"`
	Reordered  uint64 `json:"reordered"`
	Delayed    uint64 `json:"delayed"`
	Marks      uint64 `json:"marks"` // of all kinds; they are not in the numbers above
	// Missing is how many records a reader that asks for nothing misses by that: those
	// of what was dropped and damaged, and those that came behind what follows them.
	Missing uint64 `json:"missing_records"`
	// Repeated is how many records come when a reader has them, or has given them up.
	Repeated uint64 `json:"repeated_records"`
}

// Add adds what others were.
func (c *Counts) Add(o *Counts) {
	c.Dropped += o.Dropped
	c.Corrupted += o.Corrupted
	c.Duplicated += o.Duplicated
	c.Reordered += o.Reordered
	c.Delayed += o.Delayed
	c.Marks += o.Marks
	c.Missing += o.Missing
	c.Repeated += o.Repeated
}

// Total is how many messages had a fault.
func (c *Counts) Total() uint64 {
	return c.Dropped + c.Corrupted + c.Duplicated + c.Reordered + c.Delayed + c.Marks
}
