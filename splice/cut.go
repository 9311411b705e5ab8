package splice

import (
	"context"
	"errors"
	"io"

	"github.com/tapedeck/tapedeck/internal/prefix"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// CutConfig says what of a tape goes into a cut.
type CutConfig struct {
	// Tape says how the new tape is written. A zero Codec keeps that of each
	// block, zero Shards those of the tape. Encodings, Sources, Temporary and
	// SyncInterval are set by Cut.
	Tape tape.Config
	// Clock says which time From and To mean. By the send clock a range holds to
	// the block, since no record has a send time of its own.
	Clock tape.Clock
	// From and To are the range [From, To), ns; 0 is open.
	From, To wire.Nanos
	// Topics are prefixes; none means all topics.
	Topics []string
	// Renumber gives the records new places also where they could keep theirs.
	Renumber bool
	// Epoch is that of records with new places; 0 means one made from the time.
	Epoch wire.Epoch
	// Progress, if not nil, is kept up to date.
	Progress *Progress
}

// Cut writes the part of a tape that cfg wants to a new tape in dir. Records keep
// their bytes, topic sequences included.
//
// With all topics and the same shards they also keep their places (epoch,
// sequence, ordinal), and blocks their borders and, where the codec is the same,
// their stored bytes: what was left out by time shows as gaps, like those that
// the recording had. Otherwise places would be gaps for the most part, and the
// records are numbered anew, without any.
//
// An error leaves nothing behind. It is a *tape.CorruptError where the tape is
// damaged.
func Cut(ctx context.Context, in *tape.Tape, dir string, cfg CutConfig) (Report, error) {
	c := cutter{ctx: ctx, in: in, cfg: cfg}
	info, err := in.Info()
	if err != nil {
		return c.report, err
	}
	c.keep = cfg.Tape.Codec == 0
	if c.keep {
		cfg.Tape.Codec = info.Codec
	}
	c.codec, c.asked = cfg.Tape.Codec, info.Codec
	if cfg.Tape.Shards == 0 {
		cfg.Tape.Shards = in.Shards()
	}
	cfg.Tape.Encodings, cfg.Tape.Sources = info.Encodings, info.Sources
	whole := len(cfg.Topics) == 0 && cfg.Tape.Shards == in.Shards() && !cfg.Renumber
	if whole && cfg.Tape.BlockSize == 0 {
		cfg.Tape.BlockSize = largestBlock(in)
	}
	if c.out, err = create(dir, cfg.Tape); err != nil {
		return c.report, err
	}
	defer func() { _ = c.out.Abort() }() // nothing after a good Close
	cfg.Progress.begin(info.Totals.Records)
	if whole {
		err = c.blocks()
	} else {
		err = c.records(cfg.Tape.Shards)
	}
	if err == nil {
		err = c.marks(whole)
	}
	if err == nil {
		err = c.out.Close()
	}
	return c.report, err
}

type cutter struct {
	ctx    context.Context
	in     *tape.Tape
	out    *tape.Writer
	cfg    CutConfig
	keep   bool       // stored bytes whatever their codec
	codec  tape.Codec // of the new tape
	asked  tape.Codec // of the tape: its plain blocks did not shrink
	report Report
}

// readConfig wants the blocks of the range.
func (c *cutter) readConfig() tape.ReadConfig {
	return tape.ReadConfig{Clock: c.cfg.Clock, From: c.cfg.From, To: c.cfg.To}
}

// blocks copies the range block by block, those at its borders record by record.
func (c *cutter) blocks() error {
	r := c.in.Reader(c.readConfig())
	defer r.Close()
	for {
		if err := interrupted(c.ctx); err != nil {
			return err
		}
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if c.inside(&b.Info) {
			err = c.block(b)
		} else {
			err = c.part(b)
		}
		if err != nil {
			return err
		}
		c.cfg.Progress.add(uint64(b.Count))
	}
}

// inside reports whether every record of a block is wanted.
func (c *cutter) inside(b *tape.BlockInfo) bool {
	if c.cfg.Clock == tape.ClockSend && !b.NoSend {
		return true
	}
	s := spanOf(b, c.cfg.Clock)
	return (c.cfg.From == 0 || s.Min >= c.cfg.From) && (c.cfg.To == 0 || s.Max < c.cfg.To)
}

func (c *cutter) wants(at wire.Nanos) bool {
	return (c.cfg.From == 0 || at >= c.cfg.From) && (c.cfg.To == 0 || at < c.cfg.To)
}

func (c *cutter) block(b *tape.Block) error {
	keep := c.keep || b.Info.Codec == c.codec || b.Info.Codec == tape.CodecPlain && c.asked == c.codec
	if err := c.out.AppendBlock(b, keep); err != nil {
		return err
	}
	c.report.Records += uint64(b.Count)
	if keep {
		c.report.BlocksKept++
	} else {
		c.report.BlocksCoded++
	}
	return nil
}

// part copies the wanted records of a block. They get blocks of their own, so
// that a cut of a cut has the same blocks as a cut made at once.
func (c *cutter) part(b *tape.Block) error {
	send := wire.Nanos(0)
	if !b.Info.NoSend {
		send = b.Info.Send.Min
	}
	ordinals, w := b.Ordinals(), b.Records()
	for w.Next() {
		ordinal := ordinals.Next()
		if !c.wants(timeOf(w.Record(), c.cfg.Clock)) {
			c.report.LeftOut++
			continue
		}
		at := tape.At{Shard: int(b.Shard), Epoch: b.Epoch, Seq: w.Seq(), Ordinal: ordinal, Send: send}
		if err := c.out.Append(at, w.Record()); err != nil {
			return err
		}
		c.report.Records++
	}
	if err := w.Err(); err != nil {
		return err
	}
	return c.out.EndBlock(int(b.Shard))
}

// records copies the range record by record, with new places.
func (c *cutter) records(shards int) error {
	n, err := newNumbering(shards, c.cfg.Epoch)
	if err != nil {
		return err
	}
	filter := prefix.New(c.cfg.Topics)
	r := c.in.Records(c.readConfig())
	defer r.Close()
	for seen := uint64(1); r.Next(); seen++ {
		if seen%checkEvery == 0 {
			if err := interrupted(c.ctx); err != nil {
				return err
			}
			c.cfg.Progress.add(checkEvery)
		}
		rec := r.Record()
		if !filter.Match(rec.Topic()) {
			c.report.LeftOut++
			continue
		}
		if err := c.out.Append(n.place(rec.Topic(), r.At().Send), rec); err != nil {
			return err
		}
		c.report.Records++
	}
	return r.Err()
}

// marks carries over the marks in the range. Where records have new places, a
// mark keeps its time alone.
func (c *cutter) marks(places bool) error {
	list, err := c.in.Marks()
	if err != nil {
		return err
	}
	var kept []tape.Mark
	for _, m := range list {
		in, err := c.marked(&m)
		if err != nil {
			return err
		}
		if !in {
			c.report.MarksLeftOut++
			continue
		}
		if !places {
			m.At = nil
		}
		kept = append(kept, m)
	}
	c.report.Marks = len(kept)
	return c.out.SetMarks(kept)
}

// marked reports whether a mark lies in the range. A mark by another clock does
// where the first record at or after it does.
func (c *cutter) marked(m *tape.Mark) (bool, error) {
	if c.cfg.From == 0 && c.cfg.To == 0 {
		return true, nil
	}
	if m.Clock == c.cfg.Clock {
		return c.wants(m.Time), nil
	}
	r := c.in.Records(tape.ReadConfig{Clock: m.Clock, From: m.Time})
	defer r.Close()
	if !r.Next() {
		return false, r.Err()
	}
	at := timeOf(r.Record(), c.cfg.Clock)
	if send := r.At().Send; c.cfg.Clock == tape.ClockSend && send != 0 {
		at = send
	}
	return c.wants(at), nil
}
