package subscriber

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/wire"
)

// Conflated is a record that was handed over by conflation: the latest one of its
// topic. It is borrowed until return.
type Conflated struct {
	Shard  int
	Record wire.Record
	// Batch is the header of the batch that the record came in.
	Batch *wire.Header
	// Seq and Ordinal are the record's own.
	Seq     wire.Seq
	Ordinal wire.Ordinal
	// Skipped is how many records of the topic came since the one that was handed
	// over before and are not handed over.
	Skipped uint64
}

// ConflatedHandler is a Handler that wants to know what conflation does. Other
// Handlers get a batch of one record each time: its header says so, sequence,
// ordinal and checksum are right, and the rolling hash is 0.
type ConflatedHandler interface {
	// HandleConflated takes the latest record of a topic. An error ends the run.
	HandleConflated(c *Conflated) error
}

// ConflaterConfig is what a Conflater is made from. The zero value of a field
// means its default.
type ConflaterConfig struct {
	// Shards is how many the stream has. At least 1.
	Shards int
	// TopicsMax bounds the topics that are kept, BytesMax the memory, both per
	// shard. What does not fit is dropped and counted. Default 131,072 and 64 MiB.
	TopicsMax int
	BytesMax  int64
}

const (
	conflateTopicsDefault = 1 << 17
	conflateBytesDefault  = 64 << 20
	// settleMax is how many topics may wait for a receive loop to wait for them
	// when conflation ends.
	settleMax = 256
)

// Conflater stands between the receive loops and a Handler that may be too slow
// for the stream. Shard by shard it is in one of three states:
//
//	passing      the loop calls the next handler, as if nothing stood between
//	conflating   the loop copies records to a table with the latest one of each
//	             topic, and never waits; a goroutine of Run hands them over
//	settling     conflation shall end: as conflating, until nothing waits
//
// For one shard the next handler is never called concurrently, and a topic's
// records come in the order of the stream, none twice, whatever is switched when.
// Over topics the order of the stream is kept while passing only. What is told
// between records (gaps, sessions, ends, notices) keeps its place among them.
//
// A call of the next handler that is under way when conflation begins still holds
// up its loop until it returns.
type Conflater struct {
	next      Handler
	conflated ConflatedHandler // next, where it is one
	notices   NoticeHandler    // next, where it is one
	shards    []conflateShard

	done   chan struct{} // closed when Run has returned
	end    sync.Once
	failed error // why, set before
}

// errConflaterEnded: a shard is conflated and nobody hands over any more.
var errConflaterEnded = errors.New("subscriber: the conflater has ended")

type conflateState int32

const (
	passing conflateState = iota
	conflating
	settling
)

// conflateShard is one shard of a Conflater.
type conflateShard struct {
	all    *Conflater
	number int

	// state becomes passing only by the goroutine that hands over, when nothing
	// waits; from passing only by Conflate. The loop may then be in a call of the
	// next handler, but nothing waits before it has returned.
	state  atomic.Int32
	mu     sync.Mutex
	latest *latest       // under mu
	turned chan struct{} // under mu: closed, and replaced, when the state changes
	wake   chan struct{} // tells the goroutine that hands over to look

	batch wire.Batch // what plain handlers get; the goroutine's that hands over
	given Conflated  // the same for others

	passed, conflated, skipped, dropped atomic.Uint64
	untold, times                       atomic.Uint64
	_                                   [64]byte // keep neighbours off each other's cache line
}

// NewConflater checks cfg. No goroutine is started before Run.
func NewConflater(cfg ConflaterConfig, next Handler) (*Conflater, error) {
	if cfg.Shards < 1 {
		return nil, fmt.Errorf("subscriber: conflater of %d shards, want 1 or more", cfg.Shards)
	}
	if cfg.TopicsMax < 0 || cfg.BytesMax < 0 {
		return nil, errors.New("subscriber: a bound of the conflater is negative")
	}
	if cfg.TopicsMax == 0 {
		cfg.TopicsMax = conflateTopicsDefault
	}
	if cfg.BytesMax == 0 {
		cfg.BytesMax = conflateBytesDefault
	}
	c := &Conflater{next: next, shards: make([]conflateShard, cfg.Shards), done: make(chan struct{})}
	c.conflated, _ = next.(ConflatedHandler)
	c.notices, _ = next.(NoticeHandler)
	for i := range c.shards {
		s := &c.shards[i]
		s.all, s.number, s.latest = c, i, newLatest(cfg.TopicsMax, cfg.BytesMax)
		s.wake, s.turned = make(chan struct{}, 1), make(chan struct{})
	}
	return c, nil
}

