// Package publisher sends batches to shards: one XPUB socket, context and I/O
// thread each. It gives records their sequences, keeps the rolling hash, waits
// until readers are there, and ends each stream with a mark that lets a reader
// prove it has everything.
//
// Send may be called for different shards from different goroutines at one time,
// so that each shard can be fed by a thread of its own; everything else belongs
// to one goroutine, while nobody sends. In lossless mode a full queue of any
// reader makes Send wait; in live mode libzmq drops for that reader alone,
// which the reader sees by sequence.
package publisher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// Config is what a Publisher is made from. The zero value of a field means its
// default.
type Config struct {
	// Endpoints to bind, one per shard. At least one.
	Endpoints []string
	// Epoch of this run. Default: the wall clock in nanoseconds, which no
	// earlier run has had.
	Epoch wire.Epoch
	// Session is announced to every reader.
	Session wire.Session
	// Lossless makes the publisher wait for the slowest reader. Default: live,
	// a slow reader loses.
	Lossless bool
	// QueueBytes is about how much waits for one reader of one shard inside
	// this process at most, bytes: exact in lossless mode for what is lent;
	// otherwise as many messages as there would be batches of 64 KiB, so four
	// times as much of full ones. Default 32 MiB.
	QueueBytes int
	// Heartbeat is the longest silence on a shard, between marks. Default 1 s.
	Heartbeat time.Duration
	// IOCPUs pins each shard's I/O thread; nil pins none, zsock.NoCPU one not.
	IOCPUs []int
	// EndWait bounds how long End waits for readers that stay but do not
	// confirm the end. Default: for ever in lossless mode, 5 s in live mode.
	EndWait time.Duration
	// Now is the wall clock. It is called from every goroutine that sends. Default:
	// the system's.
	Now func() wire.Nanos
}

const (
	queueBytesDefault = 32 << 20
	heartbeatDefault  = time.Second
	endWaitLive       = 5 * time.Second

	helloEvery  = 20 * time.Millisecond  // hello until confirmed
	endEvery    = 250 * time.Millisecond // end mark until confirmed
	sendSlice   = 50 * time.Millisecond  // how long a blocked send goes without looking at ctx
	stopWait    = 500 * time.Millisecond // for readers to confirm an early end
	lingerAtEnd = 5 * time.Second        // for readers that never said who they are
	waitForever = time.Duration(1<<63 - 1)
	copyBelow   = 8 << 10  // a smaller payload is cheaper to copy than to count
	lendLive    = 32 << 20 // live mode: bytes of the caller that libzmq may hold, all shards together
	listenEvery = 20 * time.Millisecond
	queueFor    = 64 << 10 // batches that the queue's length is made for, bytes
	queueLenMin = 8
)

// Releaser is bytes that are lent to the publisher. Release is called once, from
// any goroutine that calls the publisher, when libzmq holds them no more. It must
// not call the publisher.
type Releaser interface{ Release() }

// Stats are what a publisher counted.
type Stats struct {
	Records  uint64
	Batches  uint64
	Bytes    uint64        // payload and order, once however many readers there are
	Referred uint64        // batches that went out as references, alone or beside their bytes
	Stalled  time.Duration // lossless: time spent waiting for the slowest reader, all shards together
	Foreign  uint64        // frames from peers that are no subscriptions
	Refused  uint64        // subscriptions whose reader signal made no sense
	Joined   int           // readers that said they receive on at least one shard
	Left     int           // readers that went before the end
	Finished int           // readers that confirmed the end on every shard
}

func (st *Stats) add(o *Stats) {
	st.Records += o.Records
	st.Batches += o.Batches
	st.Bytes += o.Bytes
	st.Referred += o.Referred
	st.Stalled += o.Stalled
	st.Foreign += o.Foreign
	st.Refused += o.Refused
}

// Publisher sends batches to shards.
type Publisher struct {
	cfg     Config
	session []byte
	shards  []*shard
	poller  *zsock.Poller
	ready   []int
	readers readers
	ended   atomic.Bool
	linger  bool // Close lets what is unsent go out
}

// ErrEnded: Send after End.
var ErrEnded = errors.New("publisher: the stream has ended")

// New binds the endpoints. The error names the endpoint that could not be
// bound.
func New(cfg Config) (*Publisher, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	session, err := wire.AppendSession(nil, &cfg.Session)
	if err != nil {
		return nil, fmt.Errorf("publisher: session: %w", err)
	}
	p := &Publisher{cfg: cfg, session: session, readers: readers{shards: len(cfg.Endpoints)}}
	sockets := make([]*zsock.Socket, 0, len(cfg.Endpoints))
	for i, endpoint := range cfg.Endpoints {
		s, err := openShard(&p.cfg, i, endpoint)
		if err != nil {
			p.discard()
			return nil, fmt.Errorf("publisher: shard %d: %w", i, err)
		}
		s.lastSend = p.cfg.Now() // silence begins here
		p.shards, sockets = append(p.shards, s), append(sockets, s.socket)
	}
	p.poller = zsock.NewPoller(sockets...)
	return p, nil
}

