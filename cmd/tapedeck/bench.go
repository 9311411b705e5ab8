package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/bench"
	"github.com/tapedeck/tapedeck/replay"
)

// benchFlags are the flags of every bench mode.
type benchFlags struct {
	runs int
	dir  string
	hgrm string
	html string
}

func newBench() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench MODE",
		Short: "Measure this machine with Tapedeck, and without it",
		Long: `Measure throughput, latency and pacing, each in the same run beside what the
machine does without Tapedeck, so that the ratios hold where the absolute figures
do not. The subscriber is a process of its own. docs/BENCH.md has the method.`,
		Example: example("tapedeck bench throughput", "tapedeck bench latency --json --hgrm latency", "tapedeck bench throughput --json > a.json; tapedeck bench diff a.json b.json"),
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withHint(usagef("which mode?"), "see tapedeck bench --help")
		},
	}
	fl := cmd.PersistentFlags()
	fl.IntVar(&f.runs, "runs", 3, "runs of each case; figures are their median")
	fl.StringVar(&f.dir, "dir", "", "folder for tapes (default: /dev/shm where it is, else the temporary folder)")
	fl.StringVar(&f.hgrm, "hgrm", "", "write each histogram to PREFIX-NAME.hgrm")
	fl.StringVar(&f.html, "html", "", "write the report with plots to this file")
	cmd.AddCommand(newBenchThroughput(&f), newBenchLatency(&f), newBenchPacing(&f), newBenchScale(&f), newBenchLocal(&f), newBenchSnail(&f), newBenchJoin(&f), newBenchResync(&f), newBenchSeek(&f), newBenchControl(&f), newBenchFailover(&f), newBenchDiff())
	return cmd
}

// newBenchWorker is what bench starts for the other end of a measurement.
func newBenchWorker() *cobra.Command {
	return &cobra.Command{
		Use:    bench.WorkerArg,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return bench.RunWorker(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

func newBenchThroughput(f *benchFlags) *cobra.Command {
	var cfg bench.ThroughputConfig
	cmd := &cobra.Command{
		Use:     "throughput",
		Short:   "Records a second to a subscriber in another process, beside bare TCP and bare libzmq",
		Example: example("tapedeck bench throughput --sources plain,zstd --shards 2", "tapedeck bench throughput --block-size 1048576 --size 40"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, func(ctx context.Context, env bench.Env) (*bench.Report, error) {
				return bench.Throughput(ctx, env, cfg)
			})
		},
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&cfg.Sources, "sources", nil, "memory, reference, plain, s2, zstd, columns (default: the first five)")
	fl.IntVar(&cfg.Shards, "shards", 0, "shards of tape and stream (default 1)")
	fl.IntVar(&cfg.Size, "size", 0, "bytes of a body (default 100)")
	fl.IntVar(&cfg.Topics, "topics", 0, "topics (default 1000)")
	fl.IntVar(&cfg.Block, "block-size", 0, "payload bytes of a block and batch (default 512 KiB)")
	fl.Uint64Var(&cfg.Records, "records", 0, "records on the tape, which is played over and over (default 1,000,000)")
	fl.Float64Var(&cfg.Seconds, "seconds", 0, "that a run takes, about (default 1.5)")
	return cmd
}

func newBenchLatency(f *benchFlags) *cobra.Command {
	var cfg bench.LatencyConfig
	cmd := &cobra.Command{
		Use:     "latency",
		Short:   "One-way latency from the intended send time, steady and in bursts, beside bare libzmq",
		Example: example("tapedeck bench latency --seconds 1 --runs 1", "tapedeck bench latency --rate 20000 --json --hgrm latency"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, func(ctx context.Context, env bench.Env) (*bench.Report, error) { return bench.Latency(ctx, env, cfg) })
		},
	}
	fl := cmd.Flags()
	fl.Float64Var(&cfg.Rate, "rate", 0, "records a second (default 100,000)")
	fl.IntVar(&cfg.Size, "size", 0, "bytes of a body (default 100)")
	fl.Uint64Var(&cfg.Burst, "burst", 0, "records at one instant, in the burst case (default 500)")
	fl.Float64Var(&cfg.Seconds, "seconds", 0, "that a run takes (default 3)")
	return cmd
}

func newBenchLocal(f *benchFlags) *cobra.Command {
	var cfg bench.LocalConfig
	cmd := &cobra.Command{
		Use:     "replay-local",
		Short:   "Records a second from a tape to code in the same process",
		Example: example("tapedeck bench replay-local --runs 1"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, func(ctx context.Context, env bench.Env) (*bench.Report, error) { return bench.Local(ctx, env, cfg) })
		},
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&cfg.Sources, "sources", nil, "codecs, or plain-unchecked (default plain, plain-unchecked, s2, zstd)")
	fl.IntVar(&cfg.Size, "size", 0, "bytes of a body (default 100)")
	return cmd
}

