package splice

import (
	"context"
	"errors"
	"io"

	"github.com/tapedeck/tapedeck/tape"
)

// CompactConfig says how a tape is stored anew.
type CompactConfig struct {
	// Tape says how the new tape is written. A zero BlockSize keeps the borders
	// of the blocks, and with them the digest. Shards, Encodings, Sources,
	// Temporary and SyncInterval are set by Compact.
	Tape tape.Config
	// Progress, if not nil, is kept up to date.
	Progress *Progress
}

// Compact writes all of a tape to a new one in dir, with another codec or block
// size. Records keep their bytes and places. An error leaves nothing behind. It is
// a *tape.CorruptError where the tape is damaged.
func Compact(ctx context.Context, in *tape.Tape, dir string, cfg CompactConfig) (Report, error) {
	info, err := in.Info()
	if err != nil {
		return Report{}, err
	}
	if cfg.Tape.Codec == 0 {
		cfg.Tape.Codec = tape.CodecDefault
	}
	cfg.Tape.Shards, cfg.Tape.Encodings, cfg.Tape.Sources, cfg.Tape.Follow = in.Shards(), info.Encodings, info.Sources, in
	c := cutter{ctx: ctx, in: in, codec: cfg.Tape.Codec, asked: info.Codec}
	c.cfg.Progress = cfg.Progress
	regroup := cfg.Tape.BlockSize != 0
	if !regroup {
		cfg.Tape.BlockSize = largestBlock(in)
	}
	if c.out, err = create(dir, cfg.Tape); err != nil {
		return Report{}, err
	}
	defer func() { _ = c.out.Abort() }() // nothing after a good Close
	cfg.Progress.begin(info.Totals.Records)
	if regroup {
		err = c.regroup()
	} else {
		err = c.blocks()
	}
	if err == nil {
		err = c.marks(true)
	}
	if err == nil {
		err = c.out.Close()
	}
	return c.report, err
}

// regroup copies every record to its place, into blocks of another size.
func (c *cutter) regroup() error {
	r := c.in.Reader(tape.ReadConfig{})
	defer r.Close()
	for {
		if err := interrupted(c.ctx); err != nil {
			return err
		}
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = c.every(b)
		}
		if err != nil {
			return err
		}
		c.cfg.Progress.add(uint64(b.Count))
	}
}

// every appends a block's records to open blocks.
func (c *cutter) every(b *tape.Block) error {
	at := tape.At{Shard: int(b.Shard), Epoch: b.Epoch}
	if !b.Info.NoSend {
		at.Send = b.Info.Send.Min
	}
	ordinals, w := b.Ordinals(), b.Records()
	for w.Next() {
		at.Seq, at.Ordinal = w.Seq(), ordinals.Next()
		if err := c.out.Append(at, w.Record()); err != nil {
			return err
		}
	}
	c.report.Records += uint64(b.Count)
	return w.Err()
}
