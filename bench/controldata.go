package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// dataCases measure the records of a deck at a pace while its bus is hammered, by
// turns with nobody hammering.
func (cfg *ControlConfig) dataCases() []controlCase {
	var cases []controlCase
	for _, who := range []string{hammerNobody, hammerRate, hammerRateOther, hammerFull, hammerFullOther} {
		tl := newTally(Label{"case", caseData}, Label{"hammered", who}, Label{"rate", cfg.Rate})
		cases = append(cases, controlCase{"records, hammered: " + who, []*tally{tl}, func(ctx context.Context, env *Env) error {
			return env.withDir(func(dir string) error { return cfg.data(ctx, dir, who, tl) })
		}})
	}
	return cases
}

// How control is hammered.
const (
	hammerNobody = "by nobody" // how figures move by themselves
	hammerRate   = "at a rate"
	hammerFull   = "at full rate"
	// Another serve, which shares nothing with the deck but the machine.
	hammerRateOther = hammerRate + ", another serve"
	hammerFullOther = hammerFull + ", another serve"
)

// data plays a deck of serve to one reader, and hammers, by turns.
func (cfg *ControlConfig) data(ctx context.Context, dir, who string, tl *tally) (err error) {
	tape, err := cfg.servedTape(ctx, dir, cfg.Rate, 2*cfg.Slot*float64(cfg.Rounds)+dataAhead.Seconds()+2)
	if err != nil {
		return err
	}
	s, err := cfg.serve(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	clock := wallClock()
	if err := s.open(ctx, tape); err != nil {
		return err
	}
	hammered := s
	if who == hammerRateOther || who == hammerFullOther {
		other, err := cfg.serve(ctx, dir)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, other.close()) }()
		if err := other.open(ctx, tape); err != nil {
			return err
		}
		hammered = other
	}
	orders := busOrders{AtOnce: cfg.HammerAt, Slot: cfg.Slot, Rounds: cfg.Rounds, Clock: clock}
	if who == hammerRate || who == hammerRateOther {
		orders.Rate = cfg.HammerRate
	}
	var all []*worker
	defer func() {
		for _, w := range all {
			w.kill()
		}
	}()
	reader, err := startWorker(ctx, Job{Role: "deck-timed", Endpoints: s.deck.Shards, Bus: orders})
	if err != nil {
		return err
	}
	all = append(all, reader)
	if who != hammerNobody {
		w, err := startWorker(ctx, Job{Role: "hammer", Endpoints: []string{hammered.bus}, Bus: orders})
		if err != nil {
			return err
		}
		all = append(all, w)
	}
	return cfg.turns(ctx, s, &all, tl)
}

// dataAhead is from the beginning of play to that of the first slot.
const dataAhead = time.Second

// turns has the deck play for as long as there are slots. The reader is the first
// worker, who hammers the second, where there is one. It takes those out whose result
// it has.
func (cfg *ControlConfig) turns(ctx context.Context, s *serving, all *[]*worker, tl *tally) error {
	if err := s.awaitReaders(ctx, 1); err != nil {
		return err
	}
	if _, err := s.tell(ctx, "play", nil); err != nil {
		return err
	}
	sl := slots{time.Now().Add(dataAhead).UnixNano(), time.Duration(cfg.Slot * float64(time.Second)), cfg.Rounds}
	for _, w := range *all {
		if err := w.tellSlots(sl); err != nil {
			return err
		}
	}
	reader := (*all)[0]
	if len(*all) > 1 {
		r, err := (*all)[1].result()
		*all = (*all)[:1]
		if err != nil {
			return fmt.Errorf("hammer: %w", err)
		}
		h, err := hdrhistogram.Decode(r.Histogram)
		if err != nil {
			return err
		}
		tl.add("control_requests_per_second", float64(r.Bus.Answers)/(cfg.Slot*float64(cfg.Rounds)))
		tl.addHist("control_reply", h)
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Until(time.Unix(0, sl.end()))):
	}
	if _, err := s.tell(ctx, "stop", nil); err != nil {
		return err
	}
	r, err := reader.result()
	*all = nil
	if err != nil {
		return err
	}
	return addTurns(tl, &r)
}