func (cfg *Config) fill() error {
	if len(cfg.Endpoints) == 0 || len(cfg.Endpoints) > 1<<16-1 {
		return fmt.Errorf("publisher: %d endpoints, want 1 to 65535", len(cfg.Endpoints))
	}
	if cfg.IOCPUs != nil && len(cfg.IOCPUs) != len(cfg.Endpoints) {
		return fmt.Errorf("publisher: %d I/O CPUs for %d shards", len(cfg.IOCPUs), len(cfg.Endpoints))
	}
	if cfg.QueueBytes < 0 || cfg.Heartbeat < 0 || cfg.EndWait < 0 {
		return errors.New("publisher: a size or time is negative")
	}
	cfg.Endpoints, cfg.IOCPUs = slices.Clone(cfg.Endpoints), slices.Clone(cfg.IOCPUs)
	if cfg.Now == nil {
		cfg.Now = func() wire.Nanos { return wire.NanosOf(time.Now()) }
	}
	if cfg.Epoch == 0 {
		cfg.Epoch = wire.Epoch(cfg.Now())
	}
	if cfg.QueueBytes == 0 {
		cfg.QueueBytes = queueBytesDefault
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = heartbeatDefault
	}
	if cfg.EndWait == 0 {
		cfg.EndWait = endWaitLive
		if cfg.Lossless {
			cfg.EndWait = waitForever
		}
	}
	return nil
}

// Endpoints returns where the shards are bound, with wildcard ports resolved.
func (p *Publisher) Endpoints() []string {
	endpoints := make([]string, len(p.shards))
	for i, s := range p.shards {
		endpoints[i] = s.endpoint
	}
	return endpoints
}

// Epoch returns the epoch of this run.
func (p *Publisher) Epoch() wire.Epoch { return p.cfg.Epoch }

// Stats returns what was counted so far.
func (p *Publisher) Stats() Stats {
	var st Stats
	for _, s := range p.shards {
		s.mu.Lock()
		st.add(&s.stats)
		s.mu.Unlock()
	}
	st.Joined, st.Left, st.Finished = p.readers.counts()
	return st
}

// Readers returns the names of the readers that receive on every shard now.
func (p *Publisher) Readers() []string { return p.readers.names() }

// Send sends one batch to a shard. Of its header the publisher uses Count,
// FirstOrdinal, Due and CRC, which must be right, and sets the rest. The bytes
// of payload and order stay the caller's until done is released; with a nil
// done they are copied. Bytes that are not copied must not lie in the Go heap.
// done is released whatever Send returns.
//
// In lossless mode Send waits while a reader's queue is full, until ctx ends.
func (p *Publisher) Send(ctx context.Context, shardNo int, b *wire.Batch, done interface{ Release() }) error {
	return p.send(ctx, shardNo, b, nil, done)
}

