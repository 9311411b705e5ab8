package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/control"
)

func newDeckStep(f *deckFlags) *cobra.Command {
	return &cobra.Command{
		Use: "step [DECK] [N]", Short: "Send the next records, one by one",
		Long: `Pause a deck, if it plays, and send the next N records, one where N is not given,
whatever their time.`,
		Example: example("tapedeck deck step", "tapedeck deck step 5", "tapedeck deck step es 5"),
		Args:    cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			needs := 0
			if len(args) > 0 {
				if _, err := strconv.Atoi(args[len(args)-1]); err == nil || len(args) == 2 {
					needs = 1
				}
			}
			of, args, err := f.of(args, needs)
			if err != nil {
				return err
			}
			step := control.DeckStep{DeckOf: of}
			if len(args) > 0 {
				if step.N, err = strconv.Atoi(args[0]); err != nil || step.N < 1 {
					return usagef("step %s: want a number of records from 1", args[0])
				}
			}
			return f.command(cmd, "step", step)
		},
	}
}

func newDeckSeek(f *deckFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use: "seek [DECK] PLACE", Short: "Go to another place of the tape",
		Long: `Go to another place of the tape: a time, @MARK, a distance such as +10m or -5s, or
start. Readers get every topic's last record as of there, and then what follows. A
deck that is paused stays so.`,
		Example: example("tapedeck deck seek +10m", "tapedeck deck seek -5s", "tapedeck deck seek 2023-12-25T14:30:00Z", "tapedeck deck seek es @open"),
		RunE: func(cmd *cobra.Command, args []string) error {
			of, args, err := f.of(args, 1)
			if err != nil {
				return err
			}
			if err := checkPlace("seek", args[0]); err != nil {
				return err
			}
			return f.command(cmd, "seek", control.DeckSeek{DeckOf: of, To: args[0]})
		},
	}
	takeDistances(cmd, cobra.RangeArgs(1, 2))
	return cmd
}

func newDeckSpeed(f *deckFlags) *cobra.Command {
	return &cobra.Command{
		Use: "speed [DECK] SPEED", Short: "Change a deck's speed",
		Long:    `Change a deck's speed from where it is: "max", or a factor such as 1x, 10x, 0.5x.`,
		Example: example("tapedeck deck speed 10x", "tapedeck deck speed es max"),
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			of, args, err := f.of(args, 1)
			if err != nil {
				return err
			}
			return f.command(cmd, "speed", control.DeckSpeed{DeckOf: of, Speed: args[0]})
		},
	}
}

func newDeckSqueeze(f *deckFlags) *cobra.Command {
	return &cobra.Command{
		Use: "squeeze [DECK] {DURATION | off}", Short: "Cut stretches without records short",
		Long: `Let stretches without records that are longer last only as long as this, in tape
time; records that follow one another sooner keep their pace. With off they last
what they last.`,
		Example: example("tapedeck deck squeeze 1s", "tapedeck deck squeeze es 250ms", "tapedeck deck squeeze off"),
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			of, args, err := f.of(args, 1)
			if err != nil {
				return err
			}
			if _, err := parseSqueeze(args[0]); err != nil {
				return err
			}
			return f.command(cmd, "squeeze", control.DeckSqueeze{DeckOf: of, Squeeze: args[0]})
		},
	}
}

func newDeckMark(f *deckFlags) *cobra.Command {
	var note string
	cmd := &cobra.Command{
		Use: "mark [DECK] NAME", Short: "Name the place where a deck is",
		Long:    "Put a mark on the tape where the deck is. deck seek @NAME comes back to it, and so do\n--from and --to of other commands.",
		Example: example("tapedeck deck mark odd --note 'crossed book'", "tapedeck deck seek @odd"),
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			of, args, err := f.of(args, 1)
			if err != nil {
				return err
			}
			var result control.DeckMarked
			mark := control.DeckMark{DeckOf: of, Name: args[0], Note: note}
			if err := f.bus.ask(cmd.Context(), control.ServiceDeck, "mark", mark, &result); err != nil {
				return err
			}
			return newOutput(cmd).message("deck.mark", &result, fmt.Sprintf("%s: mark %s on %s, at %s", result.Deck, result.Mark.Name, result.Tape, tapeTime(result.Mark.Time)))
		},
	}
	cmd.Flags().StringVar(&note, "note", "", "what it is about")
	return cmd
}

