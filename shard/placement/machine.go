package placement

import (
	"slices"

	"github.com/tapedeck/tapedeck/shard"
)

// Machine is what a plan is made for.
type Machine struct {
	Topology   Topology
	Allowed    shard.CPUSet // what this process may use
	Interfaces []Interface
	OpenFiles  uint64   // how many the process may have; 0: not known
	Lacks      []string // transports that this libzmq was built without, such as "epgm"
}

// Interface is a network interface of a machine, with its addresses.
type Interface struct {
	Name      string
	Addresses []string
	Down      bool
}

// usable is the set of CPUs that are allowed and online.
func (m *Machine) usable() shard.CPUSet {
	online := m.Topology.Online()
	if online.Len() == 0 {
		return m.Allowed // nothing is known of the machine
	}
	return m.Allowed.Intersect(online)
}

// source returns the interface that a name or an address stands for.
func (m *Machine) source(s string) (Interface, bool) {
	i := slices.IndexFunc(m.Interfaces, func(f Interface) bool {
		return f.Name == s || slices.Contains(f.Addresses, s)
	})
	if i < 0 {
		return Interface{}, false
	}
	return m.Interfaces[i], true
}
