package bench

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuSeconds is the CPU time that a process has used so far. The clock is that of
// clock_getcpuclockid(3).
func cpuSeconds(pid int) (float64, error) {
	const schedClock = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &ts); err != nil {
		return 0, fmt.Errorf("bench: CPU time of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()).Seconds(), nil
}

// residentBytes is the resident set of a process, now.
func residentBytes(pid int) (uint64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("bench: memory of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(status)) {
		var kB uint64
		if n, err := fmt.Sscanf(line, "VmRSS: %d kB", &kB); n == 1 && err == nil {
			return kB << 10, nil
		}
	}
	return 0, fmt.Errorf("bench: memory of process %d is not in its status", pid)
}
