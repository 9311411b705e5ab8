package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// newRoot returns the command tree.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "tapedeck",
		Short: "Record market-data feeds and play them back over ZeroMQ",
		Long: `Tapedeck records market-data feeds and plays them back over ZeroMQ, at the
speed you choose, to as many subscribers as you like.

  tapedeck import es.mbo.dbn.zst -o es.tape         vendor file to tape
  tapedeck play es.tape --speed 10x --wait 1        tape to subscribers
  tapedeck sub                                      a subscriber that proves it got everything
  tapedeck record -o copy.tape                      stream to tape

The default endpoint of play, sub and record is tcp://127.0.0.1:7100+, one port
per shard counting up.`,
		Version: version,

		SuggestionsMinimumDistance: 2,
		SilenceErrors:              true,
		SilenceUsage:               true,
	}
	root.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		hint := "see tapedeck --help"
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "did you mean " + strings.Join(near, " or ") + "?"
		}
		return withHint(usagef("unknown command %q", args[0]), hint)
	}
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	root.SetVersionTemplate("tapedeck {{.Version}}\n")
	root.PersistentFlags().Bool("json", false, "print JSON lines on standard output")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return withHint(usageError{err}, "see "+cmd.CommandPath()+" --help")
	})
	for _, g := range []struct {
		id, title string
		cmds      []*cobra.Command
	}{
		{"in", "Onto a tape:", []*cobra.Command{newImport(), newRecord()}},
		{"stream", "From a tape to subscribers:", []*cobra.Command{newPlay(), newSub(), newServe(), newLVC(), newPair(), newTap(), newResync(), newResyncWorker()}},
		{"look", "Look at a tape:", []*cobra.Command{newInfo(), newCat(), newLast(), newVerify()}},
		{"work", "Work on tapes:", []*cobra.Command{newCut(), newMerge(), newCompact(), newMarks(), newRepair(), newExport()}},
		{"bus", "Command a tapedeck serve:", []*cobra.Command{newDeck(), newRecorder(), newTapes(), newReaders(), newJob(), newStatus()}},
		{"machine", "This machine:", []*cobra.Command{newKeys(), newDemo(), newDoctor(), newBench(), newVersion()}},
	} {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, cmd := range g.cmds {
			cmd.GroupID = g.id
		}
		root.AddCommand(g.cmds...)
	}
	for _, cmd := range root.Commands() {
		if (cmd.GroupID == "stream" || cmd.GroupID == "bus" || cmd.Name() == "record") && cmd.Name() != "serve" { // serve has settings for it
			new(lockFlags).add(cmd, slices.Contains([]string{"play", "record", "lvc", "resync"}, cmd.Name()))
		}
	}
	root.AddCommand(newBenchWorker())
	for _, cmd := range root.Commands() {
		cmd.Args = usageArgs(cmd.Args)
	}
	return root
}

// usageArgs makes a wrong number of arguments, and a flag that is missing, a usage
// error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	if check == nil {
		check = cobra.NoArgs
	}
	return func(cmd *cobra.Command, args []string) error {
		// Flags that must be set are looked at here, too: cobra's own look gives
		// an error that is like any other.
		if err := errors.Join(check(cmd, args), cmd.ValidateRequiredFlags()); err != nil {
			return withHint(usageError{err}, "see "+cmd.CommandPath()+" --help")
		}
		return nil
	}
}

// example lays out the lines of an Example for cobra.
func example(lines ...string) string { return "  " + strings.Join(lines, "\n  ") }
