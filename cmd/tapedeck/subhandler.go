package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/internal/latency"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// subHandler visits every record of a stream, counts topics, measures lag, and
// prints what it is asked to.
type subHandler struct {
	out     *output
	print   bool
	told    bool    // somebody else tells people of gaps
	tallies []tally // of each shard, or of each worker

	mu        sync.Mutex
	encodings []wire.Encoding
	announced wire.Epoch
	deck      uint64 // version of the latest deck notice
}

// tally is what one receive loop or worker counts; no other goroutine touches it
// before that has ended.
type tally struct {
	all     *subHandler
	filter  *subscriber.Filter
	topics  map[string]uint64
	visited uint64
	first   time.Time
	last    time.Time
	lag     *latency.Histogram
	printer *recordPrinter
	_       [64]byte // keep neighbours off each other's cache line
}

func newSubHandler(out *output, tallies int, topics []string, print bool) *subHandler {
	h := &subHandler{out: out, print: print, tallies: make([]tally, tallies)}
	for i := range h.tallies {
		h.tallies[i] = tally{
			all: h, filter: subscriber.NewFilter(topics), topics: map[string]uint64{},
			lag: new(latency.Histogram),
		}
	}
	return h
}

// HandleBatch implements subscriber.Handler.
func (h *subHandler) HandleBatch(b *wire.Batch, skip uint32) error {
	s := subscriber.NewShare(b, skip)
	return h.tallies[b.Shard].visit(&s, true)
}

// HandleRefill implements resync.RefillHandler: what was asked for is late by
// nature, and says nothing about lag.
func (h *subHandler) HandleRefill(b *wire.Batch, skip uint32) error {
	s := subscriber.NewShare(b, skip)
	return h.tallies[b.Shard].visit(&s, false)
}

func (t *tally) visit(s *subscriber.Share, live bool) error {
	now := time.Now()
	if t.visited == 0 {
		t.first = now
	}
	t.last = now
	if live {
		t.late(now, &s.Batch().Header, s.Len())
	}
	w, all := s.Records(), t.filter.All()
	for w.Next() {
		r := w.Record()
		if !all && !t.filter.Match(r.Topic()) {
			continue
		}
		t.topics[string(r.Topic())]++
		t.visited++
		if t.all.print {
			if err := t.printRecord(r, 0); err != nil {
				return err
			}
		}
	}
	if t.all.print && t.printer != nil {
		// People watch this: a batch is shown when it is there.
		if err := t.all.out.flush(); err != nil {
			return err
		}
	}
	return w.Err()
}

// late counts lag in records: a batch of many late records weighs more. What was
// refilled may not say when it was sent.
func (t *tally) late(now time.Time, h *wire.Header, records int) {
	if h.Send == 0 {
		return
	}
	t.lag.RecordN(max(now.UnixNano()-int64(h.Send), 1), uint64(records))
}

// printRecord prints a record, before which so many of its topic were skipped.
func (t *tally) printRecord(r wire.Record, skipped uint64) error {
	h := t.all
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.printer == nil {
		t.printer = newRecordPrinter(h.out, h.encodings)
	}
	return t.printer.printAfter(skipped, r)
}

// HandleGap implements subscriber.Handler.
func (h *subHandler) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	_ = h.out.message("sub.gap", struct {
		Shard int        `json:"shard"`
		Epoch wire.Epoch `json:"epoch"`
		From  wire.Seq   `json:"from"`
		To    wire.Seq   `json:"to"`
		Lost  uint64     `json:"lost"`
	}{shard, epoch, from, to, uint64(to - from)}, "")
	if h.told {
		return
	}
	h.out.remark("gap on shard %d: sequences [%d, %d) are missing, %d records", shard, from, to, to-from)
}

// HandleSession implements subscriber.Handler.
func (h *subHandler) HandleSession(_ int, epoch wire.Epoch, s *wire.Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.announced == epoch {
		return
	}
	h.announced, h.encodings = epoch, s.Encodings
	_ = h.out.message("sub.session", struct {
		Epoch wire.Epoch `json:"epoch"`
		*wire.Session
	}{epoch, s}, "")
}

