package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/bench"
)

func newBenchFailover(f *benchFlags) *cobra.Command {
	var (
		cfg        bench.FailoverConfig
		heartbeats []string
	)
	cmd := &cobra.Command{
		Use:   "failover [PART...]",
		Short: "How soon the other one of a pair serves when the active one is killed",
		Long: `Kill the active one of a pair with kill -9, at random moments while records or commands
flow, and measure from each kill until each client has the first record or reply that
only the other one can have sent. The killed one is started again, and when both are
ready the next one is killed. Every reader drops what comes twice as docs/WIRE.md tells
it, and checks every record: none may be missing, and none be handed on twice. Every
command must be answered, and be done once.

What is lost is given to who has told of it: gaps, queues that were full, readers that
were too far behind at a takeover. The servers are asked for what they counted before each
kill and at the end. Records that nobody was told of (lost_untold_records) are a fault of
tapedeck: the report says so and the command fails.

The parts are:
  lvc      two proxies that follow one publisher; readers are connected to both
  broker   two brokers of tapedeck serve; workers are at both, clients at the active one
  deck     two players of the same tape; readers are connected to both

Both of a pair, and their clients, are processes of their own. Most readers of proxies
speak ZMTP themselves, which takes a tenth of the processor time that libzmq takes, so
that two cores carry twenty of them; --libzmq says how many do not.`,
		Example: example("tapedeck bench failover", "tapedeck bench failover broker --outstanding 100", "tapedeck bench failover lvc --heartbeat 100ms --kills 10 --rate 20000 --json"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && !(len(args) == 1 && args[0] == "all") {
				cfg.Parts = args
			}
			var err error
			if cfg.Heartbeats, err = parseHeartbeats(heartbeats); err != nil {
				return err
			}
			program, err := os.Executable()
			if err != nil {
				return err
			}
			cfg.Program = []string{program}
			if !cmd.Flags().Changed("runs") {
				f.runs = 1 // of fifty kills
			}
			return f.run(cmd, func(ctx context.Context, env bench.Env) (*bench.Report, error) { return bench.Failover(ctx, env, cfg) })
		},
	}
	fl := cmd.Flags()
	fl.IntVar(&cfg.Kills, "kills", 0, "of each case (default 50)")
	fl.StringSliceVar(&heartbeats, "heartbeat", []string{"default", "100ms"}, "of the pair; a case each")
	fl.IntVar(&cfg.Readers, "readers", 0, "of the pair, or clients (default 20)")
	fl.IntVar(&cfg.Libzmq, "libzmq", 0, "of the readers of proxies are SUB sockets of libzmq (default 2)")
	fl.Float64Var(&cfg.Rate, "rate", 0, "records a second (default 100,000)")
	fl.Float64Var(&cfg.Tick, "bursts", 0, "that the rate is sent in, a second (default 500)")
	fl.IntVar(&cfg.Size, "size", 0, "bytes of a body (default 100)")
	fl.IntVar(&cfg.Topics, "topics", 0, "that records are of (default 1000)")
	fl.IntVar(&cfg.Outstanding, "outstanding", 0, "commands of all clients that are on their way at once (default 1000)")
	fl.IntVar(&cfg.AtOnce, "at-once", 0, "of those that workers have in hand at once (default 16)")
	fl.DurationVar(&cfg.Pause, "pause", 0, "between the pair being ready and a kill, at most (default 1s)")
	fl.Uint64Var(&cfg.Seed, "seed", 0, "of these pauses (default: another one each time)")
	return cmd
}

// parseHeartbeats takes times; "default" is that of the command, 0.
func parseHeartbeats(texts []string) ([]time.Duration, error) {
	var all []time.Duration
	for _, text := range texts {
		if text == "default" {
			all = append(all, 0)
			continue
		}
		d, err := time.ParseDuration(text)
		if err != nil || d < time.Millisecond {
			return nil, usagef("--heartbeat %s: want default, or a time such as 100ms", text)
		}
		all = append(all, d)
	}
	return all, nil
}
