package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/splice"
	"github.com/tapedeck/tapedeck/tape"
)

func newCompact() *cobra.Command {
	var f newTapeFlags
	cmd := &cobra.Command{
		Use:   "compact TAPE -o NEW --codec CODEC",
		Short: "Store a tape with another codec",
		Long: `Write all of a tape to a new one with another codec. Records keep their bytes and
their places. The blocks keep their borders, so the digest stays the same, which
proves that the records do; --block-size gives it up for other blocks.

The new tape appears under its name only when it is whole.`,
		Example: example(
			"tapedeck compact day.tape -o keep.tape --codec zstd",
			"tapedeck compact live.tape -o fast.tape --codec plain --block-size 1048576",
		),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runCompact(cmd, &f, args[0]) },
	}
	f.add(cmd, tape.CodecDefault.String())
	cmd.Flags().IntVar(&f.block, "block-size", 0, "payload bytes of a block (default: blocks keep their borders, and the tape its digest)")
	_ = cmd.MarkFlagRequired("codec")
	return cmd
}

// compactSummary is the last line of compact.
type compactSummary struct {
	newTape
	Source       string `json:"source"`
	SourceStored uint64 `json:"source_stored_bytes"`
	SourceDigest string `json:"source_digest"`
	SameDigest   bool   `json:"same_digest"`
}

func runCompact(cmd *cobra.Command, f *newTapeFlags, dir string) error {
	ctx, out := cmd.Context(), newOutput(cmd)
	cfg, err := f.config()
	if err != nil {
		return err
	}
	t, err := openTape(dir, out)
	if err != nil {
		return err
	}
	defer t.Close()
	info, err := t.Info()
	if err != nil {
		return spliceError(err)
	}
	var p splice.Progress
	stop, begin := spliceBar(ctx, out, "compact", &p), time.Now()
	rep, err := splice.Compact(ctx, t, f.dir(), splice.CompactConfig{Tape: cfg, Progress: &p})
	stop()
	if err != nil {
		return spliceError(err)
	}
	made, err := describeNew(f.dir(), rep.Marks, rep.Records, time.Since(begin))
	if err != nil {
		return err
	}
	sum := &compactSummary{made, dir, info.Totals.StoredBytes, info.Digest.String(), made.Digest == info.Digest.String()}
	if f.block == 0 && !sum.SameDigest {
		return damagedf("%s: the digest is %s, of %s it was %s", sum.Tape, sum.Digest, dir, sum.SourceDigest)
	}
	digest := "the digest is the same"
	if !sum.SameDigest {
		digest = "other blocks, so another digest"
	}
	return out.message("compact.summary", sum, fmt.Sprintf("%s: %s, %s as %s, it was %s as %s; %s",
		sum.Tape, count(sum.Records, "record"), size(sum.StoredBytes), sum.Codec, size(sum.SourceStored), info.Codec, digest))
}
