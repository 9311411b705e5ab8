package bench

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// Machine is where a report was made.
type Machine struct {
	CPU      string `json:"cpu"`
	CPUs     int    `json:"cpus"`
	Memory   uint64 `json:"memory_bytes"`
	Kernel   string `json:"kernel"`
	Go       string `json:"go"`
	Libzmq   string `json:"libzmq"`
	Tapedeck string `json:"tapedeck"`
	Commit   string `json:"commit,omitempty"`
}

// thisMachine describes this machine and build; version is the program's.
func thisMachine(version string) Machine {
	m := Machine{
		CPU: cpuModel(), CPUs: runtime.NumCPU(), Go: runtime.Version(), Libzmq: zsock.Version(), Tapedeck: version,
	}
	var si unix.Sysinfo_t
	if unix.Sysinfo(&si) == nil {
		m.Memory = uint64(si.Totalram) * uint64(si.Unit)
	}
	var un unix.Utsname
	if unix.Uname(&un) == nil {
		m.Kernel = fmt.Sprintf("%s %s", unix.ByteSliceToString(un.Sysname[:]), unix.ByteSliceToString(un.Release[:]))
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				m.Commit = s.Value
			}
		}
	}
	return m
}

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, ok := strings.CutPrefix(s.Text(), "model name"); ok {
			return strings.TrimLeft(name, " \t:")
		}
	}
	return runtime.GOARCH
}