// Conflate begins to conflate a shard, or lets it end: then the shard passes
// again as soon as what waits has been handed over. It may be called at any time,
// by anybody, and never waits.
func (c *Conflater) Conflate(shard int, on bool) {
	s := &c.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state := conflateState(s.state.Load()); {
	case on && state != conflating:
		if state == passing {
			s.times.Add(1)
		}
		s.turnLocked(conflating)
	case !on && state == conflating:
		s.turnLocked(settling)
		signal(s.wake)
	}
}

// Conflating reports whether records of the shard are handed over by conflation.
func (c *Conflater) Conflating(shard int) bool {
	return conflateState(c.shards[shard].state.Load()) != passing
}

// Run hands over what is conflated, with a goroutine per shard. It blocks until
// the context ends, and returns nil then, or until the next handler fails. What
// still waits is not handed over: see Drain. It may be called once.
func (c *Conflater) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for i := range c.shards {
		wg.Go(func() {
			if err := c.shards[i].serve(ctx); err != nil {
				c.fail(err)
				cancel()
			}
		})
	}
	wg.Wait()
	c.fail(nil)
	return c.failed
}

func (c *Conflater) fail(err error) {
	c.end.Do(func() {
		c.failed = err
		close(c.done)
	})
}

// Drain ends the conflation of all shards and waits until nothing waits any more,
// for when the stream has ended, while Run still runs.
func (c *Conflater) Drain(ctx context.Context) error {
	for i := range c.shards {
		c.Conflate(i, false)
	}
	for i := range c.shards {
		for {
			turned, state := c.shards[i].look()
			if state == passing {
				break
			}
			select {
			case <-turned:
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-c.done:
				return c.ended()
			}
		}
	}
	return nil
}

// ended is what the loops are told once Run has returned.
func (c *Conflater) ended() error {
	if c.failed != nil {
		return c.failed
	}
	return errConflaterEnded
}

// ConflaterSummary is what a Conflater did. Every record that came is in one of
// the first four, or waits.
type ConflaterSummary struct {
	Passed    uint64 // records handed on as they came
	Conflated uint64 // records handed over as the latest of their topic
	Skipped   uint64 // records that were replaced by a later one of their topic
	Dropped   uint64 // records that there was no room for
	Untold    uint64 // gaps and the like that there was no room for
	Times     uint64 // times that a shard began to be conflated
	Waiting   int    // topics that wait to be handed over
}

// Summary returns what was done so far. It may be called while Run runs.
func (c *Conflater) Summary() ConflaterSummary {
	var sum ConflaterSummary
	for i := range c.shards {
		s := &c.shards[i]
		sum.Passed += s.passed.Load()
		sum.Times += s.times.Load()
		s.mu.Lock()
		sum.Conflated += s.conflated.Load()
		sum.Skipped += s.skipped.Load()
		sum.Dropped += s.dropped.Load()
		sum.Untold += s.untold.Load()
		sum.Waiting += s.latest.topics
		s.mu.Unlock()
	}
	return sum
}

// Skipped is how many records of a shard were not handed over so far: replaced by
// later ones of their topics, or dropped.
func (c *Conflater) Skipped(shard int) uint64 {
	return c.shards[shard].skipped.Load() + c.shards[shard].dropped.Load()
}

// HandleBatch implements Handler.
func (c *Conflater) HandleBatch(b *wire.Batch, skip uint32) error {
	s := &c.shards[b.Shard]
	if conflateState(s.state.Load()) != passing {
		if kept, err := s.keep(b, skip); kept || err != nil {
			return err
		}
	}
	s.passed.Add(uint64(b.Count - skip))
	return c.next.HandleBatch(b, skip)
}

// HandleGap implements Handler.
func (c *Conflater) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	c.shards[shard].tell(nil, func(wire.Record) { c.next.HandleGap(shard, epoch, from, to) })
}

// HandleSession implements Handler.
func (c *Conflater) HandleSession(shard int, epoch wire.Epoch, session *wire.Session) {
	c.shards[shard].tell(nil, func(wire.Record) { c.next.HandleSession(shard, epoch, session) })
}

// HandleEnd implements Handler.
func (c *Conflater) HandleEnd(shard int, epoch wire.Epoch, complete bool) {
	c.shards[shard].tell(nil, func(wire.Record) { c.next.HandleEnd(shard, epoch, complete) })
}

// HandleNotice implements NoticeHandler.
func (c *Conflater) HandleNotice(shard int, r wire.Record) {
	if c.notices != nil {
		c.shards[shard].tell(r, func(r wire.Record) { c.notices.HandleNotice(shard, r) })
	}
}
