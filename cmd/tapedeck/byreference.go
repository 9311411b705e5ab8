package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// addByReference adds --by-reference.
func addByReference(cmd *cobra.Command, value *string) {
	cmd.Flags().StringVar(value, "by-reference", "auto",
		`take the batches of a plain tape on this machine from the tape itself: "auto" where that is possible, or "off"`)
	_ = cmd.RegisterFlagCompletionFunc("by-reference", cobra.FixedCompletions([]string{"auto", "off"}, cobra.ShellCompDirectiveNoFileComp))
}

// opener returns how a subscriber opens a publisher's tape, or nil where it is
// not to.
func opener(out *output, byReference string) (subscriber.OpenTape, error) {
	switch byReference {
	case "off":
		return nil, nil
	case "auto":
	default:
		return nil, usagef(`--by-reference %q: want "auto" or "off"`, byReference)
	}
	return func(id string, at wire.TapePlace) (subscriber.Referred, error) {
		t, err := tape.OpenReferences(id, at)
		if err != nil {
			if !errors.Is(err, tape.ErrElsewhere) {
				out.remark("taking bytes, not references: %v", err)
			}
			return nil, err
		}
		return t, nil
	}, nil
}

// placeFor returns where the tape lies, if a player will send its blocks as they
// are, and nil otherwise.
func placeFor(t *tape.Tape, cfg *replay.Config) *wire.TapePlace {
	if t.Codec() != tape.CodecPlain || !cfg.SendsBlocks() {
		return nil
	}
	at, err := tape.Place(t.Dir())
	if err != nil {
		return nil // then everybody takes bytes
	}
	return &at
}
