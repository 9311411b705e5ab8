package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/majordomo"
)

// slots are stretches of time that take turns: without, with, without, and so on,
// from a moment that everybody is told.
type slots struct {
	start  int64         // wall clock, ns
	length time.Duration // of each
	rounds int           // of two slots
}

// waitSlots waits, in the worker, for the moment.
func (job *Job) waitSlots() (slots, error) {
	s := slots{length: time.Duration(job.Bus.Slot * float64(time.Second)), rounds: job.Bus.Rounds}
	_, err := fmt.Fscanln(job.in, &s.start)
	return s, err
}

// tellSlots tells a worker the moment.
func (w *worker) tellSlots(s slots) error {
	_, err := fmt.Fprintln(w.in, s.start)
	return err
}

// end is the wall clock after the last slot, ns.
func (s *slots) end() int64 { return s.start + int64(s.length)*int64(2*s.rounds) }

// with is when the slot of a round begins in which there is something, as time.
func (s *slots) with(round int) time.Time {
	return time.Unix(0, s.start+int64(s.length)*int64(2*round+1))
}

// settle is the part of a slot, at its beginning, that still shows the one before:
// one of so many.
const settle = 5

// slot is the number of the slot that a moment belongs to: even without, odd with,
// -1 none.
func (s *slots) slot(ns int64) int {
	at := ns - s.start
	slot := at / int64(s.length)
	if at < 0 || slot >= int64(2*s.rounds) || at%int64(s.length) < int64(s.length)/settle {
		return -1
	}
	return int(slot)
}

// hammer asks a deck for its state in every slot with, at a rate or as often as it
// can.
func hammer(ctx context.Context, job *Job, say func(ready) error) (res Result, err error) {
	c, err := majordomo.NewClient(majordomo.ClientConfig{Endpoints: job.Endpoints})
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	h := &hammering{orders: &job.Bus, client: control.NewClient(c), hist: newHistogram()}
	if err := h.ask(ctx); err != nil { // it is connected then
		return res, errors.Join(err, say(ready{Error: err.Error()}))
	}
	if err := say(ready{}); err != nil {
		return res, err
	}
	s, err := job.waitSlots()
	if err != nil {
		return res, err
	}
	var all sync.WaitGroup
	errs := make([]error, job.Bus.AtOnce)
	for k := range errs {
		all.Go(func() { errs[k] = h.one(ctx, &s, k) })
	}
	all.Wait()
	res.Bus.Answers = h.answers
	encoded, encErr := h.hist.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	res.Histogram = encoded
	return res, errors.Join(append(errs, encErr)...)
}

// hammering is who hammers, with several at once.
type hammering struct {
	orders *busOrders
	client *control.Client

	mu      sync.Mutex
	answers uint64
	hist    *hdrhistogram.Histogram // from when a request was to be made to its reply, ns
}

func (h *hammering) ask(ctx context.Context) error {
	return h.client.Do(ctx, control.ServiceDeck, "state", nil, nil)
}

// one is one of those at once: number k. At a rate its requests are due at moments
// that do not depend on how it is answered.
func (h *hammering) one(ctx context.Context, s *slots, k int) error {
	for round := range s.rounds {
		begin := s.with(round)
		for n := 0; ; n++ {
			due := begin
			if h.orders.Rate > 0 {
				due = begin.Add(time.Duration(float64(k+n*h.orders.AtOnce) / h.orders.Rate * float64(time.Second)))
			}
			if due.Sub(begin) >= s.length || time.Since(begin) >= s.length {
				break
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(time.Until(due)):
			}
			if h.orders.Rate == 0 {
				due = time.Now()
			}
			if err := h.ask(ctx); err != nil {
				return err
			}
			h.note(time.Since(due))
		}
	}
	return nil
}

func (h *hammering) note(took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answers++
	_ = h.hist.RecordValue(min(max(int64(took), 1), latencyMax))
}
