package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/control"
)

// deckFlags are what every deck command has.
type deckFlags struct {
	bus  busFlags
	deck string
}

func newDeck() *cobra.Command {
	var f deckFlags
	cmd := &cobra.Command{
		Use:   "deck",
		Short: "Play, pause, step and seek the decks of tapedeck serve",
		Long: `Command the decks that tapedeck serve runs. A deck plays tapes to readers, who
stay connected through all of it: a pause, another speed, another place.

  tapedeck serve &                          in the folder with the tapes
  tapedeck deck play es.tape --speed 1x     open a deck on the tape, and play
  tapedeck deck pause
  tapedeck deck seek +10m                   ten minutes of tape time ahead
  tapedeck deck step 5                      the next five records
  tapedeck deck resume
  tapedeck deck watch                       follow it

Where one deck alone is open it need not be named. Otherwise name it first, or
with --deck: tapedeck deck seek es +10m. Each command returns when it has taken
effect, and says how the deck is then.

A place on a tape is one of

  2023-12-25T14:30:00Z     a time: RFC 3339, to the nanosecond, or nanoseconds since 1970
  @open                    a mark: see tapedeck deck mark
  +10m  -5s                so much tape time from here
  start                    where play began`,
		Example: example(
			"tapedeck deck play es.tape --speed 10x",
			"tapedeck deck seek @open",
			"tapedeck deck list --json",
		),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f.bus.add(cmd)
	cmd.PersistentFlags().StringVarP(&f.deck, "deck", "d", "", "name of the deck (default: the one that is open)")
	cmd.AddCommand(
		newDeckPlay(&f), newDeckOpen(&f), newDeckList(&f), newDeckState(&f), newDeckWatch(&f), newDeckClose(&f),
		newDeckPlain(&f, "pause", "Make a deck stand still", "Make a deck stand still. Readers stay connected.", "tapedeck deck pause"),
		newDeckPlain(&f, "resume", "Make a paused deck go on", "Make a paused deck go on where it is.", "tapedeck deck resume"),
		newDeckPlain(&f, "stop", "End a deck's stream where it is", `End a deck's stream where it is: readers get the end mark. The deck stays open, to
be looked at, until it is closed.`, "tapedeck deck stop"),
		newDeckStep(&f), newDeckSeek(&f), newDeckSpeed(&f), newDeckSqueeze(&f), newDeckMark(&f), newDeckLoop(&f), newDeckFilter(&f),
	)
	for _, sub := range cmd.Commands() {
		sub.Args = usageArgs(sub.Args)
	}
	return cmd
}

// of takes the name of the deck from the arguments, where there is one more than
// the command needs.
func (f *deckFlags) of(args []string, needs int) (control.DeckOf, []string, error) {
	switch {
	case len(args) <= needs:
		return control.DeckOf{Deck: f.deck}, args, nil
	case f.deck != "" && f.deck != args[0]:
		return control.DeckOf{}, nil, usagef("%s and --deck %s: which deck is it?", args[0], f.deck)
	}
	return control.DeckOf{Deck: args[0]}, args[1:], nil
}

// command gives a command to a deck and prints the deck as it is then.
func (f *deckFlags) command(cmd *cobra.Command, command string, args any) error {
	var result control.DeckResult
	if err := f.bus.ask(cmd.Context(), control.ServiceDeck, command, args, &result); err != nil {
		return err
	}
	return newOutput(cmd).message("deck", &result, deckLine(&result.DeckState)+took(result.TookUs))
}

// newDeckPlain is a command of a deck without further arguments.
func newDeckPlain(f *deckFlags, name, short, long string, examples ...string) *cobra.Command {
	return &cobra.Command{
		Use: name + " [DECK]", Short: short, Long: long, Example: example(examples...),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			of, _, err := f.of(args, 0)
			if err != nil {
				return err
			}
			return f.command(cmd, name, of)
		},
	}
}

// openFlags say how a deck is opened.
type openFlags struct {
	args   control.DeckOpen
	loop   string
	repeat string
}

