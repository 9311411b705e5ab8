package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/splice"
	"github.com/tapedeck/tapedeck/tape"
)

func newRepair() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "repair TAPE",
		Short: "Close a tape whose writer was killed, or save what a damaged one holds",
		Long: `Close a tape whose writer was killed: cut the half-written block at its end, if
there is one, and write index, topics and manifest. What is cut is kept beside
the segment. Nothing else is changed, and damage inside a tape is never touched.

With -o the tape itself stays as it is, whatever its state. Every block that can
be read goes to a new tape, also without manifest or indexes, and what is missing
is listed. The exit code is 3 when the tape was damaged.`,
		Example: example("tapedeck repair killed.tape", "tapedeck repair damaged.tape -o saved.tape"),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "" {
				return runSalvage(cmd, args[0], filepath.Clean(output))
			}
			return runRepair(cmd, args[0])
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "write what can be read to this new tape, and leave the old one as it is")
	return cmd
}

// repairSummary is the last line of repair without -o.
type repairSummary struct {
	Tape    string `json:"tape"`
	Records uint64 `json:"records"`
	Closed  bool   `json:"was_closed"`
	Torn    int64  `json:"torn_bytes"`
	SavedAs string `json:"torn_saved_as,omitempty"`
	// MadeAnew names the index and keyframe files that were missing or damaged.
	MadeAnew []string `json:"made_anew,omitempty"`
}

func runRepair(cmd *cobra.Command, dir string) error {
	rep, err := tape.Recover(dir)
	var corrupt *tape.CorruptError
	if errors.As(err, &corrupt) {
		return withHint(damagedError{err}, "tapedeck repair "+dir+" -o NEW saves what can be read")
	}
	if err != nil {
		return err
	}
	sum := &repairSummary{Tape: dir, Records: rep.Records, Closed: rep.WasClosed}
	text := fmt.Sprintf("%s: closed, %s records", dir, thousands(rep.Records))
	if sum.MadeAnew = append(rep.Indexes, rep.Keyframes...); rep.WasClosed && len(sum.MadeAnew) > 0 {
		text = fmt.Sprintf("%s: was closed; made anew %s", dir, strings.Join(sum.MadeAnew, ", "))
	} else if rep.WasClosed {
		text = dir + ": was closed, nothing to do; tapedeck verify looks at what is inside"
	}
	if rep.Torn != nil {
		sum.Torn, sum.SavedAs = rep.Torn.Bytes, rep.Kept
		text += fmt.Sprintf("; cut %d bytes of a half-written block, kept as %s", rep.Torn.Bytes, rep.Kept)
	}
	return newOutput(cmd).message("repair.summary", sum, text)
}

// salvageSummary is the last line of repair with -o.
type salvageSummary struct {
	Tape      string     `json:"tape"`
	Output    string     `json:"output"`
	Records   uint64     `json:"records"`
	Blocks    uint64     `json:"blocks"`
	Problems  int        `json:"problems"`
	Gaps      int        `json:"gaps"`
	Lost      uint64     `json:"lost"`
	Marks     int        `json:"marks"`
	WasClosed bool       `json:"was_closed"`
	Torn      *tape.Torn `json:"torn,omitempty"`
}

func runSalvage(cmd *cobra.Command, dir, to string) error {
	ctx, out := cmd.Context(), newOutput(cmd)
	var done, total atomic.Int64
	stop := progressBar(ctx, out, "repair", 1000, func() int64 { return done.Load() * 1000 / max(total.Load(), 1) })
	rep, err := splice.Salvage(ctx, dir, to, splice.SalvageConfig{
		Tape: tape.Config{Generator: program()}, Progress: func(d, t int64) { done.Store(d); total.Store(t) },
	})
	stop()
	if err != nil {
		return spliceError(err)
	}
	problems := append(rep.Damage.Problems, rep.Refused...)
	for i := range problems {
		if err := out.message("repair.problem", newVerifyProblem(&problems[i]), "damage: "+problems[i].String()); err != nil {
			return err
		}
	}
	sum := &salvageSummary{
		Tape: dir, Output: to, Records: rep.Records, Blocks: rep.BlocksKept + rep.BlocksCoded, Problems: len(problems),
		Gaps: len(rep.Lost), Marks: rep.Marks, WasClosed: rep.Damage.Closed, Torn: rep.Damage.Torn,
	}
	for _, g := range rep.Lost {
		sum.Lost += uint64(g.To - g.From)
		err := out.message("repair.gap", gapLine{g.Shard, uint64(g.Epoch), uint64(g.From), uint64(g.To)},
			fmt.Sprintf("lost: shard %d, epoch %d, sequences [%d, %d), %s", g.Shard, uint64(g.Epoch), g.From, g.To, count(uint64(g.To-g.From), "record")))
		if err != nil {
			return err
		}
	}
	text := fmt.Sprintf("%s: %s in %s saved from %s, %s known to be lost", to, count(sum.Records, "record"), count(sum.Blocks, "block"), dir, thousands(sum.Lost))
	if sum.Torn != nil {
		text += fmt.Sprintf("\ntorn tail: %d bytes of %s from offset %d were never whole", sum.Torn.Bytes, sum.Torn.Segment, sum.Torn.Offset)
	}
	if err := out.message("repair.summary", sum, text); err != nil {
		return err
	}
	if len(problems) > 0 {
		return damagedf("%s was damaged in %d places", dir, len(problems))
	}
	return nil
}
