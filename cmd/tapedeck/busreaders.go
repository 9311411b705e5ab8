package main

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/control"
)

func newReaders() *cobra.Command {
	var f busFlags
	cmd := &cobra.Command{
		Use:   "readers [DECK]",
		Short: "List who reads the decks, and how they fare",
		Long: `List the readers of a deck, or of all: their names, how late they are, what they
miss, and what waits for them here.

The verdict is ok, lagging (late), snail (late for long, or losing records), stuck
(takes nothing) or gone.`,
		Example: example("tapedeck readers", "tapedeck readers es --json | jq 'select(.verdict != \"ok\")'"),
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := newOutput(cmd)
			var of control.DeckOf
			if len(args) > 0 {
				of.Deck = args[0]
			}
			var list control.ReadersList
			if err := f.ask(cmd.Context(), control.ServiceReaders, "list", of, &list); err != nil {
				return err
			}
			if !out.json {
				if len(list.Readers) == 0 {
					out.remark("nobody reads: tapedeck deck state says where a deck's readers connect")
					return nil
				}
				return out.text(readerTable(list.Readers))
			}
			for i := range list.Readers {
				if err := out.message("deck.reader", &list.Readers[i], ""); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f.add(cmd)
	return cmd
}

// readerTable is several readers, one a line.
func readerTable(readers []control.ReaderState) string {
	return table("READER\tDECK\tVERDICT\tLAG\tLOST\tQUEUED", len(readers), func(i int) string {
		r := &readers[i]
		who := r.Name
		if who == "" && len(r.Connections) > 0 {
			who = r.Connections[0].Peer
		}
		lag := "-"
		if r.ID != "" {
			lag = round(r.Lag).String()
		}
		return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s", cmp.Or(who, r.ID, "-"), r.Deck, r.Verdict, lag, thousands(r.Lost), size(uint64(max(r.QueuedBytes, 0))))
	})
}
