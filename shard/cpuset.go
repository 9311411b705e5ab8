package shard

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// CPUMax is one more than the highest CPU number that a CPUSet holds. It is the
// size of Linux's cpu_set_t, see sched_setaffinity(2).
const CPUMax = 1024

// CPUSet is a set of CPU numbers from 0 to CPUMax-1. The zero value is the empty
// set. It is a value: == compares sets, and a copy is independent.
type CPUSet [CPUMax / 64]uint64

var errCPUsEmpty = errors.New(`shard: CPU list: empty; example: "0,2-5"`)

// ParseCPUs reads a list as Linux writes it in Cpus_allowed_list: numbers and
// ranges, separated by commas, such as "0,2-5". Naming a CPU twice is no error.
// The list must name at least one CPU.
func ParseCPUs(list string) (CPUSet, error) {
	var set CPUSet
	if strings.TrimSpace(list) == "" {
		return set, errCPUsEmpty
	}
	place := 0
	for item := range strings.SplitSeq(list, ",") {
		place++
		item = strings.TrimSpace(item)
		from, to, isRange := strings.Cut(item, "-")
		if !isRange {
			to = from
		}
		low, err := parseCPU(from)
		if err != nil {
			return CPUSet{}, cpusError(list, place, err)
		}
		high, err := parseCPU(to)
		if err != nil {
			return CPUSet{}, cpusError(list, place, err)
		}
		if high < low {
			return CPUSet{}, cpusError(list, place, fmt.Errorf("range %q runs backwards", item))
		}
		for cpu := low; cpu <= high; cpu++ {
			set.Add(cpu)
		}
	}
	return set, nil
}

func parseCPU(s string) (CPU, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	switch {
	case s == "":
		return 0, errors.New("number missing")
	case err != nil && strings.Trim(s, "0123456789") != "":
		return 0, fmt.Errorf("%q is not a number", s)
	case err != nil || n >= CPUMax:
		return 0, fmt.Errorf("CPU %s is above %d", s, CPUMax-1)
	}
	return CPU(n), nil
}

func cpusError(list string, place int, err error) error {
	return fmt.Errorf(`shard: CPU list %q: entry %d: %w; example: "0,2-5"`, list, place, err)
}

// Add puts cpu into the set. It panics on a number below 0 or not below CPUMax.
func (s *CPUSet) Add(cpu CPU) { s[cpu/64] |= 1 << (cpu % 64) }

// Contains reports whether cpu is in the set. Any number may be asked for.
func (s CPUSet) Contains(cpu CPU) bool {
	return cpu >= 0 && cpu < CPUMax && s[cpu/64]&(1<<(cpu%64)) != 0
}

// Len returns the number of CPUs in the set.
func (s CPUSet) Len() int {
	n := 0
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// List returns the CPUs of the set in ascending order.
func (s CPUSet) List() []CPU {
	list := make([]CPU, 0, s.Len())
	for i, word := range s {
		for ; word != 0; word &= word - 1 {
			list = append(list, CPU(i*64+bits.TrailingZeros64(word)))
		}
	}
	return list
}

// Intersect returns the CPUs that are in both sets.
func (s CPUSet) Intersect(o CPUSet) CPUSet {
	for i := range s {
		s[i] &= o[i]
	}
	return s
}

// Without returns the CPUs of s that are not in o.
func (s CPUSet) Without(o CPUSet) CPUSet {
	for i := range s {
		s[i] &^= o[i]
	}
	return s
}

// String writes the set as ParseCPUs reads it, ascending, with neighbours as
// a range, which is how Linux writes it too. The empty set is "".
func (s CPUSet) String() string {
	var b strings.Builder
	list := s.List()
	for i := 0; i < len(list); {
		last := i
		for last+1 < len(list) && list[last+1] == list[last]+1 {
			last++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(list[i].String())
		if last > i {
			b.WriteByte('-')
			b.WriteString(list[last].String())
		}
		i = last + 1
	}
	return b.String()
}
