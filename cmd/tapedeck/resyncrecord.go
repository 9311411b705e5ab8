package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/recorder"
	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/tape"
)

// recordResyncFlags are the flags of a recorder that fills its gaps, and those of
// others.
type recordResyncFlags struct {
	heal  healFlags
	serve serveFlags
}

func (f *recordResyncFlags) add(cmd *cobra.Command) {
	f.heal.add(cmd)
	f.serve.add(cmd, "of the recording")
}

// recordSource is what a recorder serves. It binds its endpoints before there is a
// tape, and serves when there is a recorder.
type recordSource struct {
	*recorder.Recorder
	endBook
}

// check finds mistakes, and endpoints that cannot be had, before a tape is made.
func (f *recordResyncFlags) check(fl *pflag.FlagSet, out *output) (*recording, error) {
	r := &recording{flags: f, out: out, src: &recordSource{}}
	var err error
	if r.client, err = f.heal.client(); err != nil {
		return nil, err
	}
	cfg, err := f.serve.config(fl)
	if err != nil {
		return nil, err
	}
	cfg.Refills = endedRefills{refills{r.src}, r.src}
	cfg.Snapshots = &tapeSnapshots{open: func(ctx context.Context) (*tape.Tape, error) { return r.src.Tape(ctx) }}
	r.served, err = f.serve.listen(cfg, out)
	return r, err
}

// recording is a subscriber that records, with what fills its gaps and serves
// others'.
type recording struct {
	flags   *recordResyncFlags
	out     *output
	client  *resync.Client // nil: gaps stay
	sub     *subscriber.Subscriber
	src     *recordSource
	healing *healing // with a client
	served  *refillServer
}

// open puts a recording together, and serves it. A tape that is gone on with is
// healed from where it ends.
func (r *recording) open(cfg subscriber.Config, rec *recorder.Recorder) (err error) {
	r.src.Recorder = rec
	var h subscriber.Handler
	if r.client != nil {
		start := resync.Start{Positions: lastPositions(resyncSpans(rec.Extents()))}
		if r.healing, err = r.flags.heal.heal(r.client, len(cfg.Endpoints), start, rec, r.out); err != nil {
			return err
		}
		r.healing.ledger.ends = &r.src.endBook
		h = r.healing
		if len(start.Positions) > 0 {
			r.out.remark("going on where the tape ends, and asking %v for what came since", r.flags.heal.servers)
		}
	} else {
		l := newLedger(len(cfg.Endpoints), rec)
		l.ends, h = &r.src.endBook, l
	}
	if r.sub, err = subscriber.New(cfg, h); err != nil {
		return err
	}
	r.served.start()
	return nil
}

// lastPositions are the ends of what there is: per shard of the last epoch that it
// has anything of.
func lastPositions(extents []resync.Span) []resync.Span {
	var list []resync.Span
	last := map[int]int{}
	for _, s := range extents {
		i, ok := last[s.Shard]
		if !ok {
			i = len(list)
			last[s.Shard] = i
			list = append(list, resync.Span{})
		}
		list[i] = resync.Span{Epoch: s.Epoch, Shard: s.Shard, To: s.To}
	}
	return list
}

// run records until the stream has ended and is as whole as it can be.
func (r *recording) run(ctx context.Context) error {
	if r.healing == nil {
		return r.sub.Run(ctx)
	}
	return r.healing.receive(ctx, r.sub.Run)
}

// outcome is what has been recorded so far, and why that is not complete.
func (r *recording) outcome() (subscriber.Summary, *healSummary, string) {
	in := r.sub.Summary()
	if r.healing == nil {
		return in, nil, in.Why()
	}
	return r.healing.outcome(in)
}

// close goes on serving for a while, where the stream has ended, and lets go of the
// recording. The tape is closed by then.
func (r *recording) close(ctx context.Context) (*serveSummary, error) {
	r.served.stay(ctx)
	sum, err := r.served.stop()
	return sum, errors.Join(err, r.src.Recorder.Close())
}

// abandon lets go of a recording that has not begun.
func (r *recording) abandon() error {
	_, err := r.served.stop()
	if r.src.Recorder != nil {
		err = errors.Join(err, r.src.Recorder.Close())
	}
	return err
}
