package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/feed/publisher/faults"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/wire"
)

// stepFlags are the flags of a player in lock-step, and of one whose messages fare as
// on a bad network.
type stepFlags struct {
	barrier []string
	window  int
	timeout time.Duration
	faults  string
	flags   func(name string) bool // whether one was given

	plan *faults.Plan // once checked; nil: a good network
}

func (f *stepFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	f.flags = fl.Changed
	fl.StringSliceVar(&f.barrier, "barrier", nil, "play in lock-step: wait until the subscribers of these names (sub --lock-step --name) have handled what was played")
	fl.IntVar(&f.window, "barrier-window", 1, "with --barrier: records to play before waiting")
	fl.DurationVar(&f.timeout, "barrier-timeout", 0, "with --barrier: fail when one of them is waited for longer, such as 30s (0: wait for ever)")
	fl.StringVar(&f.faults, "faults", "", "treat messages as a bad network does, such as drop=0.1%,dup=0.05%,reorder=0.1%,delay=0.5%:20ms,corrupt=0.01%,seed=7; also marks")
}

// check checks what can be checked without a tape.
func (f *stepFlags) check(live bool) error {
	for i, name := range f.barrier {
		if name == "" || len(name) > wire.ReaderNameMax || slices.Contains(f.barrier[:i], name) {
			return usagef("--barrier %q: want each name once, of 1 to %d bytes", name, wire.ReaderNameMax)
		}
	}
	switch {
	case len(f.barrier) == 0 && (f.flags("barrier-window") || f.flags("barrier-timeout")):
		return usagef("--barrier-window and --barrier-timeout say nothing without --barrier")
	case len(f.barrier) > 0 && live:
		return withHint(usagef("--live with --barrier: in lock-step the subscribers that are named lose nothing, and all others may"), "leave --live out")
	case f.window < 1:
		return usagef("--barrier-window %d: want 1 or more", f.window)
	case f.timeout < 0:
		return usagef("--barrier-timeout %v: want a time above 0", f.timeout)
	case !f.flags("faults"):
		return nil
	}
	spec, err := faults.Parse(f.faults)
	if err == nil {
		f.plan, err = faults.New(spec)
	}
	if err != nil {
		return usagef("--faults: %s", strings.TrimPrefix(err.Error(), "faults: "))
	}
	return nil
}

// player puts a player in lock-step, where it shall be.
func (f *stepFlags) player(cfg *replay.Config) {
	if len(f.barrier) > 0 {
		cfg.Barrier = f.window
	}
}

// publisher makes a publisher wait for readers by name, and its network a bad one.
func (f *stepFlags) publisher(cfg *publisher.Config, out *output) {
	if cfg.Faults = f.plan; f.plan != nil {
		cfg.Session.ByReference = nil
	}
	if len(f.barrier) == 0 {
		return
	}
	cfg.Barrier, cfg.BarrierTimeout, cfg.Lossless, cfg.Session.Mode = f.barrier, f.timeout, false, "lock-step"
	cfg.Awaits = func(waited time.Duration, absent []publisher.Absent) {
		out.remark("waiting for %v for %s", waited.Round(time.Second), absentText(absent))
	}
}

// absentMax is how many readers are named in a line.
const absentMax = 4

func absentText(absent []publisher.Absent) string {
	var list []string
	for _, a := range absent[:min(len(absent), absentMax)] {
		list = append(list, "reader "+a.String())
	}
	if n := len(absent) - absentMax; n > 0 {
		list = append(list, fmt.Sprintf("and for %d more", n))
	}
	return strings.Join(list, "; ")
}

// faultsText says which faults were carried out.
func faultsText(c *faults.Counts) string {
	if c == nil {
		return ""
	}
	var list []string
	for _, one := range []struct {
		n    uint64
		what string
	}{
		{c.Dropped, "dropped"}, {c.Corrupted, "damaged"}, {c.Duplicated, "sent twice"},
		{c.Reordered, "out of order"}, {c.Delayed, "delayed"},
	} {
		if one.n > 0 {
			list = append(list, thousands(one.n)+" "+one.what)
		}
	}
	if len(list) == 0 {
		list = []string{"none"}
	}
	text := ", faults of messages: " + strings.Join(list, ", ")
	if c.Marks > 0 {
		text += fmt.Sprintf(", %s of marks", thousands(c.Marks))
	}
	return text + fmt.Sprintf(" (%s that readers must miss)", count(c.Missing, "record"))
}