func newBenchPacing(f *benchFlags) *cobra.Command {
	var (
		cfg    bench.PacingConfig
		speeds []string
	)
	cmd := &cobra.Command{
		Use:     "pacing",
		Short:   "How late records leave at a pace, and how far the schedule is off after a day",
		Example: example("tapedeck bench pacing --speeds 1x,100x --tape es.tape"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, s := range speeds {
				speed, err := replay.ParseSpeed(s)
				if err != nil {
					return usageError{err}
				}
				cfg.Speeds = append(cfg.Speeds, speed)
			}
			if !cmd.Flags().Changed("runs") {
				f.runs = 2
			}
			return f.run(cmd, func(ctx context.Context, env bench.Env) (*bench.Report, error) { return bench.Pacing(ctx, env, cfg) })
		},
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&speeds, "speeds", nil, "(default 1x, 10x, 0.1x)")
	fl.StringVar(&cfg.Tape, "tape", "", "tape to play (default: a generated one with bursts)")
	fl.Float64Var(&cfg.Seconds, "seconds", 0, "that a run takes (default 3)")
	return cmd
}

func newBenchScale(f *benchFlags) *cobra.Command {
	var cfg bench.ScaleConfig
	cmd := &cobra.Command{
		Use:     "scale",
		Short:   "Throughput along shards, topics, subscribers and record size",
		Example: example("tapedeck bench scale --json"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("runs") {
				f.runs = 1
			}
			return f.run(cmd, func(ctx context.Context, env bench.Env) (*bench.Report, error) { return bench.Scale(ctx, env, cfg) })
		},
	}
	fl := cmd.Flags()
	fl.IntSliceVar(&cfg.Shards, "shards", nil, "numbers of shards (default 1, 2, 4)")
	fl.IntSliceVar(&cfg.Topics, "topics", nil, "numbers of topics (default 10, 1000, 100000)")
	fl.IntSliceVar(&cfg.Subscribers, "subscribers", nil, "numbers of subscribers (default 1, 2, 4)")
	fl.IntSliceVar(&cfg.Sizes, "sizes", nil, "bytes of a body (default 40, 100, 1000)")
	return cmd
}

func newBenchSnail(f *benchFlags) *cobra.Command {
	var cfg bench.SnailConfig
	cmd := &cobra.Command{
		Use:     "snail",
		Short:   "What a reader that stops reading does to the others, and how soon it is named",
		Example: example("tapedeck bench snail --runs 1"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, func(ctx context.Context, env bench.Env) (*bench.Report, error) { return bench.Snail(ctx, env, cfg) })
		},
	}
	fl := cmd.Flags()
	fl.IntVar(&cfg.Readers, "readers", 0, "of which one stops (default 20)")
	fl.Float64Var(&cfg.Rate, "rate", 0, "records a second (default 100,000)")
	fl.Float64Var(&cfg.Tick, "bursts", 0, "that the rate is sent in, a second (default 1000)")
	fl.IntVar(&cfg.Size, "size", 0, "bytes of a body (default 100)")
	fl.Float64Var(&cfg.Seconds, "seconds", 0, "that each half of a run takes (default 3)")
	return cmd
}

func newBenchDiff() *cobra.Command {
	return &cobra.Command{
		Use:   "diff A.json B.json",
		Short: "Compare two reports: does B differ from A, and with what confidence",
		Long: `Compare two reports that --json printed, case by case and metric by metric, with
a Mann-Whitney U test over their runs. Four runs of each are the least that can
tell a difference; ten are better: --runs 10.`,
		Example: example("tapedeck bench throughput --runs 10 --json > a.json", "tapedeck bench diff a.json b.json"),
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer a.Close()
			b, err := os.Open(args[1])
			if err != nil {
				return err
			}
			defer b.Close()
			diffs, err := bench.Diff(a, b)
			if err != nil {
				return err
			}
			return printDiff(newOutput(cmd), diffs)
		},
	}
}

func printDiff(out *output, diffs []bench.Difference) error {
	last := ""
	for _, d := range diffs {
		if d.Case != last && !out.json {
			if err := out.message("", nil, d.Case); err != nil {
				return err
			}
			last = d.Case
		}
		text := fmt.Sprintf("  %-30s %16s %16s  x%.3f  p=%.3f  %s", d.Metric, number(d.A), number(d.B), d.Ratio, d.P, d.Verdict)
		if err := out.message("bench.diff", d, text); err != nil {
			return err
		}
	}
	return nil
}

