package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/tape"
)

func newRepair() *cobra.Command {
	return &cobra.Command{
		Use:   "repair TAPE",
		Short: "Close a tape whose writer was killed",
		Long: `Close a tape whose writer was killed: cut the half-written block at its end, if
there is one, and write index, topics and manifest. What is cut is kept beside
the segment. Nothing else is changed, and damage inside a tape is never touched.`,
		Example: example("tapedeck repair killed.tape"),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			rep, err := tape.Recover(args[0])
			if err != nil {
				return err
			}
			sum := struct {
				Tape    string `json:"tape"`
				Records uint64 `json:"records"`
				Closed  bool   `json:"was_closed"`
				Torn    int64  `json:"torn_bytes"`
				SavedAs string `json:"torn_saved_as,omitempty"`
			}{Tape: args[0], Records: rep.Records, Closed: rep.WasClosed}
			text := fmt.Sprintf("%s: closed, %s records", args[0], thousands(rep.Records))
			if rep.WasClosed {
				text = args[0] + ": was closed, nothing to do"
			}
			if rep.Torn != nil {
				sum.Torn, sum.SavedAs = rep.Torn.Bytes, rep.Kept
				text += fmt.Sprintf("; cut %d bytes of a half-written block, kept as %s", rep.Torn.Bytes, rep.Kept)
			}
			return newOutput(cmd).message("repair.summary", sum, text)
		},
	}
}
