package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// How many records a reader takes at one place before the next seek: at full speed
// as many as fill all queues on the way.
const (
	stayPaced = 2000
	stayMax   = 1_000_000
)

// seeking is a player in this process and a reader in another one.
type seeking struct {
	pub    *publisher.Publisher
	player *replay.Player
	reader *worker
	ended  <-chan error // tells how the player has ended
}

// run plays the tape to a reader and seeks.
func (c *seekCase) run(ctx context.Context, cfg *SeekConfig, t *tape.Tape) (err error) {
	s := &seeking{}
	if s.pub, err = publisher.New(publisher.Config{Endpoints: wildcards(1), Lossless: true}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	job := Job{Role: "seeker", Endpoints: s.pub.Endpoints(), Progress: stayPaced}
	if c.speed == replay.Max {
		job.Progress = stayMax
	}
	if s.reader, err = startWorker(ctx, job); err != nil {
		return err
	}
	s.player, err = replay.New(replay.Config{
		Tape: t, Publisher: endless{s.pub}, Shards: 1, Speed: c.speed, Passes: -1, Wait: 1, NoSnapshot: !c.values,
	})
	if err != nil {
		return err
	}
	s.ended = meanwhile(func() error {
		_, err := s.player.Run(ctx)
		return err
	})
	if err := s.reader.hear(); err != nil {
		return err
	}
	if err := c.seeks(ctx, cfg, s, t); err != nil {
		return err
	}
	return s.end(ctx, cfg)
}

// seekTimes are those of a run, ns from the command on.
type seekTimes struct{ call, firstValue, lastValue, first *hdrhistogram.Histogram }

// seeks goes to random places, one after the other, and measures each.
func (c *seekCase) seeks(ctx context.Context, cfg *SeekConfig, s *seeking, t *tape.Tape) error {
	info, err := t.Info()
	if err != nil {
		return err
	}
	var (
		rng    = rand.New(rand.NewPCG(c.seed, uint64(c.topics)))
		from   = info.Totals.FirstReceive
		span   = int64(info.Totals.LastReceive-from) + 1
		times  = seekTimes{newHistogram(), newHistogram(), newHistogram(), newHistogram()}
		values uint64
	)
	for i := range cfg.Seeks {
		at := from + wire.Nanos(rng.Int64N(span))
		asked := time.Now()
		if err := s.player.Seek(ctx, replay.ToTime(at, tape.ClockReceive)); err != nil {
			return fmt.Errorf("seek to %v: %w", at, err)
		}
		_ = times.call.RecordValue(int64(time.Since(asked)))
		if err := s.reader.hear(); err != nil {
			return err
		}
		seen := &s.reader.ready.Seek
		if epoch := s.player.State().Epoch; seen.Epoch != epoch {
			return fmt.Errorf("the reader is in epoch %d, the player in %d", seen.Epoch, epoch)
		}
		after := func(then int64) int64 { return min(max(then-asked.UnixNano(), 1), latencyMax) }
		_ = times.first.RecordValue(after(seen.First))
		if seen.Values > 0 {
			_ = times.firstValue.RecordValue(after(seen.FirstValue))
			_ = times.lastValue.RecordValue(after(seen.LastValue))
			values += seen.Values
		}
		if i%cfg.Check == 0 {
			if err := seen.check(ctx, t, at, c.values); err != nil {
				return fmt.Errorf("seek to %v: %w", at, err)
			}
		}
	}
	c.tally.addHist("seek_call", times.call)
	c.tally.addHist("first_record", times.first)
	if c.values {
		c.tally.addHist("first_last_value", times.firstValue)
		c.tally.addHist("all_last_values", times.lastValue)
	}
	c.tally.add("last_values_per_seek", float64(values)/float64(cfg.Seeks))
	return nil
}

// end stops the player, ends the stream, and looks whether the reader has all of it.
func (s *seeking) end(ctx context.Context, cfg *SeekConfig) error {
	if err := s.stop(); err != nil {
		return err
	}
	if err := s.pub.End(ctx); err != nil {
		return err
	}
	r, err := s.reader.result()
	s.reader = nil
	if err != nil {
		return err
	}
	if !r.Complete || r.Lost > 0 || r.Gaps > 0 || r.Epochs != uint64(cfg.Seeks)+1 {
		return fmt.Errorf("after %d seeks the reader was in %d epochs and lost %d records in %d gaps, complete %v",
			cfg.Seeks, r.Epochs, r.Lost, r.Gaps, r.Complete)
	}
	return nil
}

// stop stops the player, if it plays.
func (s *seeking) stop() error {
	if s.ended == nil {
		return nil
	}
	err := s.player.Stop(context.Background())
	if ended := <-s.ended; !errors.Is(ended, replay.ErrStopped) {
		err = errors.Join(err, ended)
	}
	s.ended = nil
	return err
}

func (s *seeking) close() error {
	if s.reader != nil {
		s.reader.kill() // or a player in lossless mode waits for it
	}
	err := errors.Join(s.stop(), s.pub.Close())
	if s.player != nil {
		s.player.Close()
	}
	return err
}