func newDeckLoop(f *deckFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use: "loop [DECK] {A B | off}", Short: "Play a stretch again and again",
		Long: `Play from place A up to place B again and again; each time readers get last values
as of A first. With off, go on behind B.`,
		Example: example("tapedeck deck loop 2023-12-25T14:30:00Z 2023-12-25T14:31:00Z", "tapedeck deck loop @open +1m", "tapedeck deck loop off"),
		RunE: func(cmd *cobra.Command, args []string) error {
			needs := 2
			if args[len(args)-1] == "off" {
				needs = 1
			}
			of, args, err := f.of(args, needs)
			switch {
			case err != nil:
				return err
			case len(args) != needs:
				return withHint(usagef("loop wants two places, or off"), "see "+cmd.CommandPath()+" --help")
			case needs == 1:
				return f.command(cmd, "loop", control.DeckLoop{DeckOf: of, Off: true})
			}
			for _, place := range args {
				if err := checkPlace("loop", place); err != nil {
					return err
				}
			}
			return f.command(cmd, "loop", control.DeckLoop{DeckOf: of, From: args[0], To: args[1]})
		},
	}
	takeDistances(cmd, cobra.RangeArgs(1, 3))
	return cmd
}

func newDeckFilter(f *deckFlags) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "filter {PREFIX... | --all}", Short: "Change which topics a deck plays",
		Long: `Play only topics that begin with one of the prefixes from here on, or, with --all,
every topic. Readers get last values of what is new to them. The deck is named with
--deck.`,
		Example: example("tapedeck deck filter GLBX.MDP3.ES", "tapedeck deck filter --all --deck es"),
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return usagef("filter wants prefixes, or --all")
			}
			topics, err := topicPrefixes(args)
			if err != nil {
				return err
			}
			if topics == nil {
				topics = []string{}
			}
			return f.command(cmd, "filter", control.DeckFilter{DeckOf: control.DeckOf{Deck: f.deck}, Topics: topics})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "play every topic")
	return cmd
}

// takeDistances lets a command have arguments such as -5s, which would be flags.
func takeDistances(cmd *cobra.Command, check cobra.PositionalArgs) {
	const hidden = "\x00" // no argument of a process begins with it
	run := cmd.RunE
	cmd.DisableFlagParsing = true
	cmd.RunE = func(cmd *cobra.Command, raw []string) error {
		parse := make([]string, len(raw))
		for i, arg := range raw {
			if len(arg) > 1 && arg[0] == '-' && (arg[1] == '.' || '0' <= arg[1] && arg[1] <= '9') {
				arg = hidden + arg
			}
			parse[i] = arg
		}
		cmd.DisableFlagParsing = false
		if err := cmd.ParseFlags(parse); err != nil {
			return cmd.FlagErrorFunc()(cmd, err)
		}
		if help, _ := cmd.Flags().GetBool("help"); help {
			return cmd.Help()
		}
		args := cmd.Flags().Args()
		for i := range args {
			args[i] = strings.TrimPrefix(args[i], hidden)
		}
		if err := usageArgs(check)(cmd, args); err != nil {
			return err
		}
		return run(cmd, args)
	}
	cmd.Args = cobra.ArbitraryArgs
}

// changedFlags are the names of the flags that were given.
func changedFlags(cmd *cobra.Command) []string {
	var names []string
	cmd.Flags().Visit(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}
