package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/recorder"
	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/subscriber"
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

// check finds mistakes before a tape is made.
func (f *recordResyncFlags) check(cmd *cobra.Command) (client *resync.Client, serve resync.ServerConfig, err error) {
	if client, err = f.heal.client(); err != nil {
		return nil, serve, err
	}
	serve, err = f.serve.config(cmd)
	return client, serve, err
}

// recording is a subscriber that records, with what fills its gaps and serves
// others'.
type recording struct {
	sub     *subscriber.Subscriber
	rec     *recorder.Recorder
	healing *healing // nil: gaps stay
	served  *refillServer
}

// open puts a recording together. A tape that is gone on with is healed from where
// it ends.
func (f *recordResyncFlags) open(cfg subscriber.Config, rec *recorder.Recorder, client *resync.Client, serve resync.ServerConfig, out *output) (*recording, error) {
	var (
		r    = &recording{rec: rec}
		book = &endBook{}
		h    subscriber.Handler
		err  error
	)
	if client != nil {
		start := resync.Start{Positions: lastPositions(resyncSpans(rec.Extents()))}
		if r.healing, err = f.heal.heal(client, len(cfg.Endpoints), start, rec, out); err != nil {
			return nil, err
		}
		r.healing.ledger.ends = book
		h = r.healing
		if len(start.Positions) > 0 {
			out.remark("going on where the tape ends, and asking %v for what came since", f.heal.servers)
		}
	} else {
		l := newLedger(len(cfg.Endpoints), rec)
		l.ends, h = book, l
	}
	if r.sub, err = subscriber.New(cfg, h); err != nil {
		return nil, err
	}
	serve.Refills = endedRefills{refills{rec}, book}
	serve.Snapshots = &tapeSnapshots{open: rec.Tape}
	r.served, err = f.serve.serve(serve, out)
	return r, err
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
	return sum, errors.Join(err, r.rec.Close())
}
