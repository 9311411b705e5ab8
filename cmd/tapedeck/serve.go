package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// serveCommandFlags are the flags of serve. Each is a setting of the configuration
// under a name of its own; --set has the others.
type serveCommandFlags struct {
	config string
	print  bool
	set    []string
	short  map[string]string // flag: setting
}

func newServe() *cobra.Command {
	f := serveCommandFlags{short: map[string]string{
		"only": "parts", "bus": "bus", "listen": "listen", "tapes": "tapes", "files": "files", "work": "work",
		"state": "state.bind", "metrics": "metrics.bind", "key": "keys.key", "server-key": "keys.server", "authorized": "keys.authorized",
	}}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run decks, recorders, jobs and what else there is, for commands from the bus",
		Long: `Run everything in one process: the control bus and its services, decks that play
the tapes of a directory, recorders, last values, refills, jobs, and metrics. Then

  tapedeck deck play es.tape --speed 1x       in another terminal, from anywhere
  tapedeck deck seek +10m                     that reaches the bus
  tapedeck status

Readers connect to the endpoints that a deck says, and stay connected while it is
paused, moved and played again. It runs until Ctrl-C or SIGTERM, which end every
deck and recording in order, with exit code 0; jobs that were not through go on when
it is started again.

Settings come from --config FILE, and flags go before that; there is no file that is
read without being named. --settings prints a file with every setting and its
default; docs/CONFIG.md tells them all.

Parts: ` + strings.Join(serveParts, ", ") + `.
With --only some of them run here, and connect to the broker of another process at
--bus. Each runs as its own process so:

  tapedeck serve --only broker,status
  tapedeck serve --only state,decks --bus tcp://127.0.0.1:7400
  tapedeck serve --only recorder --bus tcp://127.0.0.1:7400

Two brokers can be a pair, of which one takes over when the other one is gone; the
settings are broker.pair and what begins so, and docs/OPERATIONS.md says how to run it:

  tapedeck serve --only broker --bus tcp://127.0.0.1:7400,tcp://127.0.0.1:7401 \
    --set broker.pair=primary --set broker.pair_bind=tcp://127.0.0.1:7402 \
    --set broker.pair_peer=tcp://127.0.0.1:7403

Whoever reaches the bus commands it, so serve listens to this machine alone. With
--key and --authorized it listens wherever it is told, to those whose keys are
allowed: tapedeck keys --help. Without, another address must be allowed, with --listen
eth1 (or an address, or "*"), beside being named for what is to be there, such as
--bus tcp://eth1:7400.`,
		Example: example(
			"tapedeck serve",
			"tapedeck serve --tapes /data/tapes --files /data/vendor",
			"tapedeck serve --config serve.toml --set decks.max=8",
			"tapedeck serve --key deck.key --authorized authorized.toml --bus tcp://eth1:7400",
			"tapedeck serve --listen eth1 --bus tcp://eth1:7400",
			"tapedeck serve --settings > serve.toml",
		),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	d := newServeConfig()
	fl := cmd.Flags()
	fl.StringVar(&f.config, "config", "", "TOML file with settings, see docs/CONFIG.md")
	fl.BoolVar(&f.print, "settings", false, "print the settings as they are, as such a file, and end")
	fl.StringArrayVar(&f.set, "set", nil, "a setting as KEY=VALUE, such as decks.max=8; can be given again")
	fl.StringSlice("only", nil, "parts that run here (default: all)")
	fl.String("bus", d.bus, "endpoint of the control bus: bound where broker is among the parts, else connected to; of a pair of brokers both, this one's first")
	fl.StringSlice("listen", nil, "addresses beside this machine's own that may be listened on")
	fl.String("tapes", d.tapes, "directory of the tapes")
	fl.StringSlice("files", nil, "directories that jobs may read and write (default: that of the tapes)")
	fl.String("work", d.work, "directory for what must outlive the process, relative to that of the tapes")
	fl.String("state", d.state.bind, "endpoint of the decks' state, for Clone clients")
	d.keys.declare(cmd, true)
	fl.String("metrics", d.metrics.bind, "address of metrics and health, over HTTP; empty: none")
	return cmd
}

// configuration puts file and flags together.
func (f *serveCommandFlags) configuration(fl *pflag.FlagSet) (*serveConfig, error) {
	c := newServeConfig()
	if f.config != "" {
		if err := c.load(f.config); err != nil {
			return nil, err
		}
	}
	settings := map[string]setting{}
	for _, s := range c.settings() {
		settings[s.key] = s
	}
	var err error
	fl.Visit(func(flag *pflag.Flag) {
		key := f.short[flag.Name]
		if key == "" || err != nil {
			return
		}
		s := settings[key]
		var value any = flag.Value.String()
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			value = strings.Join(list.GetSlice(), ",")
		}
		if err = s.put(value); err != nil {
			err = usagef("--%s: %v", flag.Name, err)
		}
	})
	if err != nil {
		return nil, err
	}
	for _, text := range f.set {
		if err := c.set(text); err != nil {
			return nil, err
		}
	}
	return c, c.check()
}

func (f *serveCommandFlags) run(cmd *cobra.Command) error {
	cfg, err := f.configuration(cmd.Flags())
	if err != nil {
		return err
	}
	if f.print {
		_, err := fmt.Fprint(cmd.OutOrStdout(), cfg.writeSettings())
		return err
	}
	out := newOutput(cmd)
	if err := cfg.keys.lock(cmd.Context(), out, true); err != nil {
		return err
	}
	return runServe(cmd.Context(), cfg, out)
}

// runServe runs the parts until the context ends, which is the end that is wanted,
// or until one of them fails.
func runServe(ctx context.Context, cfg *serveConfig, out *output) error {
	s, err := openStation(ctx, cfg, out)
	if err != nil {
		return err
	}
	if err := out.message("serve.serving", s.serving(), ""); err != nil {
		return joinStop(err, s)
	}
	out.remark("%s", s.serving().text())
	close(s.begun)
	failure := s.wait(ctx)
	if failure == nil {
		out.remark("stopping")
	}
	return joinStop(failure, s)
}

// joinStop stops a station. What was the matter before matters most.
func joinStop(err error, s *station) error {
	if stopErr := s.stop(); err == nil {
		err = stopErr
	}
	return err
}

// serving says what runs where: the first line of serve.
type serving struct {
	Parts   []string `json:"parts"`
	Bus     string   `json:"bus"`
	Tapes   string   `json:"tapes"`
	State   string   `json:"state,omitempty"`
	Updates string   `json:"state_updates,omitempty"`
	Metrics string   `json:"metrics,omitempty"`
	Pair    string   `json:"pair,omitempty"`     // endpoint of the broker's pair
	PairBus string   `json:"pair_bus,omitempty"` // where tapedeck pair asks it
	Decks   []string `json:"decks,omitempty"`

	DecksPair    string `json:"decks_pair,omitempty"` // endpoint of the decks' pair
	DecksPairBus string `json:"decks_pair_bus,omitempty"`
}

func (s *serving) text() string {
	text := fmt.Sprintf("serving %s: %s", s.Tapes, strings.Join(s.Parts, ", "))
	text += "\ntapedeck: bus " + s.Bus
	if s.State != "" {
		text += ", state " + s.State
	}
	if s.Metrics != "" {
		text += ", metrics " + s.Metrics
	}
	return text
}
