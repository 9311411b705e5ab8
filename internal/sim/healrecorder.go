package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/wire"
)

// healRecorder is a process that keeps what it receives, on a disk that is synced now
// and then, and serves it with a resync.Server. It heals nothing: what it does not
// receive it does not have.
type healRecorder struct {
	run      *healRun
	p        *Process
	endpoint string
	feed     *feed
	log      []resync.Span // what it has, in the order in which it came
	synced   int           // of log
	runs     map[healShard][]resync.Span
	order    []healShard // of runs, in the order in which they came
	ends     map[healShard]wire.Seq
}

type healShard struct {
	epoch wire.Epoch
	shard int
}

func newHealRecorder(r *healRun, i int) *healRecorder {
	c := &healRecorder{run: r, endpoint: fmt.Sprintf("tcp://recorder%d", i), runs: map[healShard][]resync.Span{}, ends: map[healShard]wire.Seq{}}
	c.p = r.w.Process(fmt.Sprintf("recorder %d", i), c.boot)
	c.p.dark = c.forget
	r.publisher.attach(c.p, func(frames [][]byte) { c.feed.take(frames) })
	return c
}

func (c *healRecorder) boot() {
	w := c.run.w
	c.feed = newFeed(w, c.p.name, c.run.shards, c)
	c.p.Every(func() time.Duration { return w.Between(50*time.Millisecond, time.Second) }, func() { c.synced = len(c.log) })
	c.p.Every(func() time.Duration { return w.Between(time.Second, 60*time.Second) }, c.retain)
	server, err := resync.NewServer(resync.ServerConfig{Endpoints: []string{c.endpoint}, Context: c.p.Context(), Refills: c,
		ChunkBytes: one(w, 0, 4096), Rate: one(w, int64(0), 0, 50_000)})
	if err != nil {
		w.Fail("no server: %v", err)
	}
	c.p.Go(func() {
		err := server.Run(context.Background())
		w.Fail("the server has ended: %v", err)
	})
}

// forget is a loss of power: some of what was not synced is gone.
func (c *healRecorder) forget() {
	c.log = c.log[:c.synced+c.run.w.IntN(len(c.log)-c.synced+1)]
	c.synced = len(c.log)
	c.sort()
}

// retain removes what is oldest.
func (c *healRecorder) retain() {
	if n := c.run.w.IntN(len(c.log)/2 + 1); n > 0 && !c.run.calm && c.run.w.Chance(0.3) {
		c.run.w.Logf("%s: removes what is older than %+v", c.p.name, c.log[n])
		c.log = slices.Clone(c.log[n:])
		c.synced = max(c.synced-n, 0)
		c.sort()
	}
}

// HandleBatch implements subscriber.Handler.
func (c *healRecorder) HandleBatch(b *wire.Batch, skip uint32) error {
	at := healShard{b.Epoch, int(b.Shard)}
	end, _ := c.end(at)
	from := max(b.FirstSeq+wire.Seq(skip), end) // after a restart it may get again what it has
	if from < b.Next() {
		span := resync.Span{Epoch: b.Epoch, Shard: int(b.Shard), From: from, To: b.Next()}
		c.log = append(c.log, span)
		c.add(span)
	}
	return nil
}

// sort makes runs of the log.
func (c *healRecorder) sort() {
	clear(c.runs)
	c.order = nil
	for _, s := range c.log {
		c.add(s)
	}
}

func (c *healRecorder) add(s resync.Span) {
	at := healShard{s.Epoch, s.Shard}
	spans := c.runs[at]
	if n := len(spans); n > 0 && spans[n-1].To == s.From {
		spans[n-1].To = s.To
		return
	}
	if len(spans) == 0 {
		c.order = append(c.order, at)
	}
	c.runs[at] = append(spans, s)
}

// HandleGap implements subscriber.Handler.
func (c *healRecorder) HandleGap(int, wire.Epoch, wire.Seq, wire.Seq) {}

// HandleSession implements subscriber.Handler.
func (c *healRecorder) HandleSession(_ int, _ wire.Epoch, s *wire.Session) {}

