package bench

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// resyncOrders is what recorders that serve refills, and their clients, are told.
type resyncOrders struct {
	// Of a recorder: where to record, what is to be expected, and what refills may
	// take.
	Tape   string  `json:"tape,omitempty"`
	Codec  string  `json:"codec,omitempty"`
	Rate   float64 `json:"rate,omitempty"`
	Size   int     `json:"size,omitempty"`
	Budget int64   `json:"budget,omitempty"`
	// Of a client: whom to ask, how many topics there are, and, where it is to ask
	// for records of sequences from 0 on, for which and for how long.
	Servers []string   `json:"servers,omitempty"`
	Topics  int        `json:"topics,omitempty"`
	Epoch   wire.Epoch `json:"epoch,omitempty"`
	To      wire.Seq   `json:"to,omitempty"`
	Seconds float64    `json:"seconds,omitempty"`
}

// resyncTally is what a reader found that was cut off, or asked for what was sent.
type resyncTally struct {
	Missing  uint64 `json:"missing"`  // records that never came
	Told     uint64 `json:"told"`     // ... as the handler was told
	Repeated uint64 `json:"repeated"` // records that came again, or after later ones
	Wrong    uint64 `json:"wrong"`    // records that are not what was sent at their sequence

	Servers  int    `json:"servers"`  // that could be asked
	GapSeen  int64  `json:"gap_seen"` // wall clock, ns: when the first gap showed in what came
	Whole    int64  `json:"whole"`    // ... when the first record after it came live
	Behind   uint64 `json:"behind"`   // times that records came late, by refill or after one
	Refilled uint64 `json:"refilled"` // records
	Requests uint64 `json:"requests"`
	HeldPeak int64  `json:"held_peak"` // bytes

	CPUSeconds float64 `json:"cpu_seconds"` // of a client that asked, meanwhile
}

// continuity checks that records come once, in order, and are what live publishes at
// their sequences.
type continuity struct {
	topics  [][]byte
	next    wire.Seq
	records uint64
	bytes   uint64
	resyncTally
}

func newContinuity(topics int) *continuity {
	c := &continuity{}
	for i := range topics {
		c.topics = append(c.topics, []byte(benchTopic(i)))
	}
	return c
}

func (c *continuity) take(b *wire.Batch, skip uint32) error {
	c.bytes += uint64(len(b.Payload))
	n := wire.Seq(len(c.topics))
	topic, round := b.FirstSeq%n, b.FirstSeq/n
	w := b.Records()
	for seq := b.FirstSeq; w.Next(); seq++ {
		switch {
		case seq < b.FirstSeq+wire.Seq(skip):
		case seq < c.next:
			c.Repeated++
		default:
			c.Missing += uint64(seq - c.next)
			c.next = seq + 1
			c.records++
			if r := w.Record(); r.TopicSeq() != uint32(round) || !bytes.Equal(r.Topic(), c.topics[topic]) {
				c.Wrong++
			}
		}
		if topic++; topic == n {
			topic, round = 0, round+1
		}
	}
	return w.Err()
}

// cutReader is the handler of a reader that is cut off: it checks what is delivered,
// and says when it is with the live stream again.
type cutReader struct {
	*continuity
	late bool // what was delivered last had not come live
	said bool
	say  func(ready) error
}

// HandleBatch implements subscriber.Handler.
func (c *cutReader) HandleBatch(b *wire.Batch, skip uint32) error {
	if err := c.take(b, skip); err != nil || !c.late {
		return err
	}
	c.late = false
	c.Behind++
	if c.said {
		return nil
	}
	c.said, c.Whole = true, time.Now().UnixNano()
	return c.say(ready{})
}

// HandleRefill implements resync.RefillHandler.
func (c *cutReader) HandleRefill(b *wire.Batch, skip uint32) error {
	c.late = true
	return c.take(b, skip)
}

// HandleGap implements subscriber.Handler.
func (c *cutReader) HandleGap(_ int, _ wire.Epoch, from, to wire.Seq) {
	c.Told += uint64(to - from)
	if c.late = true; c.GapSeen == 0 {
		c.GapSeen = time.Now().UnixNano()
	}
}

// HandleSession implements subscriber.Handler.
func (*cutReader) HandleSession(int, wire.Epoch, *wire.Session) {}

// HandleEnd implements subscriber.Handler.
func (*cutReader) HandleEnd(int, wire.Epoch, bool) {}

// gapClock is a Healer that notes when the first gap showed in what came.
type gapClock struct {
	*resync.Healer
	seen int64 // wall clock, ns
}

// HandleGap implements subscriber.Handler.
func (g *gapClock) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	if g.seen == 0 {
		g.seen = time.Now().UnixNano()
	}
	g.Healer.HandleGap(shard, epoch, from, to)
}

// healedSubscriber subscribes by a way that may be cut, heals what it misses where it
// has servers to ask, and says once when it is with the live stream again.
func healedSubscriber(ctx context.Context, job *Job, say func(ready) error) (res Result, err error) {
	c := &cutReader{continuity: newContinuity(job.Resync.Topics), say: say}
	c.Servers = len(job.Resync.Servers)
	cfg := subscriber.Config{Endpoints: job.Endpoints, Name: job.Name}
	var s subscriber.Summary
	if c.Servers == 0 {
		s, err = c.subscribe(ctx, cfg, c)
	} else {
		s, err = c.heal(ctx, cfg, job.Resync.Servers)
	}
	res = Result{Records: c.records, Bytes: c.bytes, Gaps: s.Gaps, Lost: s.Lost, Complete: s.Complete, Resync: c.resyncTally}
	return res, err
}

func (c *cutReader) subscribe(ctx context.Context, cfg subscriber.Config, h subscriber.Handler) (s subscriber.Summary, err error) {
	sub, err := subscriber.New(cfg, h)
	if err != nil {
		return s, err
	}
	if err := c.say(ready{}); err != nil {
		return s, err
	}
	err = sub.Run(ctx)
	return sub.Summary(), err
}

// heal subscribes with a Healer between, until nothing is missing at the end.
func (c *cutReader) heal(ctx context.Context, cfg subscriber.Config, servers []string) (s subscriber.Summary, err error) {
	client, err := resync.NewClient(resync.ClientConfig{Endpoints: servers})
	if err != nil {
		return s, err
	}
	healer, err := resync.NewHealer(resync.HealerConfig{Shards: len(cfg.Endpoints), Client: client}, c)
	if err != nil {
		return s, err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 2)
	for _, run := range []func(context.Context) error{client.Run, healer.Run} {
		go func() { ended <- run(ctx) }()
	}
	defer func() {
		stop()
		for range cap(ended) {
			if e := <-ended; !errors.Is(e, context.Canceled) {
				err = errors.Join(err, e)
			}
		}
	}()
	clock := &gapClock{Healer: healer}
	if s, err = c.subscribe(ctx, cfg, clock); err != nil {
		return s, err
	}
	err = healer.Settle(ctx)
	done := healer.Stats()
	c.GapSeen, c.Refilled, c.Requests, c.HeldPeak = clock.seen, done.Refilled, done.Requests, done.HeldPeak
	return s, err
}
