package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/bench"
)

func newBenchJoin(f *benchFlags) *cobra.Command {
	var cfg bench.JoinConfig
	cmd := &cobra.Command{
		Use:   "join",
		Short: "How soon a late joiner has every last value, and what that does to the others",
		Long: `Measure the last-value proxy with plain ZeroMQ subscribers in processes of their
own: from subscription to the last value of every topic while nothing flows; 200
joiners while records flow, and what readers that were there notice of them; and
what the proxy moves as fast as one subscriber takes it. Every reader checks every
topic's sequence. The same of two caches made of libzmq alone stands beside it:
xpub-cache is the ZeroMQ guide's, xpub-manual uses libzmq's last-value option.`,
		Example: example("tapedeck bench join", "tapedeck bench join --servers lvc --topics 1000 --joins 1000 --json"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, func(ctx context.Context, env bench.Env) (*bench.Report, error) { return bench.Join(ctx, env, cfg) })
		},
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&cfg.Servers, "servers", nil, "lvc, xpub-cache, xpub-manual (default: all)")
	fl.IntSliceVar(&cfg.Topics, "topics", nil, "of a case each; how fast records go is measured with the first (default 1000, 100000)")
	fl.IntVar(&cfg.Joins, "joins", 0, "one after the other while nothing flows; a tenth above 10,000 topics (default 300)")
	fl.IntVar(&cfg.Joiners, "joiners", 0, "while records flow; a tenth above 10,000 topics (default 200)")
	fl.Uint64Var(&cfg.Stay, "stay", 0, "records that each of those takes before it leaves (default 2000)")
	fl.IntVar(&cfg.Standing, "readers", 0, "that are there all the time (default 3)")
	fl.Float64Var(&cfg.Rate, "rate", 0, "records a second (default 100,000)")
	fl.Float64Var(&cfg.Tick, "bursts", 0, "that the rate is sent in, a second (default 1000)")
	fl.IntVar(&cfg.Size, "size", 0, "bytes of a body (default 100)")
	fl.Float64Var(&cfg.Seconds, "seconds", 0, "that records flow with joiners, and as long without (default 5)")
	fl.IntVar(&cfg.Rounds, "rounds", 0, "that these take turns in (default 10)")
	fl.Uint64Var(&cfg.Records, "records", 0, "as fast as one reader takes them (default 3,000,000)")
	return cmd
}
