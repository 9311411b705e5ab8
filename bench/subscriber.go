package bench

import (
	"context"
	"errors"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// latencyMax bounds what latency histograms hold, ns.
const latencyMax = int64(time.Minute)

// newHistogram returns a histogram of times from 1 ns to a minute at three
// digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, latencyMax, 3) }

// visitor visits every record: it reads topic and body of each, as a handler
// would.
type visitor struct {
	shards  []visit
	latency bool
}

type visit struct {
	records     uint64
	touched     uint64 // sum over what was read, so that reading is not left out
	first, last time.Time
	hist        *hdrhistogram.Histogram
	_           [64]byte
}

func newVisitor(shards int, latency bool) *visitor {
	v := &visitor{shards: make([]visit, shards), latency: latency}
	for i := range v.shards {
		v.shards[i].hist = newHistogram()
	}
	return v
}

// HandleBatch implements subscriber.Handler.
func (v *visitor) HandleBatch(b *wire.Batch, skip uint32) error {
	s := &v.shards[b.Shard]
	now := time.Now()
	if s.records == 0 {
		s.first = now
	}
	w := b.Records()
	for w.Next() {
		r := w.Record()
		body := r.Body()
		s.touched += uint64(r.Topic()[0]) + uint64(len(body))
		if len(body) > 0 {
			s.touched += uint64(body[0])
		}
		if v.latency {
			// A latency run stamps each record with its intended send time.
			late := time.Now().UnixNano() - int64(r.Event())
			_ = s.hist.RecordValue(min(max(late, 1), latencyMax))
		}
		s.records++
	}
	s.records -= uint64(skip)
	s.last = time.Now()
	return w.Err()
}

// HandleGap implements subscriber.Handler.
func (*visitor) HandleGap(int, wire.Epoch, wire.Seq, wire.Seq) {}

// HandleSession implements subscriber.Handler.
func (*visitor) HandleSession(int, wire.Epoch, *wire.Session) {}

// HandleEnd implements subscriber.Handler.
func (*visitor) HandleEnd(int, wire.Epoch, bool) {}

// subscriberWorker subscribes and visits every record.
func subscriberWorker(ctx context.Context, job *Job, say func(ready) error) (Result, error) {
	v := newVisitor(len(job.Endpoints), job.Latency)
	cfg := subscriber.Config{Endpoints: job.Endpoints, Name: job.Name, IOCPUs: job.IOCPUs, ReceiveCPUs: job.LoopCPUs}
	if job.ByReference {
		cfg.OpenTape = func(id string, at wire.TapePlace) (subscriber.Referred, error) { return tape.OpenReferences(id, at) }
	}
	sub, err := subscriber.New(cfg, v)
	if err != nil {
		return Result{}, err
	}
	if err := say(ready{}); err != nil {
		return Result{}, err
	}
	err = sub.Run(ctx)
	return v.result(sub.Summary(), err)
}

func (v *visitor) result(s subscriber.Summary, err error) (Result, error) {
	r := Result{Records: s.Records, Bytes: s.Bytes, Gaps: s.Gaps, Complete: s.Complete,
		Batches: s.Batches, Referred: s.Referred, Fallbacks: s.Fallbacks}
	var first, last time.Time
	hist := newHistogram()
	for i := range v.shards {
		t := &v.shards[i]
		if t.records == 0 {
			continue
		}
		if first.IsZero() || t.first.Before(first) {
			first = t.first
		}
		if t.last.After(last) {
			last = t.last
		}
		hist.Merge(t.hist)
	}
	r.Seconds = last.Sub(first).Seconds()
	if v.latency {
		encoded, encErr := hist.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		r.Histogram, err = encoded, errors.Join(err, encErr)
	}
	return r, err
}
