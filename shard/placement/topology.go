package placement

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/shard"
)

// CPU is one CPU of a machine, a hardware thread.
type CPU struct {
	Number   shard.CPU
	Core     shard.CPU // lowest CPU of its core: equal for the siblings of a core
	Cache    shard.CPU // lowest CPU of those that share its last-level cache
	Node     int       // NUMA node
	Isolated bool      // the scheduler puts nothing here by itself
}

// Topology is the CPUs of a machine that are online, ascending.
type Topology struct {
	CPUs []CPU
}

const (
	cpuDir  = "sys/devices/system/cpu"
	nodeDir = "sys/devices/system/node"
)

// ReadTopology reads a machine's CPUs as Linux shows them below
// /sys/devices/system, see Documentation/admin-guide/cputopology.rst and
// Documentation/ABI/stable/sysfs-devices-node there; fsys is the root folder.
// What a kernel or a container does not show is taken to be plain: a core has one
// CPU, the machine one node, and a node one cache.
func ReadTopology(fsys fs.FS) (Topology, error) {
	online, err := readCPUs(fsys, path.Join(cpuDir, "online"))
	if err != nil {
		return Topology{}, fmt.Errorf("placement: the machine's CPUs: %w", err)
	}
	isolated, err := readCPUs(fsys, path.Join(cpuDir, "isolated"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Topology{}, fmt.Errorf("placement: isolated CPUs: %w", err)
	}
	nodes, err := readNodes(fsys)
	if err != nil {
		return Topology{}, err
	}
	var t Topology
	for _, n := range online.List() {
		c := CPU{Number: n, Core: n, Node: nodes[n], Isolated: isolated.Contains(n)}
		dir := path.Join(cpuDir, "cpu"+n.String())
		if c.Core, err = lowest(fsys, path.Join(dir, "topology/thread_siblings_list"), online, n); err != nil {
			return Topology{}, err
		}
		first := firstOfNode(nodes, online, c.Node)
		if c.Cache, err = lowest(fsys, path.Join(dir, "cache/index3/shared_cpu_list"), online, first); err != nil {
			return Topology{}, err
		}
		t.CPUs = append(t.CPUs, c)
	}
	return t, nil
}

// Online is the set of all CPUs.
func (t *Topology) Online() shard.CPUSet {
	var set shard.CPUSet
	for _, c := range t.CPUs {
		set.Add(c.Number)
	}
	return set
}

// Isolated is the set of CPUs that the scheduler leaves alone.
func (t *Topology) Isolated() shard.CPUSet {
	var set shard.CPUSet
	for _, c := range t.CPUs {
		if c.Isolated {
			set.Add(c.Number)
		}
	}
	return set
}

// Cores and Nodes are how many there are.
func (t *Topology) Cores() int { return t.count(func(c CPU) int { return int(c.Core) }) }

// Nodes is the number of NUMA nodes that have a CPU.
func (t *Topology) Nodes() int { return t.count(func(c CPU) int { return c.Node }) }

func (t *Topology) count(key func(CPU) int) int {
	seen := map[int]bool{}
	for _, c := range t.CPUs {
		seen[key(c)] = true
	}
	return len(seen)
}

// of returns a CPU by its number.
func (t *Topology) of(n shard.CPU) (CPU, bool) {
	i, ok := slices.BinarySearchFunc(t.CPUs, n, func(c CPU, n shard.CPU) int { return cmp.Compare(c.Number, n) })
	if !ok {
		return CPU{}, false
	}
	return t.CPUs[i], true
}

// readNodes returns the node of each CPU; a CPU without one is on node 0.
func readNodes(fsys fs.FS) (map[shard.CPU]int, error) {
	nodes := map[shard.CPU]int{}
	entries, err := fs.ReadDir(fsys, nodeDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("placement: NUMA nodes: %w", err)
	}
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), "node")
		n, err := strconv.Atoi(number)
		if !ok || err != nil {
			continue
		}
		set, err := readCPUs(fsys, path.Join(nodeDir, e.Name(), "cpulist"))
		if err != nil {
			return nil, fmt.Errorf("placement: NUMA node %d: %w", n, err)
		}
		for _, c := range set.List() {
			nodes[c] = n
		}
	}
	return nodes, nil
}

func firstOfNode(nodes map[shard.CPU]int, online shard.CPUSet, node int) shard.CPU {
	for _, c := range online.List() {
		if nodes[c] == node {
			return c
		}
	}
	return 0
}

// lowest returns the lowest CPU online that a list names, or otherwise where there
// is no list.
func lowest(fsys fs.FS, name string, online shard.CPUSet, otherwise shard.CPU) (shard.CPU, error) {
	set, err := readCPUs(fsys, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return otherwise, nil
	case err != nil:
		return 0, fmt.Errorf("placement: %w", err)
	}
	if list := set.Intersect(online).List(); len(list) > 0 {
		return list[0], nil
	}
	return otherwise, nil
}

// readCPUs reads a list of CPUs from a file. An empty file is an empty set: that
// is how Linux writes it.
func readCPUs(fsys fs.FS, name string) (shard.CPUSet, error) {
	b, err := fs.ReadFile(fsys, name)
	if err != nil {
		return shard.CPUSet{}, err
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return shard.CPUSet{}, nil
	}
	set, err := shard.ParseCPUs(text)
	if err != nil {
		return set, fmt.Errorf("%s: %w", name, err)
	}
	return set, nil
}
