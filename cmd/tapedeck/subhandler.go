package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapedeck/tapedeck/internal/prefix"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// subHandler visits every record of a stream, counts topics, measures lag, and
// prints what it is asked to.
type subHandler struct {
	out    *output
	filter prefix.Set
	print  bool
	shards []shardTally

	mu        sync.Mutex
	encodings []wire.Encoding
	announced wire.Epoch
}

// shardTally is what one receive loop counts; no other goroutine touches it
// before the loop has ended.
type shardTally struct {
	topics  map[string]uint64
	visited uint64
	first   time.Time
	last    time.Time
	lag     *hdrhistogram.Histogram
	printer *recordPrinter
	_       [64]byte // keep neighbours off each other's cache line
}

func newSubHandler(out *output, shards int, topics []string, print bool) *subHandler {
	h := &subHandler{out: out, filter: prefix.New(topics), print: print, shards: make([]shardTally, shards)}
	for i := range h.shards {
		h.shards[i].topics = map[string]uint64{}
		h.shards[i].lag = hdrhistogram.New(1, int64(time.Hour), 3)
	}
	return h
}

// HandleBatch implements subscriber.Handler.
func (h *subHandler) HandleBatch(b *wire.Batch, skip uint32) error {
	s := &h.shards[b.Shard]
	now := time.Now()
	if s.visited == 0 {
		s.first = now
	}
	s.last = now
	// Lag is counted in records: a batch of many late records weighs more.
	lag := min(max(now.UnixNano()-int64(b.Send), 1), int64(time.Hour))
	_ = s.lag.RecordValues(lag, int64(b.Count))
	w := b.Records()
	for w.Next() {
		if skip > 0 {
			skip--
			continue
		}
		r := w.Record()
		if !h.filter.Match(r.Topic()) {
			continue
		}
		s.topics[string(r.Topic())]++
		s.visited++
		if h.print {
			if err := h.printRecord(s, r); err != nil {
				return err
			}
		}
	}
	if h.print && s.printer != nil {
		// People watch this: a batch is shown when it is there.
		if err := h.out.flush(); err != nil {
			return err
		}
	}
	return w.Err()
}

func (h *subHandler) printRecord(s *shardTally, r wire.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.printer == nil {
		s.printer = newRecordPrinter(h.out, h.encodings)
	}
	return s.printer.print(r)
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

	why string // what keeps it from being complete
}

// summary joins what the loops counted. The loops must have ended.
func (h *subHandler) summary(s subscriber.Summary) *subSummary {
	sum := &subSummary{
		Records: s.Records, Gaps: s.Gaps, Lost: s.Lost, Repeated: s.Repeated, Refused: s.Refused,
		Corrupt: s.Corrupt, Epochs: s.Epochs, Broken: s.Broken, Diverged: s.Diverged, Early: s.Early, Ended: s.Ended, Complete: s.Complete,
		Batches: s.Batches, Bytes: s.Bytes, Referred: s.Referred, Fallbacks: s.Fallbacks, why: s.Why(),
	}
	lag := hdrhistogram.New(1, int64(time.Hour), 3)
	var first, last time.Time
	for i := range h.shards {
		t := &h.shards[i]
		sum.Topics += len(t.topics) // a topic is on one shard alone
		sum.Visited += t.visited
		lag.Merge(t.lag)
		if t.visited > 0 && (first.IsZero() || t.first.Before(first)) {
			first = t.first
		}
		if t.last.After(last) {
			last = t.last
		}
	}
	if d := last.Sub(first).Seconds(); d > 0 {
		sum.Seconds, sum.PerSecond = d, float64(sum.Records)/d
	}
	if lag.TotalCount() > 0 {
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
		time.Duration(s.LagP50).Round(time.Microsecond), time.Duration(s.LagP99).Round(time.Microsecond), state)
}
