package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/splice"
	"github.com/tapedeck/tapedeck/tape"
)

// newTapeFlags are the flags of commands that make a tape from tapes.
type newTapeFlags struct {
	output string
	codec  string
	shards int
	block  int
}

// add declares output and codec; kept says what an empty codec means.
func (f *newTapeFlags) add(cmd *cobra.Command, kept string) {
	fl := cmd.Flags()
	fl.StringVarP(&f.output, "output", "o", "", "tape to write (required)")
	fl.StringVar(&f.codec, "codec", "", "compression of the new tape: plain, s2, zstd or columns (default: "+kept+")")
	_ = cmd.MarkFlagRequired("output")
	_ = cmd.RegisterFlagCompletionFunc("codec", cobra.FixedCompletions(tape.CodecNames(), cobra.ShellCompDirectiveNoFileComp))
}

func (f *newTapeFlags) dir() string { return filepath.Clean(f.output) }

// config returns how the new tape is written. Without --codec it has none.
func (f *newTapeFlags) config() (tape.Config, error) {
	cfg := tape.Config{Shards: f.shards, BlockSize: f.block, Generator: program()}
	if f.shards < 0 || f.shards > tape.ShardsMax {
		return cfg, usagef("--shards %d: want 1 to %d, or 0 for as many as there are", f.shards, tape.ShardsMax)
	}
	if f.block < 0 || f.block > tape.BlockSizeMax {
		return cfg, usagef("--block-size %d: want at most %d", f.block, tape.BlockSizeMax)
	}
	if f.codec == "" {
		return cfg, nil
	}
	var err error
	cfg.Codec, err = parseCodec(f.codec)
	return cfg, err
}

// newTape is what summaries say of a new tape.
type newTape struct {
	Tape         string  `json:"tape"`
	Records      uint64  `json:"records"`
	Topics       int     `json:"topics"`
	Shards       int     `json:"shards"`
	Codec        string  `json:"codec"`
	PayloadBytes uint64  `json:"payload_bytes"`
	StoredBytes  uint64  `json:"stored_bytes"`
	Blocks       int     `json:"blocks"`
	Marks        int     `json:"marks"`
	Digest       string  `json:"digest"`
	Seconds      float64 `json:"seconds"`
	PerSecond    float64 `json:"records_per_second"`
}

// describeNew reads what a summary says of the tape just made. read is how many
// records were gone through to make it.
func describeNew(dir string, marks int, read uint64, took time.Duration) (newTape, error) {
	t, err := tape.Open(dir)
	if err != nil {
		return newTape{}, err
	}
	defer t.Close()
	info, err := t.Info()
	if err != nil {
		return newTape{}, err
	}
	s := &info.Totals
	return newTape{
		Tape: dir, Records: s.Records, Topics: s.Topics, Shards: info.Shards, Codec: info.Codec.String(),
		PayloadBytes: s.PayloadBytes, StoredBytes: s.StoredBytes, Blocks: s.Blocks, Marks: marks, Digest: info.Digest.String(),
		Seconds: took.Seconds(), PerSecond: float64(read) / max(took.Seconds(), 1e-9),
	}, nil
}

// spliceBar draws how far a splice is.
func spliceBar(ctx context.Context, out *output, label string, p *splice.Progress) (stop func()) {
	return progressBar(ctx, out, label, 1000, func() int64 {
		return int64(p.Done.Load() * 1000 / max(p.Total.Load(), 1))
	})
}

// spliceError adds what to try.
func spliceError(err error) error {
	var corrupt *tape.CorruptError
	switch {
	case errors.As(err, &corrupt):
		return withHint(damagedError{err}, "tapedeck repair TAPE -o NEW saves what can be read of a damaged tape")
	case errors.Is(err, tape.ErrExists):
		return withHint(err, "-o names a tape that does not exist yet")
	case errors.Is(err, tape.ErrConfig):
		return usageError{err}
	}
	return err
}
