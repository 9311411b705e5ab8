package bench

import (
	"context"
	"errors"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// plainSubscriber is a reader that stands: it takes every record until the stream
// ends, and measures those of each phase. It says when it gets what comes, and again
// when it has had every topic.
func plainSubscriber(_ context.Context, job *Job, say func(ready) error) (res Result, err error) {
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, ctx.Close()) }()
	r, err := newPlainReader(ctx, job.Endpoints[0], job.Topics)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	// The topic that the source sends last at the beginning: whoever gets it gets
	// everything that comes after it, whatever the server is.
	if err := errors.Join(r.socket.Subscribe(""), r.socket.Subscribe(benchTopic(job.Topics-1)), say(ready{})); err != nil {
		return res, err
	}
	for _, stands := range []func() bool{
		func() bool { return r.topics[job.Topics-1].seen },
		func() bool { return r.seen == job.Topics },
	} {
		if err := r.until(stands); err != nil {
			return res, errors.Join(err, say(ready{Error: err.Error()}))
		}
		if err := say(ready{}); err != nil {
			return res, err
		}
	}
	hists := newPhases().hists
	if job.Latency {
		r.visit = func(k wire.Kind, event wire.Nanos) {
			switch k {
			case kindBefore:
				_ = hists[0].RecordValue(lateness(event))
			case kindAfter:
				_ = hists[1].RecordValue(lateness(event))
			}
		}
	}
	clock, err := r.follow(job.Progress, say)
	r.Reached = r.reached()
	res.Plain, res.Seconds, res.Complete = r.plainTally, clock.Seconds(), r.ended
	for _, h := range hists {
		encoded, encErr := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		res.Phases, err = append(res.Phases, encoded), errors.Join(err, encErr)
	}
	return res, err
}

// follow reads until the stream ends and says after each so many measured records
// that they have come. It returns the time between the first and the last of
// those.
func (r *plainReader) follow(progress uint64, say func(ready) error) (time.Duration, error) {
	var first, last time.Time
	for said := uint64(0); !r.ended; {
		if err := r.receive(); err != nil {
			return last.Sub(first), err
		}
		if r.measured == 0 {
			continue
		}
		last = time.Now()
		if first.IsZero() {
			first = last
		}
		for came := r.measured + r.Missing; progress > 0 && said+progress <= came; {
			said += progress
			if err := say(ready{Records: said}); err != nil {
				return last.Sub(first), err
			}
		}
	}
	return last.Sub(first), nil
}
