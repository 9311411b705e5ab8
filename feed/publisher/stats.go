package publisher

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/feed/publisher/faults"
	"github.com/tapedeck/tapedeck/internal/latency"
	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/wire"
)

// Stats are what a publisher counted.
type Stats struct {
	Records  uint64
	Batches  uint64
	Bytes    uint64        // payload and order, once however many readers there are
	Referred uint64        // batches that went out as references, alone or beside their bytes
	Notices  uint64        // that went out
	Unsaid   uint64        // notices that were dropped for want of room
	Stalled  time.Duration // lossless: time spent waiting for the slowest reader, all shards together
	Awaited  time.Duration // in lock-step: time spent waiting until readers had handled what was sent
	Faults   faults.Counts // that were carried out
	Waiting  int           // shards that wait for their slowest reader now
	Lent     int64         // bytes of the caller that libzmq holds now, sent or to be sent
	Reports  uint64        // that readers made of themselves
	Unlisted uint64        // connections and reports that ReaderList leaves out: it is full, or who reported is not on it
	Foreign  uint64        // frames from peers that are no subscriptions
	Refused  uint64        // subscriptions whose reader signal made no sense
	Excess   uint64        // subscriptions beyond what one connection may have; it was ended
	Joined   int           // readers that said they receive on at least one shard
	Left     int           // readers that went before the end
	Finished int           // readers that confirmed the end on every shard
}

// counters are a shard's numbers. Whoever holds the shard writes them, and now and
// then shows them to everybody else: whoever sends holds it for as long as the slowest
// reader takes, and that is when somebody wants to know. So counting costs a batch
// nothing, and what is seen without the shard is a moment old.
type counters struct {
	Stats // guarded by the shard's lock; nothing about readers, nor how long it waits

	// stalled is the time spent waiting, ns; while the shard waits, that less the
	// moment since when, by steady, which is much the greater. So one number says
	// both, and who reads it sees time go on only.
	stalled atomic.Int64

	mu    sync.Mutex // a leaf: nothing is locked within
	shown Stats
}

// stall begins to count time as waited for the slowest reader. It reports false where
// that is counted already.
func (c *counters) stall(now wire.Nanos) bool {
	before := c.stalled.Load()
	if before < 0 {
		return false
	}
	c.stalled.Store(before - int64(now))
	return true
}

// unstall ends what stall began.
func (c *counters) unstall(now wire.Nanos) { c.stalled.Add(int64(now)) }

// show shows the shard's numbers. The shard is held.
func (s *shard) show() {
	s.count.mu.Lock()
	s.count.shown = s.count.Stats
	s.count.shown.Lent = int64(s.lentBytes)
	s.count.mu.Unlock()
}

// addTo adds what was shown last.
func (c *counters) addTo(st *Stats, now func() wire.Nanos) {
	c.mu.Lock()
	o := c.shown
	c.mu.Unlock()
	st.Records += o.Records
	st.Batches += o.Batches
	st.Bytes += o.Bytes
	st.Referred += o.Referred
	st.Notices += o.Notices
	st.Reports += o.Reports
	st.Foreign += o.Foreign
	st.Refused += o.Refused
	st.Excess += o.Excess
	st.Lent += o.Lent
	stalled := c.stalled.Load()
	if stalled < 0 {
		st.Waiting++
		stalled = max(stalled+int64(now()), 0)
	}
	st.Stalled += time.Duration(stalled)
}

// Stats returns what was counted so far. Any goroutine may call it, until Close; it
// waits for no reader. What a shard has counted that is being sent to at the moment is
// up to 20 ms old.
func (p *Publisher) Stats() Stats {
	var st Stats
	for _, s := range p.shards {
		if s.mu.TryLock() {
			s.show() // also: what was seen once is not seen with less later
			s.mu.Unlock()
		}
		s.count.addTo(&st, p.steady)
		if s.line != nil {
			s.line.count.addTo(&st.Faults)
		}
	}
	st.Awaited, _ = p.barrier.times()
	st.Unsaid = p.notices.dropped.Load()
	left := p.registry.Counts()
	st.Unlisted = left.Refused + left.Unknown
	st.Joined, st.Left, st.Finished = p.readers.counts()
	return st
}

// Totals returns how the readers fare, all together. Any goroutine may call it.
func (p *Publisher) Totals() snail.Totals { return p.registry.Totals() }

// JoinTimes counts how long it took readers to be there: from the first shard that one
// said it receives on to the last.
func (p *Publisher) JoinTimes() *latency.Histogram { return &p.readers.joins }
