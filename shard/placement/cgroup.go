package placement

import (
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/shard"
)

const cgroupDir = "sys/fs/cgroup"

// CgroupCPUs returns the CPUs that this process's control group may use, see
// cgroups(7) and cpuset(7); fsys is the root folder. It reports false where no
// group says so. The affinity of a process is within it, but for the moment in
// which the group is changed.
func CgroupCPUs(fsys fs.FS) (shard.CPUSet, bool) {
	for _, g := range groups(fsys) {
		dir, file := path.Join(cgroupDir, g.path), "cpuset.cpus.effective"
		switch {
		case g.controllers == "": // version 2
		case hasController(g.controllers, "cpuset"):
			dir, file = path.Join(cgroupDir, "cpuset", g.path), "cpuset.effective_cpus"
		default:
			continue
		}
		// A group without the controller has its parent's; a container sees its
		// own group as the root, and has no path below it.
		for ; strings.HasPrefix(dir, cgroupDir); dir = path.Dir(dir) {
			if set, err := readCPUs(fsys, path.Join(dir, file)); err == nil && set.Len() > 0 {
				return set, true
			}
		}
	}
	return shard.CPUSet{}, false
}

// CgroupQuota returns how many CPUs' worth of time this process's control group
// may use, by version 2's cpu.max; the least of the groups above counts. It
// reports false where there is no limit.
func CgroupQuota(fsys fs.FS) (cpus float64, limited bool) {
	for _, g := range groups(fsys) {
		if g.controllers != "" {
			continue
		}
		for dir := path.Join(cgroupDir, g.path); strings.HasPrefix(dir, cgroupDir); dir = path.Dir(dir) {
			b, err := fs.ReadFile(fsys, path.Join(dir, "cpu.max"))
			if err != nil {
				continue
			}
			f := strings.Fields(string(b))
			if len(f) != 2 {
				continue
			}
			quota, err1 := strconv.ParseFloat(f[0], 64) // "max": no limit
			period, err2 := strconv.ParseFloat(f[1], 64)
			if err1 == nil && err2 == nil && period > 0 && (!limited || quota/period < cpus) {
				cpus, limited = quota/period, true
			}
		}
	}
	return cpus, limited
}

// group is one line of /proc/self/cgroup.
type group struct{ controllers, path string }

func groups(fsys fs.FS) []group {
	b, err := fs.ReadFile(fsys, "proc/self/cgroup")
	if err != nil {
		return nil
	}
	var list []group
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) == 3 {
			list = append(list, group{f[1], f[2]})
		}
	}
	return list
}

func hasController(list, name string) bool {
	for c := range strings.SplitSeq(list, ",") {
		if c == name {
			return true
		}
	}
	return false
}
