package replay

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func threadCPUs(t testing.TB) []int {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	var cpus []int
	for i := range 1024 {
		if set.IsSet(i) {
			cpus = append(cpus, i)
		}
	}
	return cpus
}

func cpusOfThread(t testing.TB) string { return fmt.Sprint(threadCPUs(t)) }

// firstCPU is one that this process may use.
func firstCPU(t testing.TB) int { return threadCPUs(t)[0] }
