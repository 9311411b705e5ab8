package main

import (
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/shard"
	"github.com/tapedeck/tapedeck/shard/placement"
)

// thisMachine is what a placement is planned for. What cannot be found out about
// it is left plain: a plan then is coarser, not wrong.
func thisMachine() (*placement.Machine, error) {
	m := &placement.Machine{}
	var err error
	if m.Allowed, err = allowedCPUs(); err != nil {
		return nil, err
	}
	m.Topology, _ = placement.ReadTopology(os.DirFS("/"))
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) == nil {
		m.OpenFiles = lim.Cur
	}
	if !zsock.Has("pgm") {
		m.Lacks = append(m.Lacks, "epgm", "pgm")
	}
	if !zsock.Has("ipc") {
		m.Lacks = append(m.Lacks, "ipc")
	}
	m.Interfaces, err = interfaces()
	return m, err
}

func interfaces() ([]placement.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var list []placement.Interface
	for _, f := range all {
		i := placement.Interface{Name: f.Name, Down: f.Flags&net.FlagUp == 0}
		addresses, err := f.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok {
				i.Addresses = append(i.Addresses, n.IP.String())
			}
		}
		list = append(list, i)
	}
	return list, nil
}

// allowedCPUs is the set of CPUs that this process may use.
func allowedCPUs() (shard.CPUSet, error) {
	var (
		set  shard.CPUSet
		mask unix.CPUSet
	)
	if err := unix.SchedGetaffinity(0, &mask); err != nil {
		return set, err
	}
	for i := range shard.CPUMax {
		if mask.IsSet(i) {
			set.Add(shard.CPU(i))
		}
	}
	if group, ok := placement.CgroupCPUs(os.DirFS("/")); ok && set.Intersect(group).Len() > 0 {
		set = set.Intersect(group)
	}
	return set, nil
}