// run runs a mode and prints its report: in JSON one line for the environment
// and one per case.
func (f *benchFlags) run(cmd *cobra.Command, mode func(context.Context, bench.Env) (*bench.Report, error)) error {
	out := newOutput(cmd)
	if f.runs < 1 {
		return usagef("--runs %d: want 1 or more", f.runs)
	}
	env := bench.Env{Dir: f.dir, Version: version, Runs: f.runs, Say: func(format string, args ...any) {
		if isTerminal(out.err) {
			out.remark(format, args...)
		}
	}}
	if info, err := os.Stat("/dev/shm"); env.Dir == "" && err == nil && info.IsDir() {
		env.Dir = "/dev/shm"
	}
	rep, err := mode(cmd.Context(), env)
	if err != nil {
		return err
	}
	if err := printBench(out, rep); err != nil {
		return err
	}
	err = errors.Join(f.writeHgrm(rep), f.writeHTML(rep))
	for _, fault := range rep.Faults {
		err = errors.Join(err, fmt.Errorf("bench: %s: %s", rep.Mode, fault))
	}
	return err
}

// writeHTML writes the report as a page.
func (f *benchFlags) writeHTML(rep *bench.Report) error {
	if f.html == "" {
		return nil
	}
	file, err := os.Create(f.html)
	if err != nil {
		return err
	}
	return errors.Join(rep.WriteHTML(file), file.Close())
}

func printBench(out *output, rep *bench.Report) error {
	err := out.message("bench.environment", struct {
		Mode    string         `json:"mode"`
		Created string         `json:"created"`
		Machine bench.Machine  `json:"machine"`
		Config  map[string]any `json:"config"`
	}{rep.Mode, rep.Created.Format(timeLayoutSeconds), rep.Machine, rep.Config},
		fmt.Sprintf("%s on %s, %d CPUs, %s, libzmq %s, %s, tapedeck %s", rep.Mode, rep.Machine.CPU, rep.Machine.CPUs,
			rep.Machine.Kernel, rep.Machine.Libzmq, rep.Machine.Go, rep.Machine.Tapedeck))
	for i := range rep.Cases {
		if err == nil {
			err = out.message("bench."+rep.Mode, flatten(&rep.Cases[i]), caseText(&rep.Cases[i]))
		}
	}
	for _, note := range rep.Notes {
		out.remark("%s", note)
	}
	if len(rep.Faults) > 0 && err == nil {
		err = out.message("bench.faults", struct {
			Mode   string   `json:"mode"`
			Faults []string `json:"faults"`
		}{rep.Mode, rep.Faults}, "")
	}
	return err
}

const timeLayoutSeconds = "2006-01-02T15:04:05Z"

// flatten makes one object of a case: labels, then each metric's median, and its
// least, greatest and single values.
func flatten(c *bench.Case) map[string]any {
	m := map[string]any{}
	for _, l := range c.Labels {
		m[l.Name] = l.Value
	}
	for name, s := range c.Metrics {
		m[name], m[name+"_min"], m[name+"_max"], m[name+"_runs"] = s.Median, s.Min, s.Max, s.Runs
	}
	return m
}

func caseText(c *bench.Case) string {
	var b strings.Builder
	for i, l := range c.Labels {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %v", l.Name, l.Value)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Metrics)) {
		s := c.Metrics[name]
		fmt.Fprintf(&b, "\n  %-34s %16s   (%s to %s)", name, number(s.Median), number(s.Min), number(s.Max))
	}
	return b.String()
}

// number formats a figure with the digits that matter.
func number(f float64) string {
	if f >= 1000 {
		return thousands(uint64(f))
	}
	return fmt.Sprintf("%.3g", f)
}

// caseName names a case by its first label, and by all of them where that is not
// enough to tell it from another.
func caseName(rep *bench.Report, i int) string {
	labels := rep.Cases[i].Labels
	name := fmt.Sprint(labels[0].Value)
	same := 0
	for _, c := range rep.Cases {
		if c.Labels[0] == labels[0] {
			same++
		}
	}
	for _, l := range labels[1:] {
		if same > 1 {
			name += fmt.Sprintf("-%v", l.Value)
		}
	}
	return name
}

// writeHgrm writes the histograms in HdrHistogram's percentile format, in µs.
func (f *benchFlags) writeHgrm(rep *bench.Report) error {
	if f.hgrm == "" {
		return nil
	}
	for i := range rep.Cases {
		for name, h := range rep.Cases[i].Histograms {
			path := fmt.Sprintf("%s-%s-%s.hgrm", f.hgrm, name, caseName(rep, i))
			file, err := os.Create(path)
			if err != nil {
				return err
			}
			_, err = h.PercentilesPrint(file, 5, 1000)
			if cerr := file.Close(); err == nil {
				err = cerr
			}
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	return nil
}
