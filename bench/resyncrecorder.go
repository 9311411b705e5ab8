package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/recorder"
	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// recorderRefills is a recorder as a resync server reads it.
type recorderRefills struct{ *recorder.Recorder }

// Extents implements resync.Refills.
func (r recorderRefills) Extents() []resync.Span { return resyncSpans(r.Recorder.Extents()) }

// Read implements resync.Refills.
func (r recorderRefills) Read(ctx context.Context, epoch wire.Epoch, shard int, from, to wire.Seq, most int) (wire.Batch, func(), error) {
	b, release, err := r.Recorder.Read(ctx, epoch, shard, from, to, most)
	for _, same := range [][2]error{
		{tape.ErrUnknownEpoch, resync.ErrUnknownEpoch}, {tape.ErrGone, resync.ErrGone}, {tape.ErrNotYet, resync.ErrNotYet},
	} {
		if errors.Is(err, same[0]) {
			err = fmt.Errorf("%w: %w", same[1], err)
		}
	}
	return b, release, err
}

// Find implements resync.Refills.
func (r recorderRefills) Find(ctx context.Context, t wire.Nanos, clock string) ([]resync.Span, error) {
	spans, err := r.Recorder.Find(ctx, t, clock)
	return resyncSpans(spans), err
}

func resyncSpans(list []tape.SeqSpan) []resync.Span {
	spans := make([]resync.Span, 0, len(list))
	for _, s := range list {
		spans = append(spans, resync.Span(s))
	}
	return spans
}

// countedRecorder is a recorder that says, up to a count, after each so many records
// that it has them.
type countedRecorder struct {
	*recorder.Recorder
	records, said   uint64
	progress, count uint64
	say             func(ready) error
}

// HandleBatch implements subscriber.Handler.
func (c *countedRecorder) HandleBatch(b *wire.Batch, skip uint32) error {
	if err := c.Recorder.HandleBatch(b, skip); err != nil {
		return err
	}
	c.records += uint64(b.Count - skip)
	for c.said < c.count && c.said+c.progress <= c.records {
		c.said += c.progress
		if err := c.say(ready{Records: c.said}); err != nil {
			return err
		}
	}
	return nil
}

// refillRecorder records and serves what it has recorded, until the stream has ended
// and the measuring process says that nobody needs it any more.
func refillRecorder(ctx context.Context, job *Job, say func(ready) error) (res Result, err error) {
	o := &job.Resync
	codec, err := tape.ParseCodec(o.Codec)
	if err != nil {
		return res, err
	}
	w, err := tape.Create(o.Tape, tape.Config{Shards: len(job.Endpoints), Codec: codec})
	if err != nil {
		return res, err
	}
	rec := &countedRecorder{Recorder: recorder.New(w), progress: job.Progress, count: job.Count, say: say}
	defer func() { err = errors.Join(err, rec.Err(), rec.Close(), w.Close()) }()
	server, err := resync.NewServer(resync.ServerConfig{Endpoints: wildcards(1), Refills: recorderRefills{rec.Recorder}, Rate: o.Budget})
	if err != nil {
		return res, err
	}
	ctx, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- server.Run(ctx) }()
	defer func() {
		stop()
		err = errors.Join(err, <-served, server.Close())
	}()
	cfg := subscriber.Config{Endpoints: job.Endpoints, Name: job.Name}
	cfg.QueueBytes, cfg.BatchBytes = subscriber.Expect{RecordsPerSecond: o.Rate, BodyBytes: o.Size, Stall: time.Second}.Queue(len(job.Endpoints))
	sub, err := subscriber.New(cfg, rec)
	if err != nil {
		return res, err
	}
	if err := say(ready{Endpoints: server.Endpoints()}); err != nil {
		return res, err
	}
	err = sub.Run(ctx)
	s := sub.Summary()
	res = Result{Records: s.Records, Bytes: s.Bytes, Batches: s.Batches, Gaps: s.Gaps, Lost: s.Lost, Complete: s.Complete}
	if err != nil {
		return res, err
	}
	return res, job.waitCue()
}