// HandleMark implements subscriber.MarkHandler.
func (c *healRecorder) HandleMark(shard int, h *wire.Header) {
	if h.End() {
		c.ends[healShard{h.Epoch, shard}] = h.FirstSeq
	}
}

// HandleEnd implements subscriber.Handler.
func (c *healRecorder) HandleEnd(int, wire.Epoch, bool) {}

// end is where what it has of a shard ends.
func (c *healRecorder) end(at healShard) (end wire.Seq, any bool) {
	spans := c.runs[at]
	if len(spans) == 0 {
		return 0, false
	}
	return spans[len(spans)-1].To, true
}

// latest reports whether it has nothing of a later epoch of the shard.
func (c *healRecorder) latest(at healShard) bool {
	for i := len(c.order) - 1; i >= 0; i-- {
		if c.order[i].shard == at.shard {
			return c.order[i] == at
		}
	}
	return true
}

// has reports whether it has any of a span.
func (c *healRecorder) has(s resync.Span) bool { return c.from(s).Len() > 0 }

// from is the first run of what it has of a span.
func (c *healRecorder) from(s resync.Span) resync.Span {
	for _, r := range c.runs[healShard{s.Epoch, s.Shard}] {
		if r.To > s.From && r.From < s.To {
			return resync.Span{Epoch: s.Epoch, Shard: s.Shard, From: max(r.From, s.From), To: min(r.To, s.To)}
		}
	}
	return resync.Span{}
}

// Extents implements resync.Refills.
func (c *healRecorder) Extents() []resync.Span {
	var list []resync.Span
	for _, at := range c.order {
		list = append(list, c.runs[at]...)
	}
	slices.SortStableFunc(list, func(a, b resync.Span) int { return c.run.known[a.Epoch] - c.run.known[b.Epoch] })
	return list
}

// End implements resync.Ends.
func (c *healRecorder) End(epoch wire.Epoch, shard int) (wire.Seq, bool) {
	end, ok := c.ends[healShard{epoch, shard}]
	return end, ok
}

// Read implements resync.Refills.
func (c *healRecorder) Read(_ context.Context, epoch wire.Epoch, shard int, from, to wire.Seq, most int) (wire.Batch, func(), error) {
	at := healShard{epoch, shard}
	end, any := c.end(at)
	switch {
	case !any:
		return wire.Batch{}, nil, resync.ErrUnknownEpoch
	case c.run.w.bug == bugHealGone:
		return wire.Batch{}, nil, resync.ErrGone
	case from >= end && c.latest(at):
		return wire.Batch{}, nil, resync.ErrNotYet
	case !c.has(resync.Span{Epoch: epoch, Shard: shard, From: from, To: from + 1}):
		return wire.Batch{}, nil, resync.ErrGone
	}
	c.p.Sleep(c.run.w.Between(0, 5*time.Millisecond), nil)
	b := wire.Batch{Header: wire.Header{Epoch: epoch, Shard: uint16(shard), Shards: uint16(c.run.shards), FirstSeq: from, FirstOrdinal: wire.Ordinal(from)}}
	for seq, run := from, c.from(resync.Span{Epoch: epoch, Shard: shard, From: from, To: to}); run.From == from && seq < run.To; seq++ {
		which := seq
		if c.run.w.bug == bugHealRecord {
			which++
		}
		record := appendHealRecord(nil, epoch, shard, which)
		if most > 0 && len(b.Payload)+len(record) > most && b.Count > 0 {
			break
		}
		b.Payload = append(b.Payload, record...)
		b.Count++
	}
	if b.Count == 0 {
		return wire.Batch{}, nil, resync.ErrGone // removed a moment ago
	}
	b.PayloadSize, b.CRC = uint32(len(b.Payload)), wire.CRC(b.Payload, nil)
	return b, func() {}, nil
}

// Find implements resync.Refills: records have no times here, so everything is found.
func (c *healRecorder) Find(context.Context, wire.Nanos, string) ([]resync.Span, error) {
	list := c.Extents()
	slices.SortStableFunc(list, func(a, b resync.Span) int { return a.Shard - b.Shard })
	return list, nil
}
