package resync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/internal/latency"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// Handler takes what a Healer delivers: subscriber.Handler's methods. For one shard
// they are never called concurrently, but from changing goroutines.
type Handler interface {
	// HandleBatch takes a batch of records, borrowed until return. The first skip
	// records have been delivered before. An error ends the run.
	HandleBatch(b *wire.Batch, skip uint32) error
	// HandleGap takes note that the sequences [from, to) are given up.
	HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq)
	// HandleSession takes the description of a session.
	HandleSession(shard int, epoch wire.Epoch, s *wire.Session)
	// HandleEnd takes note that an epoch has ended, and whether all of it was
	// delivered.
	HandleEnd(shard int, epoch wire.Epoch, complete bool)
}

// RefillHandler is a Handler that wants to tell what was refilled from what came
// live, such as one that measures lag.
type RefillHandler interface {
	// HandleRefill is HandleBatch for what was asked for, or had to wait for it.
	HandleRefill(b *wire.Batch, skip uint32) error
}

// NoticeHandler is a Handler that takes notices: subscriber.NoticeHandler.
type NoticeHandler interface {
	HandleNotice(shard int, r wire.Record)
}

// HealerConfig is what a Healer is made from. The zero value of a field means its
// default.
type HealerConfig struct {
	// Shards of the stream. At least 1.
	Shards int
	// Client to ask with; its Run is the caller's. Nil: nothing can be asked for,
	// and every gap is given up at once.
	Client *Client
	// Start says where to begin. Default: where the live stream is joined.
	Start Start
	// HoldBytes bounds what is held of a shard while something before it is
	// missing. When there is more, the oldest of it is dropped, and refilled as
	// well. Default 32 MiB.
	HoldBytes int64
	// Attempts is how often every server is asked in a row without getting
	// anything before a gap is given up. Default 10.
	Attempts int
	// Backoff is the pause after every server was asked in vain; it doubles up to
	// BackoffMax. Defaults 50 ms and 2 s.
	Backoff, BackoffMax time.Duration
	// Patience is how long a request may bring nothing before the next server is
	// asked. A server that does not answer at all is found out sooner, by the
	// Client. Default 5 s.
	Patience time.Duration
	// Seed of the jitter in the pauses. Default: the time.
	Seed uint64
	// Warn is called with what an operator should see: what was given up, and why.
	// It must not call the Healer. Default: nothing.
	Warn func(shard int, err error)
}

// Start says where a Healer begins. At most one of its ways is used.
type Start struct {
	// Positions are where a reader that has lost all state goes on: per shard, the
	// epoch and, in To, the next sequence. Shards without one are joined live.
	Positions []Span
	// From begins with the records from that time on by Clock ("receive", "event",
	// "send"), of older epochs as well, and goes on into the live stream. Clock ""
	// does not.
	From  wire.Nanos
	Clock string
	// Epoch begins with the first record of the epoch that the live stream is in when
	// it is joined.
	Epoch bool
}

func (c *HealerConfig) fill() error {
	if c.Shards < 1 || c.Shards > 1<<16-1 {
		return fmt.Errorf("resync: %d shards, want 1 to 65535", c.Shards)
	}
	if c.HoldBytes < 0 || c.Attempts < 0 || c.Backoff < 0 || c.BackoffMax < 0 || c.Patience < 0 {
		return errors.New("resync: a size, time or number is negative")
	}
	if n := len(c.Start.Positions); n > 0 && (c.Start.Clock != "" || c.Start.Epoch) || c.Start.Clock != "" && c.Start.Epoch {
		return errors.New("resync: begin at positions, at a time, or with the epoch: two of them are given")
	}
	if c.Start.Clock != "" && !slices.Contains(Clocks(), c.Start.Clock) {
		return fmt.Errorf("resync: clock %q, want receive, event or send", c.Start.Clock)
	}
	if (c.Start.Clock != "" || c.Start.Epoch) && c.Client == nil {
		return errors.New("resync: to begin in the past takes a server to ask")
	}
	for _, p := range c.Start.Positions {
		if p.Shard < 0 || p.Shard >= c.Shards || p.Epoch == 0 {
			return fmt.Errorf("resync: position %+v is not one of %d shards", p, c.Shards)
		}
	}
	c.Start.Positions = slices.Clone(c.Start.Positions)
	c.HoldBytes = or(c.HoldBytes, 32<<20)
	c.Attempts = or(c.Attempts, 10)
	c.Backoff = or(c.Backoff, 50*time.Millisecond)
	c.BackoffMax = max(or(c.BackoffMax, 2*time.Second), c.Backoff)
	c.Patience = or(c.Patience, 5*time.Second)
	c.Seed = or(c.Seed, uint64(time.Now().UnixNano()))
	if c.Warn == nil {
		c.Warn = func(int, error) {}
	}
	return nil
}