// addTurns adds what a reader found with and without.
func addTurns(tl *tally, r *Result) error {
	if !r.Complete {
		return fmt.Errorf("bench: the reader lost %d records in %d gaps, or has not what was sent", r.Lost, r.Gaps)
	}
	var hists [phaseCount]*hdrhistogram.Histogram
	for i := range hists {
		h, err := hdrhistogram.Decode(r.Phases[i])
		if err != nil {
			return err
		}
		if h.TotalCount() == 0 {
			return errors.New("bench: no records in the slots")
		}
		hists[i] = h
		tl.addHist([]string{"without", "with"}[i], h)
	}
	for _, p := range percentiles[:4] {
		tl.add("with_to_without_"+p.name, float64(hists[1].ValueAtQuantile(p.q))/float64(max(hists[0].ValueAtQuantile(p.q), 1)))
	}
	// A machine that stops for a moment makes one slot a bad one, and the whole with it;
	// the median of the slots does not mind.
	for _, x := range []struct {
		name string
		of   [phaseCount][]float64
	}{{"p50", r.Bus.P50s}, {"p99", r.Bus.P99s}} {
		without, with := spread(x.of[0]).Median, spread(x.of[1]).Median
		tl.add("without_slot_"+x.name+"_ns", without)
		tl.add("with_slot_"+x.name+"_ns", with)
		tl.add("with_to_without_slot_"+x.name, with/max(without, 1))
	}
	return nil
}

// dueReader measures each record from its due moment, as the deck's schedule has it,
// to its visit, phase by phase. The deck plays at 1x, one shard, by the receive time:
// a batch says when its first record was due, and the others were due as much later as
// they were received later.
type dueReader struct {
	phases
	clock int64                 // what to add to the monotonic clock, ns
	slots atomic.Pointer[slots] // nil: not known yet
	each  slotHists
}

// slotHists are of each slot by itself.
type slotHists struct {
	now  int // slot of hist
	hist *hdrhistogram.Histogram
	p50s [phaseCount][]float64 // of the slots that are over, ns
	p99s [phaseCount][]float64
}

// record adds a record of a slot, which is of the phase that its number says.
func (h *slotHists) record(slot int, late int64) {
	if slot != h.now {
		h.end()
		h.now = slot
	}
	_ = h.hist.RecordValue(late)
}

// end ends a slot.
func (h *slotHists) end() {
	if h.hist.TotalCount() > 0 {
		phase := h.now % phaseCount
		h.p50s[phase] = append(h.p50s[phase], float64(h.hist.ValueAtQuantile(50)))
		h.p99s[phase] = append(h.p99s[phase], float64(h.hist.ValueAtQuantile(99)))
	}
	h.hist.Reset()
}

// late is how late a record is visited that was due at a time. A deck looks at the wall
// clock once, when it is opened, and goes on by the monotonic one, so that the wall
// clock may be adjusted meanwhile; and so does this.
func (d *dueReader) late(due wire.Nanos) int64 {
	return min(max(monotonic()+d.clock-int64(due), 1), latencyMax)
}

// monotonic is the clock that all processes of this machine share, ns.
func monotonic() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // it does not fail
	return ts.Nano()
}

// wallClock is how far the wall clock is ahead of the monotonic one, ns.
func wallClock() int64 { return time.Now().UnixNano() - monotonic() }

func newDueReader(clock int64) *dueReader {
	return &dueReader{phases: *newPhases(), clock: clock, each: slotHists{hist: newHistogram()}}
}

// HandleBatch implements subscriber.Handler.
func (d *dueReader) HandleBatch(b *wire.Batch, skip uint32) error {
	first, slots := wire.Nanos(0), d.slots.Load()
	w := b.Records()
	for n := uint32(0); w.Next(); n++ {
		r := w.Record()
		if n == 0 {
			first = r.Receive()
		}
		if n < skip || b.Due == 0 || slots == nil {
			continue // last values are not due at any time
		}
		due := b.Due + r.Receive() - first
		if slot := slots.slot(int64(due)); slot >= 0 {
			late := d.late(due)
			_ = d.hists[slot%phaseCount].RecordValue(late)
			d.each.record(slot, late)
		}
	}
	return w.Err()
}

// deckTimed is a reader that measures what it gets in the slots.
func deckTimed(ctx context.Context, job *Job, say func(ready) error) (r Result, err error) {
	d := newDueReader(job.Bus.Clock)
	sub, err := subscriber.New(subscriber.Config{Endpoints: job.Endpoints, Name: job.Name}, d)
	if err != nil {
		return r, err
	}
	if err := say(ready{}); err != nil {
		return r, err
	}
	told := meanwhile(func() error {
		s, err := job.waitSlots()
		d.slots.Store(&s)
		return err
	})
	err = errors.Join(sub.Run(ctx), <-told)
	s := sub.Summary()
	r = Result{Records: s.Records, Bytes: s.Bytes, Batches: s.Batches, Gaps: s.Gaps, Lost: s.Lost, Complete: whole(&s)}
	d.each.end()
	r.Bus.P50s, r.Bus.P99s = d.each.p50s, d.each.p99s
	for _, h := range d.hists {
		encoded, encErr := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		r.Phases, err = append(r.Phases, encoded), errors.Join(err, encErr)
	}
	return r, err
}