func (p *Publisher) send(ctx context.Context, shardNo int, b *wire.Batch, ref *wire.Reference, done interface{ Release() }) error {
	if err := p.sendable(ctx, b); err != nil {
		release(done)
		return err
	}
	s := p.shards[shardNo]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reap()
	h := b.Header
	h.Flags &= wire.FlagSnapshotBatch
	h.PayloadSize, h.OrderSize = uint32(len(b.Payload)), uint32(len(b.Order))
	as, err := p.sendForm(ctx, s, &h, b, ref, done)
	if err != nil {
		return err
	}
	s.next += wire.Seq(h.Count)
	s.hash = s.hash.Roll(h.Count, h.CRC)
	s.lastSend = h.Send
	s.stats.Records += uint64(h.Count)
	s.stats.Batches++
	s.stats.Bytes += uint64(len(b.Payload) + len(b.Order))
	if as != asBytes {
		s.stats.Referred++
	}
	if as == asBoth {
		s.owe(&h, ref)
	}
	// The batch is out: that the context ended meanwhile is the next call's.
	if err := p.settle(ctx, s); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// settle sends the reference that the shard owes and, from time to time, listens
// to all readers.
func (p *Publisher) settle(ctx context.Context, s *shard) error {
	if err := p.sendOwed(ctx, s); err != nil {
		return err
	}
	if since(s.lastHear, s.lastSend) >= wire.Nanos(listenEvery) {
		return p.lookAround(ctx, s)
	}
	return nil
}

// sendable reports why a batch cannot be sent now, if it cannot.
func (p *Publisher) sendable(ctx context.Context, b *wire.Batch) error {
	switch {
	case p.ended.Load():
		return ErrEnded
	case b.Count == 0 || len(b.Payload) > wire.PayloadSizeMax:
		return fmt.Errorf("publisher: a batch of %d records in %d bytes: want 1 record or more in at most %d", b.Count, len(b.Payload), wire.PayloadSizeMax)
	}
	return ctx.Err()
}

// awaitRoom waits, in lossless mode, until what libzmq holds of the shard leaves
// room for another payload: its own queue counts messages, and a few of them can
// be large.
func (p *Publisher) awaitRoom(ctx context.Context, s *shard, as form, payload int) error {
	full := func() bool { return s.lentBytes > 0 && s.lentBytes+payload > p.cfg.QueueBytes }
	if !p.cfg.Lossless || as == asReference || !full() {
		return nil
	}
	defer s.stalledSince(time.Now())
	for full() {
		if err := errors.Join(s.pause(time.Millisecond), p.lookAround(ctx, s)); err != nil {
			return err
		}
		s.reap()
	}
	return nil
}

// mayLend reports whether libzmq may hold the caller's bytes. In live mode a
// reader that stands still holds what it was sent for as long as it likes: of
// that the caller's memory is only a bounded part, the rest are copies.
func (p *Publisher) mayLend(s *shard, payload int) bool {
	if p.cfg.Lossless {
		return true // the caller waits for the slowest in any case
	}
	limit := lendLive / len(p.shards)
	if s.lentBytes+payload > limit/2 {
		s.sweep()
	}
	return s.lentBytes+payload <= limit
}

// since is how much later now is than then, by a wall clock: where the clock was
// set back, as late as can be.
func since(then, now wire.Nanos) wire.Nanos {
	if now < then {
		return wire.NanosMax
	}
	return now - then
}

func release(done interface{ Release() }) {
	if done != nil {
		done.Release()
	}
}

func (p *Publisher) fillHeader(s *shard, h *wire.Header, now wire.Nanos) {
	h.Epoch, h.Shard, h.Shards = p.cfg.Epoch, uint16(s.number), uint16(len(p.shards))
	h.FirstSeq, h.Hash, h.Send = s.next, s.hash, now
}

// sendForm sends a batch as what its readers want, and while the queue is full
// goes on listening to them and looks at ctx. It releases done, at once or when
// libzmq has let go of the bytes.
func (p *Publisher) sendForm(ctx context.Context, s *shard, h *wire.Header, b *wire.Batch, ref *wire.Reference, done interface{ Release() }) (form, error) {
	if err := p.sendOwed(ctx, s); err != nil {
		release(done)
		return asBytes, err
	}
	flags, start := h.Flags, time.Time{}
	defer func() { s.stalledSince(start) }()
	for {
		if ref != nil {
			if err := p.hearNewcomers(s); err != nil {
				release(done)
				return asBytes, err
			}
		}
		as := s.form(flags, ref)
		err := p.awaitRoom(ctx, s, as, len(b.Payload))
		if err == nil {
			h.Flags = flags | as.flags()
			err = p.trySend(s, h, b, ref, as, &done)
		}
		if !errors.Is(err, zsock.ErrAgain) {
			release(done)
			return as, err
		}
		if start.IsZero() {
			start = time.Now()
		}
		if err := p.lookAround(ctx, s); err != nil {
			release(done)
			return as, err
		}
	}
}

// trySend sends a batch in one form, for as long as the socket waits at most. It
// takes done where the bytes are lent.
func (p *Publisher) trySend(s *shard, h *wire.Header, b *wire.Batch, ref *wire.Reference, as form, done *interface{ Release() }) error {
	p.fillHeader(s, h, p.cfg.Now())
	wire.PutHeader(s.header, h)
	if as == asReference {
		s.reference = wire.AppendReference(s.reference[:0], ref)
		return s.socket.SendBatch(s.header, s.reference, nil, nil)
	}
	if *done == nil || len(b.Payload) < copyBelow || !p.mayLend(s, len(b.Payload)) {
		return s.socket.SendBatch(s.header, b.Payload, b.Order, nil)
	}
	token := s.newToken()
	err := s.socket.SendBatch(s.header, b.Payload, b.Order, token)
	if err != nil {
		s.spare = append(s.spare, token) // on an error nothing is held
		return err
	}
	s.lend(token, *done, len(b.Payload))
	*done = nil
	return nil
}

// sendOwed sends the reference that the shard owes, if it does, and waits for it
// as sendForm would.
func (p *Publisher) sendOwed(ctx context.Context, s *shard) error {
	through, err := s.tryOwed()
	if through || err != nil {
		return err
	}
	defer s.stalledSince(time.Now())
	for !through && err == nil {
		if err = errors.Join(s.pause(time.Millisecond), p.lookAround(ctx, s)); err == nil {
			through, err = s.tryOwed()
		}
	}
	return err
}

func (s *shard) stalledSince(start time.Time) {
	if !start.IsZero() {
		s.stats.Stalled += time.Since(start)
	}
}

// Close closes the sockets. After End has returned nil nothing is waiting to be
// sent to readers that confirmed; others get up to five seconds. Otherwise what
// is unsent is dropped. Bytes that were lent are given back.
func (p *Publisher) Close() error {
	var errs []error
	for _, s := range p.shards {
		if p.linger {
			errs = append(errs, s.socket.SetLinger(lingerAtEnd))
		}
		// All sockets first: they linger at the same time.
		errs = append(errs, s.socket.Close())
	}
	for _, s := range p.shards {
		errs = append(errs, s.close())
	}
	p.shards = nil
	return errors.Join(errs...)
}

func (p *Publisher) discard() {
	for _, s := range p.shards {
		_ = s.socket.Close()
		_ = s.close()
	}
}