// Healer stands between a subscriber and a Handler. What the stream misses it asks
// for; what comes meanwhile it holds; the Handler gets all of it in order, each
// record once. It implements subscriber.Handler, MarkHandler and NoticeHandler.
//
// In a stream that misses nothing it does nothing: batches go through, on the
// receive loop, without a copy. Once something is missing another goroutine
// delivers, until it has caught up. A receive loop never waits longer than for one
// delivery.
//
// HandleGap reaches the Handler only for what stays missing, and HandleEnd when
// everything before it has been delivered. Its complete then says that every
// record came, from sequence 0 or from where Start begins: the live ones are
// compared by the stream's rolling hash, the refilled ones by each refill's digest.
type Healer struct {
	cfg     HealerConfig
	next    Handler
	refills RefillHandler // next, where it is one
	notices NoticeHandler // next, where it is one
	shards  []*mender
	world   zsock.World          // of the Client; nil: the world
	now     func() time.Duration // as the machines have it
	healed  latency.Histogram
	quiet   chan struct{} // a shard may have become idle
}

// NewHealer checks cfg. It starts no goroutine.
func NewHealer(cfg HealerConfig, next Handler) (*Healer, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	begun := time.Now()
	h := &Healer{cfg: cfg, next: next, now: func() time.Duration { return time.Since(begun) }, quiet: make(chan struct{}, 1)}
	if cfg.Client != nil {
		h.world, h.now = cfg.Client.world, cfg.Client.since
	}
	h.refills, _ = next.(RefillHandler)
	h.notices, _ = next.(NoticeHandler)
	mc := machineConfig{holdBytes: cfg.HoldBytes, attempts: cfg.Attempts, backoff: cfg.Backoff, backoffTo: cfg.BackoffMax,
		patience: cfg.Patience, whole: cfg.Start.Epoch,
		healed: func(took time.Duration) { h.healed.Record(int64(took)) }}
	if cfg.Client != nil {
		mc.servers, mc.chooser = cfg.Client.Servers(), choice{cfg.Client}
	}
	for i := range cfg.Shards {
		mc.seed = cfg.Seed + uint64(i)
		s := &mender{healer: h, number: i, machine: newMachine(i, mc), woken: make(chan struct{}, 1)}
		if cfg.Start.Clock != "" || len(cfg.Start.Positions) > 0 {
			s.machine.wait()
		}
		h.shards = append(h.shards, s)
	}
	return h, nil
}

