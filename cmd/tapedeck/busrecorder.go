package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/tape"
)

func newRecorder() *cobra.Command {
	var f busFlags
	cmd := &cobra.Command{
		Use:   "recorder",
		Short: "Start and stop the recorders of tapedeck serve",
		Long: `Command the recorders that tapedeck serve runs. A recorder writes a stream to a tape
in the tapes directory; a flight recorder keeps the last minutes, and dump writes them
out while it goes on.`,
		Example: example(
			"tapedeck recorder start --connect tcp://127.0.0.1:7100+ --shards 2 -o day.tape",
			"tapedeck recorder status",
			"tapedeck recorder stop day",
		),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f.add(cmd)
	cmd.AddCommand(newRecorderStart(&f), newRecorderStatus(&f), newRecorderStop(&f), newRecorderDump(&f))
	for _, sub := range cmd.Commands() {
		sub.Args = usageArgs(sub.Args)
	}
	return cmd
}

// addRecorder adds the flags that say what a recorder does.
func addRecorder(cmd *cobra.Command, a *control.RecorderStart) {
	fl := cmd.Flags()
	fl.StringVar(&a.Recorder, "name", "", "name of the recorder (default: the tape's)")
	fl.StringVar(&a.Connect, "connect", endpointDefault, "endpoint of the stream's shards, as with tapedeck record")
	fl.IntVar(&a.Shards, "shards", 1, "number of shards in the stream")
	fl.StringVarP(&a.Tape, "output", "o", "", "tape to write, in the tapes directory; with --ring a directory (required)")
	fl.BoolVar(&a.Append, "append", false, "go on with a tape that exists")
	fl.StringVar(&a.Codec, "codec", "", "compression of the tape: plain, s2, zstd or columns")
	fl.BoolVar(&a.Follow, "follow", false, "stay after the end, for the next session")
	fl.StringVar(&a.Silence, "silence", "", "fail when a shard says nothing for this long, such as 30s")
	fl.StringVar(&a.RetainSize, "retain-size", "", "remove the oldest segments where the tape grows beyond this size, such as 100GB")
	fl.StringVar(&a.RetainAge, "retain-age", "", "remove segments older than this, such as 24h")
	fl.StringVar(&a.Ring, "ring", "", "keep only the last so many minutes, such as 10m")
	fl.StringSliceVar(&a.Resync, "resync", nil, "endpoints to get what was missed from")
	fl.StringVar(&a.ResyncBind, "resync-bind", "", "endpoint where others get what they missed")
	_ = cmd.MarkFlagRequired("output")
	_ = cmd.RegisterFlagCompletionFunc("codec", cobra.FixedCompletions(tape.CodecNames(), cobra.ShellCompDirectiveNoFileComp))
}

func newRecorderStart(f *busFlags) *cobra.Command {
	var a control.RecorderStart
	cmd := &cobra.Command{
		Use: "start -o TAPE", Short: "Start a recorder",
		Long: "Start to write a stream to a tape. It goes on until it is stopped, or the stream ends.",
		Example: example(
			"tapedeck recorder start -o day.tape --connect tcp://feed:7100+ --shards 4",
			"tapedeck recorder start -o flight --ring 10m --follow",
		),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return oneRecorder(cmd, f, "start", a)
		},
	}
	addRecorder(cmd, &a)
	return cmd
}

// oneRecorder gives a command to a recorder and prints how it is then.
func oneRecorder(cmd *cobra.Command, f *busFlags, command string, args any) error {
	var state control.RecorderState
	if err := f.ask(cmd.Context(), control.ServiceRecorder, command, args, &state); err != nil {
		return err
	}
	return newOutput(cmd).message("recorder", &state, recorderLine(&state))
}

// recorderOf names the recorder of the arguments.
func recorderOf(args []string) (of control.RecorderOf) {
	if len(args) > 0 {
		of.Recorder = args[0]
	}
	return of
}

func newRecorderStop(f *busFlags) *cobra.Command {
	return &cobra.Command{
		Use: "stop [NAME]", Short: "Stop a recorder and close its tape",
		Long:    "Stop a recorder and close its tape. It may be left unnamed where there is one.",
		Example: example("tapedeck recorder stop", "tapedeck recorder stop day"),
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return oneRecorder(cmd, f, "stop", recorderOf(args))
		},
	}
}

func newRecorderStatus(f *busFlags) *cobra.Command {
	return &cobra.Command{
		Use: "status [NAME]", Short: "Show the recorders",
		Long:    "Show a recorder, or all.",
		Example: example("tapedeck recorder status", "tapedeck recorder status --json | jq .lost"),
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := newOutput(cmd)
			var list control.RecorderList
			if err := f.ask(cmd.Context(), control.ServiceRecorder, "status", recorderOf(args), &list); err != nil {
				return err
			}
			if !out.json {
				if len(list.Recorders) == 0 {
					out.remark("nothing is recorded: tapedeck recorder start -o TAPE begins")
					return nil
				}
				return out.text(recorderTable(list.Recorders))
			}
			for i := range list.Recorders {
				if err := out.message("recorder", &list.Recorders[i], ""); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func newRecorderDump(f *busFlags) *cobra.Command {
	return &cobra.Command{
		Use: "dump [NAME]", Short: "Write out what a flight recorder has",
		Long:    "Write what a flight recorder has to a tape of its own, while it goes on.",
		Example: example("tapedeck recorder dump", "tapedeck recorder dump flight --json | jq -r .tape"),
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var d control.RecordDump
			if err := f.ask(cmd.Context(), control.ServiceRecorder, "dump", recorderOf(args), &d); err != nil {
				return err
			}
			return newOutput(cmd).message("record.dump", &d, fmt.Sprintf("%s: %s, %s to %s", d.Tape, count(d.Records, "record"), tapeTime(d.MinReceive), tapeTime(d.MaxReceive)))
		},
	}
}

// recorderLine is a recorder in one line.
func recorderLine(r *control.RecorderState) string {
	text := fmt.Sprintf("%s: %s %s", r.Recorder, r.Phase, r.Tape)
	if r.Error != "" {
		text += ": " + r.Error
	}
	text += fmt.Sprintf(", %s, %s stored", count(r.Records, "record"), size(r.StoredBytes))
	if r.Lost > 0 || r.Corrupt > 0 {
		text += fmt.Sprintf(", %s lost in %s, %s corrupt", thousands(r.Lost), count(r.Gaps, "gap"), thousands(r.Corrupt))
	}
	if r.Phase == "finished" {
		if r.Complete {
			return text + ", complete"
		}
		return text + ", not complete"
	}
	return text
}

// recorderTable is several recorders, one a line.
func recorderTable(list []control.RecorderState) string {
	return table("RECORDER\tPHASE\tTAPE\tRECORDS\tLOST\tSTORED", len(list), func(i int) string {
		r := &list[i]
		return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s", r.Recorder, r.Phase, r.Tape, thousands(r.Records), thousands(r.Lost), size(r.StoredBytes))
	})
}
