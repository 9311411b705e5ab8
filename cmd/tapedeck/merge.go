package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/splice"
	"github.com/tapedeck/tapedeck/tape"
)

type mergeFlags struct {
	newTapeFlags
	clock string
}

func newMerge() *cobra.Command {
	var f mergeFlags
	cmd := &cobra.Command{
		Use:   "merge TAPE... -o NEW",
		Short: "Put the records of several tapes into one, in the order of time",
		Long: `Write the records of all tapes to a new one, in the order of their times by
--clock. Each tape keeps its own order, also where its times go back. Records of
the same time come in the order in which the tapes are named.

Records keep their bytes, except that a topic which several tapes have is numbered
anew. The new tape has the encodings and sources of all tapes.

The new tape appears under its name only when it is whole.`,
		Example: example(
			"tapedeck merge es.tape nq.tape -o both.tape",
			"tapedeck merge captures/*.tape -o day.tape --clock event --codec zstd",
		),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.add(cmd, tape.CodecDefault.String())
	fl := cmd.Flags()
	fl.StringVar(&f.clock, "clock", "receive", "the time to merge by: receive, event or send")
	fl.IntVar(&f.shards, "shards", 0, "shards of the new tape (default: the most that one of the tapes has)")
	fl.IntVar(&f.block, "block-size", 0, "payload bytes of a block (default 256 KiB)")
	_ = cmd.RegisterFlagCompletionFunc("clock", cobra.FixedCompletions([]string{"receive", "event", "send"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// mergeSummary is the last line of merge.
type mergeSummary struct {
	newTape
	Sources      []string `json:"sources"`
	Clock        string   `json:"clock"`
	OutOfOrder   uint64   `json:"out_of_order"`
	Renumbered   int      `json:"topics_renumbered"`
	Ambiguous    int      `json:"topics_ambiguous"`
	MarksRenamed []string `json:"marks_renamed,omitempty"`
}

func (f *mergeFlags) run(cmd *cobra.Command, dirs []string) error {
	ctx, out := cmd.Context(), newOutput(cmd)
	cfg, err := f.config()
	if err != nil {
		return err
	}
	clock, err := tape.ParseClock(f.clock)
	if err != nil {
		return usageError{err}
	}
	var in []*tape.Tape
	for _, dir := range dirs {
		t, err := openTape(dir, out)
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		defer t.Close() // all of them are needed until the end
		in = append(in, t)
	}
	var p splice.Progress
	stop, begin := spliceBar(ctx, out, "merge", &p), time.Now()
	rep, err := splice.Merge(ctx, in, f.dir(), splice.MergeConfig{Tape: cfg, Clock: clock, Progress: &p})
	stop()
	if err != nil {
		return spliceError(err)
	}
	f.report(out, &rep)
	made, err := describeNew(f.dir(), rep.Marks, rep.Records, time.Since(begin))
	if err != nil {
		return err
	}
	sum := &mergeSummary{made, dirs, clock.String(), rep.Back, rep.Shared, rep.Ambiguous, rep.Renamed}
	return out.message("merge.summary", sum, fmt.Sprintf("%s: %s from %s, %s, in %.2f s (%s records/s); %s as %s",
		sum.Tape, count(sum.Records, "record"), count(uint64(len(dirs)), "tape"), count(uint64(sum.Topics), "topic"),
		sum.Seconds, thousands(uint64(sum.PerSecond)), size(sum.StoredBytes), sum.Codec))
}

// report remarks on what the merged tape does not show.
func (f *mergeFlags) report(out *output, rep *splice.MergeReport) {
	if rep.Back > 0 {
		out.remark("%s earlier than one before on their own tape; they keep their place behind it", count(rep.Back, "record"))
	}
	if rep.Shared > 0 {
		out.remark("%s on several tapes, numbered anew", count(uint64(rep.Shared), "topic"))
	}
	if rep.Ambiguous > 0 {
		out.remark("%s with bodies that more than one encoding may fit", count(uint64(rep.Ambiguous), "topic"))
	}
	if len(rep.Renamed) > 0 {
		out.remark("marks whose names were taken are now %s", strings.Join(rep.Renamed, ", "))
	}
}