// HandleEnd implements subscriber.Handler.
func (h *subHandler) HandleEnd(shard int, epoch wire.Epoch, complete bool) {
	_ = h.out.message("sub.end", struct {
		Shard    int        `json:"shard"`
		Epoch    wire.Epoch `json:"epoch"`
		Complete bool       `json:"complete"`
	}{shard, epoch, complete}, "")
}

// subSummary is the last line of sub.
type subSummary struct {
	Records   uint64  `json:"records"`
	Topics    int     `json:"topics"`
	Gaps      uint64  `json:"gaps"`
	Lost      uint64  `json:"lost"`
	Repeated  uint64  `json:"repeated"`
	Refused   uint64  `json:"refused"`
	Corrupt   uint64  `json:"corrupt"`
	Epochs    uint64  `json:"epochs"`
	Broken    uint64  `json:"broken"`
	Diverged  uint64  `json:"diverged"`
	Early     bool    `json:"early"`
	Ended     bool    `json:"ended"`
	Complete  bool    `json:"complete"`
	Visited   uint64  `json:"visited"`
	Batches   uint64  `json:"batches"`
	Bytes     uint64  `json:"bytes"`
	Referred  uint64  `json:"referred_batches"`
	Fallbacks uint64  `json:"fallbacks"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"records_per_second"`
	LagP50    int64   `json:"lag_p50_ns"`
	LagP99    int64   `json:"lag_p99_ns"`
	LagMax    int64   `json:"lag_max_ns"`

	Dispatch   string          `json:"dispatch,omitempty"`
	Workers    []workerSummary `json:"workers,omitempty"`
	Discarded  uint64          `json:"discarded_batches"`
	PoolWaits  uint64          `json:"pool_waits"`
	PoolWaited int64           `json:"pool_waited_ns"`

	Policy *policySummary `json:"policy,omitempty"`
	Resync *healSummary   `json:"resync,omitempty"`

	why string // what keeps it from being complete
}

// summary joins what the loops counted. The loops must have ended.
func (h *subHandler) summary(s subscriber.Summary) *subSummary {
	sum := &subSummary{
		Records: s.Records, Gaps: s.Gaps, Lost: s.Lost, Repeated: s.Repeated, Refused: s.Refused,
		Corrupt: s.Corrupt, Epochs: s.Epochs, Broken: s.Broken, Diverged: s.Diverged, Early: s.Early, Ended: s.Ended, Complete: s.Complete,
		Batches: s.Batches, Bytes: s.Bytes, Referred: s.Referred, Fallbacks: s.Fallbacks, why: s.Why(),
	}
	var first, last time.Time
	topics := map[string]bool{} // workers that are alike see the same ones
	for i := range h.tallies {
		t := &h.tallies[i]
		for topic := range t.topics {
			topics[topic] = true
		}
		sum.Visited += t.visited
		if t.visited > 0 && (first.IsZero() || t.first.Before(first)) {
			first = t.first
		}
		if t.last.After(last) {
			last = t.last
		}
	}
	sum.Topics = len(topics)
	if d := last.Sub(first).Seconds(); d > 0 {
		sum.Seconds, sum.PerSecond = d, float64(sum.Records)/d
	}
	if lag := latency.Merge(h.lags()...); lag.TotalCount() > 0 {
		sum.LagP50, sum.LagP99, sum.LagMax = lag.ValueAtQuantile(50), lag.ValueAtQuantile(99), lag.Max()
	}
	return sum
}

func (s *subSummary) text() string {
	state := "complete"
	if !s.Complete {
		state = "NOT COMPLETE: " + s.why
	}
	return fmt.Sprintf("%s records, %s, %d gaps, %s records/s, lag p50 %v p99 %v: %s",
		thousands(s.Records), count(uint64(s.Topics), "topic"), s.Gaps, thousands(uint64(s.PerSecond)),
		time.Duration(s.LagP50).Round(time.Microsecond), time.Duration(s.LagP99).Round(time.Microsecond), state) + s.Resync.text() + s.Policy.text()
}
