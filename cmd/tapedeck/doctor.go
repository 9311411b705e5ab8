package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/shard"
)

// check is one thing that doctor looks at.
type check struct {
	Name   string `json:"name"`
	State  string `json:"state"` // "ok", "warn" or "fail"
	Value  string `json:"value"`
	Advice string `json:"advice,omitempty"`
}

func newDoctor() *cobra.Command {
	var (
		shards int
		pin    string
	)
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check libzmq, CPUs, limits and the clock, and show where threads would run",
		Long: `Look at everything on this machine that decides how well Tapedeck runs, and say
what to change. The exit code is 1 when something will not work.`,
		Example: example("tapedeck doctor", "tapedeck doctor --shards 4 --pin 2-9"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := pinSet(pin)
			if err != nil {
				return err
			}
			return doctor(newOutput(cmd), shards, set)
		},
	}
	cmd.Flags().IntVar(&shards, "shards", 2, "shards to show the placement for")
	cmd.Flags().StringVar(&pin, "pin", "auto", `CPUs to place threads on: "auto", "off", or a set such as "2-5"`)
	return cmd
}

func doctor(out *output, shards int, set shard.CPUSet) error {
	if shards < 1 {
		return usagef("--shards %d: want 1 or more", shards)
	}
	checks := []check{checkLibzmq(), checkFeatures(), checkCPUs(), checkPinning(), checkTimerWake()}
	checks = append(checks, checkBuffers()...)
	checks = append(checks, checkFiles(), checkClock(), checkClockSource())
	failed := 0
	for _, c := range checks {
		if c.State == "fail" {
			failed++
		}
		text := fmt.Sprintf("%-4s  %-16s %s", c.State, c.Name, c.Value)
		if c.Advice != "" {
			text += "\n      " + strings.Repeat(" ", 17) + c.Advice
		}
		if err := out.message("doctor.check", c, text); err != nil {
			return err
		}
	}
	for i, p := range shard.Plan(shards, set) {
		err := out.message("doctor.placement", struct {
			Shard      int `json:"shard"`
			IOCPU      int `json:"io_cpu"`
			ReceiveCPU int `json:"receive_cpu"`
		}{i, cpuNumber(p.IO), cpuNumber(p.Receive)},
			fmt.Sprintf("plan  shard %-10d I/O thread on CPU %v, loop on CPU %v", i, p.IO, p.Receive))
		if err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d checks failed", failed)
	}
	return nil
}

func checkLibzmq() check {
	c := check{Name: "libzmq", State: "ok", Value: zsock.Version()}
	var major, minor, patch int
	fmt.Sscanf(c.Value, "%d.%d.%d", &major, &minor, &patch)
	if major < 4 || major == 4 && (minor < 3 || minor == 3 && patch < 3) {
		c.State, c.Advice = "fail", "4.3.3 or newer is needed: older ones lose messages in lossless mode and have known holes"
	}
	return c
}

func checkFeatures() check {
	c := check{Name: "libzmq features", State: "ok"}
	var have, lack []string
	for _, f := range []string{"ipc", "curve", "pgm", "norm"} {
		if zsock.Has(f) {
			have = append(have, f)
		} else {
			lack = append(lack, f)
		}
	}
	c.Value = strings.Join(have, " ")
	if len(lack) > 0 {
		c.Value += " (without " + strings.Join(lack, ", ") + ")"
	}
	return c
}

func checkCPUs() check {
	c := check{Name: "CPUs", State: "ok"}
	set, err := allowedCPUs()
	if err != nil {
		return check{Name: "CPUs", State: "fail", Value: err.Error()}
	}
	c.Value = fmt.Sprintf("%d allowed (%v) of %d", set.Len(), set, runtime.NumCPU())
	if set.Len() < 2 {
		c.State, c.Advice = "warn", "publisher, I/O threads and subscriber share one CPU"
	}
	return c
}

func checkPinning() check {
	c := check{Name: "pinning", State: "ok", Value: "threads can be pinned"}
	set, err := allowedCPUs()
	if err == nil && set.Len() > 0 {
		var unpin func()
		if unpin, err = zsock.PinThread(int(set.List()[0])); err == nil {
			unpin()
			return c
		}
	}
	return check{Name: "pinning", State: "warn", Value: fmt.Sprint("not possible: ", err), Advice: "run without --pin"}
}

// checkTimerWake measures how late a sleeping thread comes back: what pacing has
// to cover by spinning.
func checkTimerWake() check {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	const rounds = 50
	var worst, total time.Duration
	for range rounds {
		start, ts := time.Now(), unix.NsecToTimespec(int64(200*time.Microsecond))
		_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil)
		late := time.Since(start) - 200*time.Microsecond
		total, worst = total+late, max(worst, late)
	}
	c := check{Name: "timer wake-up", State: "ok", Value: fmt.Sprintf("%v late on average, %v at worst", (total / rounds).Round(time.Microsecond), worst.Round(time.Microsecond))}
	if total/rounds > time.Millisecond {
		c.State, c.Advice = "warn", "paced replay will be coarse on this machine"
	}
	return c
}

func checkBuffers() []check {
	var checks []check
	for _, dir := range []struct{ name, path string }{
		{"receive buffer", "/proc/sys/net/core/rmem_max"}, {"send buffer", "/proc/sys/net/core/wmem_max"},
	} {
		c := check{Name: dir.name, State: "ok"}
		var n uint64
		if b, err := os.ReadFile(dir.path); err != nil {
			c.State, c.Value = "warn", "limit cannot be read"
		} else if fmt.Sscan(string(b), &n); n < 1<<20 {
			c.State, c.Value = "warn", size(n)+" at most"
			c.Advice = "for bursts over a network raise it: sysctl -w net.core." + dir.path[len("/proc/sys/net/core/"):] + "=16777216"
		} else {
			c.Value = size(n) + " at most"
		}
		checks = append(checks, c)
	}
	return checks
}

func checkFiles() check {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return check{Name: "open files", State: "warn", Value: err.Error()}
	}
	c := check{Name: "open files", State: "ok", Value: fmt.Sprintf("%d at most", lim.Cur)}
	if lim.Cur < 1024 {
		c.State, c.Advice = "warn", "raise it for many subscribers: ulimit -n 65536"
	}
	return c
}

// checkClock looks whether the wall clock is disciplined: lag across machines is
// the difference of two wall clocks.
func checkClock() check {
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	const unsynchronised = 5 // TIME_ERROR, adjtimex(2)
	switch {
	case err != nil:
		return check{Name: "wall clock", State: "warn", Value: "state cannot be read: " + err.Error()}
	case state == unsynchronised:
		return check{Name: "wall clock", State: "warn", Value: "not synchronised", Advice: "lag between machines will include their clock difference: run NTP or PTP"}
	}
	return check{Name: "wall clock", State: "ok", Value: fmt.Sprintf("synchronised, estimated error %v", time.Duration(tx.Esterror)*time.Microsecond)}
}

func checkClockSource() check {
	b, err := os.ReadFile("/sys/devices/system/clocksource/clocksource0/current_clocksource")
	name := strings.TrimSpace(string(b))
	const rounds = 10000
	start := time.Now()
	now := start
	for range rounds {
		now = time.Now()
	}
	each := now.Sub(start) / rounds
	c := check{Name: "clock source", State: "ok", Value: fmt.Sprintf("%s, %v a reading", name, each)}
	if err != nil {
		c.Value = fmt.Sprintf("unknown, %v a reading", each)
	}
	if each > time.Microsecond {
		c.State, c.Advice = "warn", "reading the clock is slow: a virtual machine without a fast clock source"
	}
	return c
}
