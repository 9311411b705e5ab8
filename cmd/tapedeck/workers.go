package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/subscriber"
)

// workersFlags are the flags for workers behind the receive loops.
type workersFlags struct {
	added    bool
	count    int
	dispatch string
}

func (f *workersFlags) add(cmd *cobra.Command) {
	f.added = true
	cmd.Flags().IntVar(&f.count, "workers", 0, "workers behind the receive loops, each attached to every shard (0: the loops do the work)")
	cmd.Flags().StringVar(&f.dispatch, "dispatch", "", `which worker gets what: "by-topic", so that a topic's order is kept (the default), or "any"`)
	_ = cmd.RegisterFlagCompletionFunc("dispatch", cobra.FixedCompletions([]string{"by-topic", "any"}, cobra.ShellCompDirectiveNoFileComp))
}

// expectFlags are the flags that size a subscriber's queues.
type expectFlags struct {
	rate  float64
	size  int
	stall time.Duration
}

func (f *expectFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.Float64Var(&f.rate, "expect-rate", 0, "records a second over all shards in the busiest second: sizes the receive queues (0: 64 MiB a shard)")
	fl.IntVar(&f.size, "expect-size", 100, "mean bytes of a body, with --expect-rate")
	fl.DurationVar(&f.stall, "expect-stall", time.Second, "how long this reader may be held up, with --expect-rate")
}

// apply sizes the queues of cfg, which has its endpoints.
func (f *expectFlags) apply(cfg *subscriber.Config) error {
	switch {
	case f.rate < 0 || f.rate != f.rate:
		return usagef("--expect-rate %v: want 0 or more", f.rate)
	case f.size <= 0:
		return usagef("--expect-size %d: want 1 or more", f.size)
	case f.stall <= 0:
		return usagef("--expect-stall %v: want a time above 0", f.stall)
	case f.rate > 0:
		e := subscriber.Expect{RecordsPerSecond: f.rate, BodyBytes: f.size, Stall: f.stall}
		cfg.QueueBytes, cfg.BatchBytes = e.Queue(len(cfg.Endpoints))
	}
	return nil
}

// topicPrefixes returns the prefixes of a --topics flag. @FILE stands for those in
// a file, one a line; blank lines and those that begin with # are skipped.
func topicPrefixes(list []string) ([]string, error) {
	var prefixes []string
	for _, p := range list {
		name, isFile := strings.CutPrefix(p, "@")
		if !isFile {
			prefixes = append(prefixes, p)
			continue
		}
		n := len(prefixes)
		var err error
		if prefixes, err = appendPrefixes(prefixes, name); err != nil {
			return nil, usagef("--topics: %v", err)
		}
		if len(prefixes) == n {
			return nil, usagef("--topics %s: no topics in the file", p)
		}
	}
	return prefixes, nil
}

func appendPrefixes(prefixes []string, name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		p := strings.TrimSpace(lines.Text())
		if p != "" && !strings.HasPrefix(p, "#") {
			prefixes = append(prefixes, p)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return prefixes, nil
}
