package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/bench"
)

func newBenchResync(f *benchFlags) *cobra.Command {
	var (
		cfg    bench.ResyncConfig
		budget string
	)
	cmd := &cobra.Command{
		Use:   "resync",
		Short: "How soon a reader that was cut off is whole again, and the rate of refills",
		Long: `Cut a reader off from its publisher while records flow, connect it again, and
measure how long it takes until it has delivered everything, in order, and is with
the live stream; what a reader without resync lost stands beside it. Then measure the
rate at which another process gets millions of records from a recorder's tape, while
it records and while it does not. Recorder, readers and client are processes of
their own. Each record is checked against what was published at its sequence.`,
		Example: example("tapedeck bench resync", "tapedeck bench resync --cases refill --codecs zstd --json"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if budget != "" {
				var err error
				if cfg.Budget, err = parseBytes(budget); err != nil {
					return usagef("--resync-rate: %v", err)
				}
			}
			return f.run(cmd, func(ctx context.Context, env bench.Env) (*bench.Report, error) { return bench.Resync(ctx, env, cfg) })
		},
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&cfg.Cases, "cases", nil, "cut, refill (default: both)")
	fl.StringSliceVar(&cfg.Codecs, "codecs", nil, "of the recorder's tape; cut takes the first (default plain, s2)")
	fl.Float64Var(&cfg.Rate, "rate", 0, "records a second (default 100,000)")
	fl.Float64Var(&cfg.Tick, "bursts", 0, "that the rate is sent in, a second (default 1000)")
	fl.IntVar(&cfg.Size, "size", 0, "bytes of a body (default 100)")
	fl.Float64Var(&cfg.Cut, "cut", 0, "seconds for which the reader is cut off (default 5)")
	fl.Float64Var(&cfg.Seconds, "seconds", 0, "that each measured part of a run takes, about (default 3)")
	fl.Uint64Var(&cfg.Records, "records", 0, "that are asked for at once (default 4,000,000)")
	fl.StringVar(&budget, "resync-rate", "", "bytes a second that the recorder may spend on refills (default: no bound)")
	return cmd
}
