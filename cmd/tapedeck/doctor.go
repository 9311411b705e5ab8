package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// check is one thing that doctor looks at.
type check struct {
	Name   string `json:"name"`
	State  string `json:"state"` // "ok", "warn" or "fail"
	Value  string `json:"value"`
	Advice string `json:"advice,omitempty"`
}

func newDoctor() *cobra.Command {
	var f streamFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check libzmq, CPUs, limits and the clock, and show where threads would run",
		Long: `Look at everything on this machine that decides how well Tapedeck runs, and say
what to change: libzmq, CPUs, limits, clocks, and a placement, that of --placement
or one that is made for --shards. A placement that would abort libzmq, or that this
machine cannot do, is refused with all of its reasons.

The exit code is 1 when something will not work.`,
		Example: example("tapedeck doctor", "tapedeck doctor --shards 4 --workers 4 --pin 2-13", "tapedeck doctor --placement box.toml --json"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return doctor(newOutput(cmd), &f) },
	}
	f.add(cmd, "connect", "shards to show the placement for")
	f.workers.add(cmd)
	f.anyRole = true
	for flag, value := range map[string]string{"shards": "2", "pin": "auto"} {
		fl := cmd.Flags().Lookup(flag)
		_ = fl.Value.Set(value) // both are values of the flag
		fl.DefValue = value
	}
	return cmd
}

func doctor(out *output, f *streamFlags) error {
	plan, refused := f.place()
	if errors.As(refused, new(usageError)) {
		return refused
	}
	checks := []check{checkLibzmq(), checkFeatures(), checkCPUs(), checkTopology(), checkQuota(), checkPinning(), checkTimerWake()}
	checks = append(checks, checkBuffers()...)
	checks = append(checks, checkFiles(), checkClock(), checkClockSource())
	checks = append(checks, checkPlacement(plan, refused)...)
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
	if plan != nil {
		if err := showPlan(out, plan); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%s failed", count(uint64(failed), "check"))
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
