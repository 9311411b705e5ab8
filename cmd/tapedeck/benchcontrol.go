package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/bench"
)

func newBenchControl(f *benchFlags) *cobra.Command {
	var cfg bench.ControlConfig
	cmd := &cobra.Command{
		Use:   "control",
		Short: "Requests through the broker, its restart, commands to a deck, and what control does to records",
		Long: `Measure the control bus, in four cases:

  requests  requests a second through the broker, one at a time and many at once,
            beside a bare ROUTER that sends back what it gets
  restart   the broker is killed and started again while requests are outstanding:
            what becomes of each of them, and how soon
  deck      how soon commands take effect on a deck of tapedeck serve that many
            readers are attached to, by the word of the deck, and how soon they are answered
  data      how late the records of a deck are while its bus is hammered, by turns with
            nobody hammering; also with nobody at all, and with a second serve hammered
            that shares nothing with the deck but the machine

Broker, workers, serve, readers and whoever hammers are processes of their own.`,
		Example: example("tapedeck bench control --cases requests,restart", "tapedeck bench control --cases data --slot 1 --rounds 20 --json"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			program, err := os.Executable()
			if err != nil {
				return err
			}
			cfg.Serve = []string{program, "serve"}
			return f.run(cmd, func(ctx context.Context, env bench.Env) (*bench.Report, error) { return bench.Control(ctx, env, cfg) })
		},
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&cfg.Cases, "cases", nil, "requests, restart, deck, data (default: all)")
	fl.Float64Var(&cfg.Seconds, "seconds", 0, "for which requests are made (default 2)")
	fl.IntVar(&cfg.Outstanding, "outstanding", 0, "requests on their way at once (default 1000)")
	fl.IntVar(&cfg.Size, "size", 0, "bytes of a request's body (default 32)")
	fl.IntVar(&cfg.Prefetch, "prefetch", 0, "requests that the broker gives a worker beforehand (default 256)")
	fl.IntVar(&cfg.Requests, "requests", 0, "of a restart (default five times --outstanding)")
	fl.DurationVar(&cfg.Work, "work", 0, "that each of those takes a worker (default 1ms)")
	fl.IntVar(&cfg.AtOnce, "at-once", 0, "of those that workers have in hand at once (default 16)")
	fl.IntVar(&cfg.Readers, "readers", 0, "of the deck (default 50)")
	fl.IntVar(&cfg.Commands, "commands", 0, "that the deck is given (default 1000)")
	fl.Float64Var(&cfg.DeckRate, "deck-rate", 0, "records a second of the deck (default 10,000)")
	fl.DurationVar(&cfg.Pause, "pause", 0, "between two commands, at most (default 10ms)")
	fl.Float64Var(&cfg.Rate, "rate", 0, "records a second while control is hammered (default 100,000)")
	fl.Float64Var(&cfg.HammerRate, "hammer-rate", 0, "requests a second of whoever hammers at a rate (default 1000)")
	fl.IntVar(&cfg.HammerAt, "hammer-at-once", 0, "requests on their way at full rate (default 64)")
	fl.Float64Var(&cfg.Slot, "slot", 0, "seconds with hammering, and without, by turns (default 0.5)")
	fl.IntVar(&cfg.Rounds, "rounds", 0, "of those turns (default 10)")
	return cmd
}
