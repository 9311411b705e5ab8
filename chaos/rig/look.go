package rig

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Look is what a process takes.
type Look struct {
	Resident   int64 // memory, bytes
	Files      int   // descriptors
	Threads    int
	Goroutines int   // 0 where it shows no metrics
	Heap       int64 // of Go, in use, bytes; 0 where it shows no metrics
}

func (l Look) String() string {
	return fmt.Sprintf("%.1f MiB (Go's heap %.1f), %d descriptors, %d threads, %d goroutines",
		float64(l.Resident)/(1<<20), float64(l.Heap)/(1<<20), l.Files, l.Threads, l.Goroutines)
}

// Look looks at the process. metrics is where it shows them; "": nowhere.
func (p *Process) Look(metrics string) Look {
	p.t.Helper()
	var l Look
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		p.t.Fatalf("%s: %v\n%s", p.name, err, p.Stderr())
	}
	for line := range strings.Lines(string(status)) {
		field, value, _ := strings.Cut(line, ":")
		n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch field {
		case "VmRSS":
			l.Resident = n << 10
		case "Threads":
			l.Threads = int(n)
		}
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID()))
	if err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	l.Files = len(files)
	if metrics != "" {
		m := p.Metrics(metrics)
		l.Goroutines, l.Heap = int(m["go_goroutines"]), int64(m["go_memstats_heap_inuse_bytes"])
	}
	return l
}

// Metrics asks for the process's metrics and returns them by name with labels, as they
// are written: name{label="value"}.
func (p *Process) Metrics(address string) map[string]float64 {
	p.t.Helper()
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + address + "/metrics")
	if err != nil {
		p.t.Fatalf("%s: %v\n%s", p.name, err, p.Stderr())
	}
	defer answer.Body.Close()
	values := map[string]float64{}
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		i := strings.LastIndexByte(lines.Text(), ' ')
		if i < 0 || strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		if v, err := strconv.ParseFloat(lines.Text()[i+1:], 64); err == nil {
			values[lines.Text()[:i]] = v
		}
	}
	return values
}

// Sum adds up a metric over all labels.
func Sum(metrics map[string]float64, name string) float64 {
	sum := 0.0
	for key, v := range metrics {
		if base, _, _ := strings.Cut(key, "{"); base == name {
			sum += v
		}
	}
	return sum
}

// Ports below those that systems give out by themselves, so that nobody gets one
// between FreePorts and its use by chance.
const (
	portsFrom = 10_000
	portsTo   = 30_000
)

// FreePorts finds count ports of this machine in a row that nobody has, and returns the
// first.
func FreePorts(t testing.TB, count int) int {
	t.Helper()
	for range 1000 {
		if first := portsFrom + rand.IntN(portsTo-portsFrom); portsFree(first, count) {
			return first
		}
	}
	t.Fatalf("no %d free ports in a row", count)
	return 0
}

func portsFree(first, count int) bool {
	for i := range count {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+i))
		if err != nil {
			return false
		}
		defer l.Close()
	}
	return true
}
