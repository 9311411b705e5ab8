package bench

import (
	"context"
	"errors"

	"github.com/tapedeck/tapedeck/lvc"
	"github.com/tapedeck/tapedeck/subscriber"
)

// lvcProxy serves the stream's last values as tapedeck lvc does, until the stream
// has ended and the measuring process says that nobody needs it any more.
func lvcProxy(ctx context.Context, job *Job, say func(ready) error) (res Result, err error) {
	p, err := lvc.New(lvc.Config{Plain: wildcards(1), Shards: len(job.Endpoints)})
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	sub, err := subscriber.New(subscriber.Config{Endpoints: job.Endpoints, Name: "lvc"}, p)
	if err != nil {
		return res, err
	}
	if err := say(ready{Endpoints: p.Endpoints()}); err != nil {
		return res, err
	}
	ctx, stop := context.WithCancel(ctx)
	upkeep := make(chan error, 1)
	go func() { upkeep <- p.Run(ctx) }()
	defer func() {
		stop()
		if ended := <-upkeep; !errors.Is(ended, context.Canceled) {
			err = errors.Join(err, ended)
		}
	}()
	err = sub.Run(ctx)
	s := sub.Summary()
	res = Result{Records: s.Records, Bytes: s.Bytes, Batches: s.Batches, Gaps: s.Gaps, Lost: s.Lost, Complete: s.Complete, Dropped: p.Stats().Dropped}
	if err != nil {
		return res, err
	}
	return res, job.waitCue()
}
