package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/bench"
	"github.com/tapedeck/tapedeck/replay"
)

func newBenchSeek(f *benchFlags) *cobra.Command {
	var (
		cfg    bench.SeekConfig
		speeds []string
		size   string
	)
	cmd := &cobra.Command{
		Use:   "seek",
		Short: "How soon after a seek the reader has the new place and every last value",
		Long: `Seek to random places of a tape while it plays, and measure what a reader in
another process sees of it: the time from the command until the first record of
the new place, and until the last value of every topic as of that place. Last values
come before records, so each is measured with and without them. A part of the
seeks is compared with what the tape says.`,
		Example: example("tapedeck bench seek", "tapedeck bench seek --topics 100000 --speeds max --json --hgrm seek"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, s := range speeds {
				speed, err := replay.ParseSpeed(s)
				if err != nil {
					return usageError{err}
				}
				cfg.Speeds = append(cfg.Speeds, speed)
			}
			if size != "" {
				var err error
				if cfg.Bytes, err = parseBytes(size); err != nil {
					return usagef("--tape-size: %v", err)
				}
			}
			return f.run(cmd, func(ctx context.Context, env bench.Env) (*bench.Report, error) { return bench.Seek(ctx, env, cfg) })
		},
	}
	fl := cmd.Flags()
	fl.IntSliceVar(&cfg.Topics, "topics", nil, "of the tapes (default 1000, 100000)")
	fl.StringSliceVar(&speeds, "speeds", nil, "at which they play (default 1x, max)")
	fl.StringVar(&size, "tape-size", "", "payload of a tape, such as 10GB (default 1GB)")
	fl.StringVar(&cfg.Codec, "codec", "", "of the tapes (default s2)")
	fl.IntVar(&cfg.Size, "size", 0, "bytes of a body (default 100)")
	fl.Float64Var(&cfg.Rate, "rate", 0, "records a second of the tapes' own time (default 100,000)")
	fl.IntVar(&cfg.Seeks, "seeks", 0, "of a run (default 100)")
	fl.IntVar(&cfg.Check, "check", 0, "compare one of so many seeks with the tape (default 10)")
	return cmd
}
