package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/splice"
)

type cutFlags struct {
	selection
	newTapeFlags
	renumber bool
}

func newCut() *cobra.Command {
	var f cutFlags
	cmd := &cobra.Command{
		Use:   "cut TAPE -o NEW",
		Short: "Copy a part of a tape to a new one, by time and topics",
		Long: `Copy the records that --from, --to and --topics select to a new tape. Records
keep their bytes, and blocks that are wanted whole their stored bytes.

With all topics and the tape's shards the records also keep their epochs,
sequences and ordinals: what was left out by time shows as gaps. Otherwise, and
with --renumber, they are numbered anew without any.

The new tape appears under its name only when it is whole.`,
		Example: example(
			"tapedeck cut es.tape -o open.tape --from 2023-12-25T14:30:00Z --to 2023-12-25T14:31:00Z",
			"tapedeck cut day.tape -o es.tape --topics GLBX.MDP3.ES --codec zstd",
			"tapedeck cut day.tape -o halt.tape --from @halt --to @resume",
		),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	f.addFlags(cmd.Flags(), "copy", "to")
	f.add(cmd, "as the tape's blocks are")
	cmd.Flags().IntVar(&f.shards, "shards", 0, "shards of the new tape (default: as the tape has)")
	cmd.Flags().BoolVar(&f.renumber, "renumber", false, "number the records anew also where they could keep their places")
	return cmd
}

// cutSummary is the last line of cut.
type cutSummary struct {
	newTape
	Source       string `json:"source"`
	BlocksKept   uint64 `json:"blocks_kept"`
	BlocksCoded  uint64 `json:"blocks_coded"`
	MarksLeftOut int    `json:"marks_left_out"`
}

func (f *cutFlags) run(cmd *cobra.Command, dir string) error {
	ctx, out := cmd.Context(), newOutput(cmd)
	cfg, err := f.newTapeFlags.config()
	if err == nil {
		err = f.check()
	}
	if err != nil {
		return err
	}
	t, err := openTape(dir, out)
	if err != nil {
		return err
	}
	defer t.Close()
	rng, err := f.selection.config(t)
	if err != nil {
		return err
	}
	var p splice.Progress
	stop, begin := spliceBar(ctx, out, "cut", &p), time.Now()
	rep, err := splice.Cut(ctx, t, f.dir(), splice.CutConfig{
		Tape: cfg, Clock: rng.Clock, From: rng.From, To: rng.To, Topics: f.topics, Renumber: f.renumber, Progress: &p,
	})
	stop()
	if err != nil {
		return spliceError(err)
	}
	if rep.Records == 0 {
		out.remark("%s: no record is in the range", dir)
	}
	made, err := describeNew(f.dir(), rep.Marks, rep.Records+rep.LeftOut, time.Since(begin))
	if err != nil {
		return err
	}
	sum := &cutSummary{made, dir, rep.BlocksKept, rep.BlocksCoded, rep.MarksLeftOut}
	return out.message("cut.summary", sum, fmt.Sprintf("%s: %s, %s, in %d blocks, %d of them as they were stored; %s as %s",
		sum.Tape, count(sum.Records, "record"), count(uint64(sum.Topics), "topic"), sum.Blocks, sum.BlocksKept, size(sum.StoredBytes), sum.Codec))
}
