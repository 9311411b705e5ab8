package bench

import (
	"context"
	"errors"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// A run whose circumstances change in the middle says so in the records
// themselves: each record's kind is its phase.
const (
	kindWarm   = wire.KindData  // measured by nobody
	kindBefore = wire.KindQuote // before the change
	kindAfter  = wire.KindTrade // after it
)

// phaseCount is how many phases are measured.
const phaseCount = 2

// phases measures each record from its event time to the handler's visit, phase by
// phase. It takes one shard.
type phases struct {
	records uint64
	hists   [phaseCount]*hdrhistogram.Histogram
}

func newPhases() *phases {
	return &phases{hists: [phaseCount]*hdrhistogram.Histogram{newHistogram(), newHistogram()}}
}

// HandleBatch implements subscriber.Handler.
func (p *phases) HandleBatch(b *wire.Batch, skip uint32) error {
	w := b.Records()
	for w.Next() {
		if skip > 0 {
			skip--
			continue
		}
		r := w.Record()
		p.records++
		late := min(max(time.Now().UnixNano()-int64(r.Event()), 1), latencyMax)
		switch r.Kind() {
		case kindBefore:
			_ = p.hists[0].RecordValue(late)
		case kindAfter:
			_ = p.hists[1].RecordValue(late)
		}
	}
	return w.Err()
}

// HandleGap implements subscriber.Handler.
func (*phases) HandleGap(int, wire.Epoch, wire.Seq, wire.Seq) {}

// HandleSession implements subscriber.Handler.
func (*phases) HandleSession(int, wire.Epoch, *wire.Session) {}

// HandleEnd implements subscriber.Handler.
func (*phases) HandleEnd(int, wire.Epoch, bool) {}

// phasedSubscriber subscribes and measures each phase.
func phasedSubscriber(ctx context.Context, job *Job, say func(ready) error) (r Result, err error) {
	p := newPhases()
	sub, err := subscriber.New(subscriber.Config{Endpoints: job.Endpoints, Name: job.Name}, p)
	if err != nil {
		return r, err
	}
	if err := say(ready{}); err != nil {
		return r, err
	}
	err = sub.Run(ctx)
	s := sub.Summary()
	r = Result{Records: s.Records, Bytes: s.Bytes, Batches: s.Batches, Gaps: s.Gaps, Lost: s.Lost, Complete: s.Complete}
	for _, h := range p.hists {
		encoded, encErr := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		r.Phases, err = append(r.Phases, encoded), errors.Join(err, encErr)
	}
	return r, err
}