// Run heals until the context ends, or the Handler fails. It blocks and leaves no
// goroutine behind. It may be called once; what comes before it waits for it.
func (h *Healer) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, s := range h.shards {
		run := func() {
			if err := s.run(ctx); err != nil {
				cancel(err)
			}
		}
		if h.world != nil {
			h.world.Go(run)
		} else {
			wg.Go(run)
		}
	}
	if err := h.open(ctx); err != nil {
		cancel(err)
	}
	if h.world != nil {
		h.world.Sleep(-1, func() bool { return ctx.Err() != nil })
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// HandleBatch implements subscriber.Handler.
func (h *Healer) HandleBatch(b *wire.Batch, _ uint32) error {
	s := h.shard(int(b.Shard))
	s.mu.Lock()
	err := s.take(b, false)
	idle := s.machine.idle()
	s.mu.Unlock()
	if !idle {
		s.wake()
	}
	return err
}

// HandleGap implements subscriber.Handler: it is what is healed.
func (h *Healer) HandleGap(shard int, epoch wire.Epoch, _, to wire.Seq) {
	h.shard(shard).tell(func(m *machine) { m.mark(epoch, to) })
}

// HandleMark implements subscriber.MarkHandler.
func (h *Healer) HandleMark(shard int, mark *wire.Header) {
	h.shard(shard).mark(mark)
}

// HandleSession implements subscriber.Handler.
func (h *Healer) HandleSession(shard int, epoch wire.Epoch, session *wire.Session) {
	h.shard(shard).session(epoch, session)
}

// HandleEnd implements subscriber.Handler. Where marks come as well it says nothing
// new: it does not know whether what is missing can be had.
func (h *Healer) HandleEnd(shard int, epoch wire.Epoch, complete bool) {
	h.shard(shard).tell(func(m *machine) {
		if e := m.find(epoch); e != nil && !e.marked {
			m.finish(epoch, e.top, !complete)
		}
	})
}

// HandleNotice implements subscriber.NoticeHandler: notices have no place among
// records, and go through.
func (h *Healer) HandleNotice(shard int, r wire.Record) {
	if h.notices == nil {
		return
	}
	s := h.shard(shard)
	s.mu.Lock()
	defer s.mu.Unlock()
	h.notices.HandleNotice(shard, r)
}

// shard returns a shard's mender. A number that is out of range is a fault of the
// caller: the subscriber has checked it.
func (h *Healer) shard(i int) *mender {
	if i < 0 || i >= len(h.shards) {
		panic(fmt.Sprintf("BUG: shard %d of %d", i, len(h.shards)))
	}
	return h.shards[i]
}

// Settle waits until nothing is missing any more, or held, in any shard, or until
// the context ends: after the subscriber's Run has returned, say. Run must run. The
// error is the Handler's, or the context's.
func (h *Healer) Settle(ctx context.Context) error {
	for {
		busy := slices.ContainsFunc(h.shards, func(s *mender) bool { return !s.idle() })
		for _, s := range h.shards {
			if err := s.failure(); err != nil {
				return err
			}
		}
		if !busy {
			return nil
		}
		select {
		case <-h.quiet:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Positions are, per shard that has begun, the epoch being delivered and, in To,
// the sequence after the last one that the Handler has taken, or that was given up.
// They are what Start.Positions and a position file want.
func (h *Healer) Positions() []Span {
	var list []Span
	for _, s := range h.shards {
		s.mu.Lock()
		if s.at.Epoch != 0 {
			list = append(list, s.at)
		}
		s.mu.Unlock()
	}
	return list
}

// Position is one shard's part of Positions; ok is false before that has begun. It waits
// for a delivery that is at work.
func (h *Healer) Position(shard int) (at Span, ok bool) {
	s := h.shard(shard)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at, s.at.Epoch != 0
}

// Splices are where the live stream has been joined: per shard that has delivered
// something of it the epoch and, in From, the first sequence that came live. To is
// unused. What was delivered before came from refills.
func (h *Healer) Splices() []Span {
	var list []Span
	for _, s := range h.shards {
		s.mu.Lock()
		if s.machine.splice.Epoch != 0 {
			list = append(list, s.machine.splice)
		}
		s.mu.Unlock()
	}
	return list
}

// HealerStats are what a Healer has done, over all shards.
type HealerStats struct {
	Counters
	HeldBytes int64  // now; HeldPeak is the greatest of a shard
	Missing   int    // shards that miss something now, or wait to begin
	Completed uint64 // ends that were told as complete
	Partial   uint64 // ends that were not
}

// Refilled is how many records were delivered from refills of each server, in the order
// of the Client's endpoints. It waits for a delivery at most.
func (h *Healer) Refilled() []uint64 {
	var by []uint64
	if h.cfg.Client != nil {
		by = make([]uint64, h.cfg.Client.Servers())
	}
	for _, s := range h.shards {
		s.mu.Lock()
		for i, n := range s.machine.refilled {
			by[i] += n
		}
		s.mu.Unlock()
	}
	return by
}

// HealTimes counts how long it took until everything of a gap was handed over, from
// when it was looked at first. It may be read at any time. What was given up is not
// in it.
func (h *Healer) HealTimes() *latency.Histogram { return &h.healed }

// Stats returns what was done so far. It waits for a delivery at most.
func (h *Healer) Stats() HealerStats {
	var st HealerStats
	for _, s := range h.shards {
		s.mu.Lock()
		m := s.machine
		st.Counters.add(&m.count)
		st.HeldBytes += m.held
		if !m.idle() {
			st.Missing++
		}
		st.Completed += s.completed
		st.Partial += s.partial
		s.mu.Unlock()
	}
	return st
}