func (o *openFlags) add(cmd *cobra.Command) {
	fl, a := cmd.Flags(), &o.args
	fl.StringVar(&a.Speed, "speed", "", `"max", or a factor such as 1x, 10x, 0.5x (default 1x)`)
	fl.StringVar(&a.Clock, "clock", "", "the times to go by: receive, event or send (default receive)")
	fl.StringVar(&a.From, "from", "", "start at this time: "+timeForms)
	fl.StringVar(&a.To, "to", "", "stop before this time")
	fl.StringSliceVar(&a.Topics, "topics", nil, "play only topics with one of these prefixes, or those in @FILE")
	fl.IntVar(&a.Shards, "shards", 0, "number of shards to play to (default: as the tape has)")
	fl.StringVar(&a.Bind, "bind", "", "endpoint of the shards, as with tapedeck play (default: free ports that serve chooses)")
	fl.IntVar(&a.Wait, "wait", 0, "subscribers to wait for before the first record")
	fl.BoolVar(&a.Live, "live", false, "let a slow subscriber lose records instead of waiting for it")
	fl.StringVar(&o.repeat, "repeat", "1", `how often to play all of it: a number, or "forever"`)
	fl.StringVar(&o.loop, "loop", "", "play A..B again and again; A and B are places")
	fl.StringVar(&a.Squeeze, "squeeze", "", "cut stretches without records down to this, such as 1s")
	fl.StringSliceVar(&a.Barrier, "barrier", nil, "names of readers that the tape waits for, record by record")
	fl.IntVar(&a.BarrierWindow, "barrier-window", 0, "records that may be ahead of the slowest of --barrier (default 1)")
	fl.StringVar(&a.BarrierTimeout, "barrier-timeout", "", "fail when a reader of --barrier is missing for longer than this, such as 30s")
	fl.StringVar(&a.Faults, "faults", "", "do to the stream what a bad network would, as with tapedeck play")
	fl.StringVar(&a.ResyncBind, "resync-bind", "", `where readers get what they missed (default: a free port; "off": nowhere)`)
	_ = cmd.RegisterFlagCompletionFunc("clock", cobra.FixedCompletions([]string{"receive", "event", "send"}, cobra.ShellCompDirectiveNoFileComp))
}

// open returns the arguments of open.
func (o *openFlags) open(deck string, tapes []string) (control.DeckOpen, error) {
	a := o.args
	a.Deck, a.Tapes = deck, tapes
	passes, err := parseLoop(o.repeat)
	if err != nil {
		return a, usagef(`--repeat %q: want a number from 1, or "forever"`, o.repeat)
	}
	if passes != 1 {
		a.Passes = passes
	}
	if o.loop != "" {
		from, to, found := strings.Cut(o.loop, "..")
		if !found {
			return a, usagef("--loop %q: want A..B", o.loop)
		}
		a.LoopFrom, a.LoopTo = from, to
	}
	for _, x := range []struct{ flag, place string }{{"--from", a.From}, {"--to", a.To}, {"--loop", a.LoopFrom}, {"--loop", a.LoopTo}} {
		if x.place == "" {
			continue
		}
		if err := checkPlace(x.flag, x.place); err != nil {
			return a, err
		}
		if p, _ := control.ParsePlace(x.place); p.Kind == control.ByDistance && x.flag != "--loop" {
			return a, usagef("%s %s: a distance from where? want %s", x.flag, x.place, timeForms)
		}
	}
	a.Topics, err = topicPrefixes(a.Topics)
	return a, err
}

// checkPlace finds mistakes in a place before the bus is asked.
func checkPlace(what, place string) error {
	_, err := control.ParsePlace(place)
	var bad *control.Error
	if errors.As(err, &bad) {
		return withHint(usagef("%s: %s", what, bad.Reason), bad.Try)
	}
	return err
}

func newDeckOpen(f *deckFlags) *cobra.Command {
	var (
		o      openFlags
		paused bool
	)
	cmd := &cobra.Command{
		Use:   "open TAPE...",
		Short: "Open a deck on one tape or several",
		Long: `Open a deck, named after the first tape unless --deck says otherwise. Several tapes
are played as one, in the order of --clock. It plays at once, or with --paused when
it is told to.`,
		Example: example(
			"tapedeck deck open es.tape --paused --wait 1",
			"tapedeck deck open es.tape nq.tape --clock event --deck both --squeeze 1s",
		),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, tapes []string) error {
			args, err := o.open(f.deck, tapes)
			if err != nil {
				return err
			}
			args.Paused = paused
			return f.opened(cmd, &args)
		},
	}
	o.add(cmd)
	cmd.Flags().BoolVar(&paused, "paused", false, "begin paused")
	return cmd
}

// opened opens a deck and says where readers find it.
func (f *deckFlags) opened(cmd *cobra.Command, args *control.DeckOpen) error {
	var result control.DeckResult
	if err := f.bus.ask(cmd.Context(), control.ServiceDeck, "open", args, &result); err != nil {
		return err
	}
	text := deckLine(&result.DeckState) + took(result.TookUs)
	if len(result.Shards) > 0 {
		text += fmt.Sprintf("\nreaders: tapedeck sub --connect %s", strings.Join(result.Shards, ","))
		if p := result.Pair; p != nil && len(p.Other) > 0 {
			text += " --standby " + strings.Join(p.Other, ",")
		}
		if len(result.Shards) > 1 {
			text += fmt.Sprintf(" --shards %d", len(result.Shards))
		}
		if result.Resync != "" {
			text += " --resync " + result.Resync
		}
	}
	if p := result.Pair; p != nil && !p.Ready {
		text += "\n" + standbyText(p)
	}
	return newOutput(cmd).message("deck", &result, text)
}

func newDeckPlay(f *deckFlags) *cobra.Command {
	var o openFlags
	cmd := &cobra.Command{
		Use:   "play [DECK | TAPE...]",
		Short: "Play a deck, or open one on a tape and play",
		Long: `Make a deck play. Given a tape that no deck plays yet, open a deck named after it;
then the flags say how, as with deck open. A deck that is open takes --speed alone.`,
		Example: example(
			"tapedeck deck play es.tape --speed 1x",
			"tapedeck deck play es.tape --from 2023-12-25T14:30:00Z --topics GLBX.MDP3.ES --wait 1",
			"tapedeck deck play",
			"tapedeck deck play --speed max",
		),
		RunE: func(cmd *cobra.Command, args []string) error { return f.play(cmd, &o, args) },
		Args: cobra.ArbitraryArgs,
	}
	o.add(cmd)
	return cmd
}

func (f *deckFlags) play(cmd *cobra.Command, o *openFlags, args []string) error {
	open, err := o.open(f.deck, args)
	if err != nil {
		return err
	}
	name, err := f.playing(cmd.Context(), args)
	switch {
	case err != nil:
		return err
	case name == "" && len(args) > 0:
		return f.opened(cmd, &open)
	}
	alone := map[string]bool{"speed": true, "deck": true, "bus": true, "timeout": true, "json": true, "help": true}
	for _, flag := range changedFlags(cmd) {
		if !alone[flag] {
			return withHint(usagef("--%s: deck %s is open already", flag, name), "tapedeck deck close "+name+" first, or --deck with another name")
		}
	}
	return f.command(cmd, "play", control.DeckPlay{DeckOf: control.DeckOf{Deck: name}, Speed: open.Speed})
}

// playing finds the open deck that the arguments of play mean; "" where one is to
// be opened, or where there are no arguments.
func (f *deckFlags) playing(ctx context.Context, args []string) (string, error) {
	if len(args) == 0 {
		return f.deck, nil
	}
	var list control.DeckList
	if err := f.bus.ask(ctx, control.ServiceDeck, "list", nil, &list); err != nil {
		return "", err
	}
	name := f.deck
	if name == "" {
		name = deckName(args[0])
	}
	at := slices.IndexFunc(list.Decks, func(d control.DeckState) bool {
		return d.Deck == name || f.deck == "" && len(args) == 1 && d.Deck == args[0]
	})
	if at < 0 {
		return "", nil
	}
	d := &list.Decks[at]
	if byName := len(args) == 1 && args[0] == d.Deck; !byName && !slices.Equal(d.Tapes, args) {
		return "", withHint(fmt.Errorf("deck %s is open, with %s", d.Deck, strings.Join(d.Tapes, ", ")),
			"--deck gives the new one another name")
	}
	return d.Deck, nil
}

// deckName is the name of the deck that plays a tape.
func deckName(tape string) string { return strings.TrimSuffix(path.Base(tape), ".tape") }

func newDeckClose(f *deckFlags) *cobra.Command {
	return &cobra.Command{
		Use: "close [DECK]", Short: "Close a deck",
		Long:    "Close a deck: it stops, its readers get the end mark, and its endpoints are free again.",
		Example: example("tapedeck deck close es"),
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			of, _, err := f.of(args, 0)
			if err != nil {
				return err
			}
			var result control.DeckResult
			if err := f.bus.ask(cmd.Context(), control.ServiceDeck, "close", of, &result); err != nil {
				return err
			}
			return newOutput(cmd).message("deck", &result, fmt.Sprintf("%s: closed, after %s", result.Deck, count(result.Records, "record")))
		},
	}
}

func newDeckList(f *deckFlags) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the open decks", Long: "List the open decks, and how each is.",
		Example: example("tapedeck deck list", "tapedeck deck list --json | jq -r .deck"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := newOutput(cmd)
			var list control.DeckList
			if err := f.bus.ask(cmd.Context(), control.ServiceDeck, "list", nil, &list); err != nil {
				return err
			}
			if !out.json {
				if len(list.Decks) == 0 {
					out.remark("no deck is open: tapedeck deck play TAPE opens one")
					return nil
				}
				return out.text(deckTable(list.Decks))
			}
			for i := range list.Decks {
				if err := out.message("deck", &list.Decks[i], ""); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func newDeckState(f *deckFlags) *cobra.Command {
	return &cobra.Command{
		Use: "state [DECK]", Short: "Show a deck", Long: "Show a deck: what it plays, where it is, where readers find it.",
		Example: example("tapedeck deck state", "tapedeck deck state es --json"),
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			of, _, err := f.of(args, 0)
			if err != nil {
				return err
			}
			var result control.DeckResult
			if err := f.bus.ask(cmd.Context(), control.ServiceDeck, "state", of, &result); err != nil {
				return err
			}
			return newOutput(cmd).message("deck", &result, deckText(&result.DeckState))
		},
	}
}
