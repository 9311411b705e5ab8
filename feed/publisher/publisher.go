// Package publisher sends batches to shards: one XPUB socket, context and I/O
// thread each. It gives records their sequences, keeps the rolling hash, waits
// until readers are there, and ends each stream with a mark that lets a reader
// prove it has everything.
//
// Send may be called for different shards from different goroutines at one time,
// so that each shard can be fed by a thread of its own, and so may what says so;
// everything else belongs to one goroutine, while nobody sends. In lossless mode a full queue of any
// reader makes Send wait; in live mode libzmq drops for that reader alone,
// which the reader sees by sequence.
//
// In lock-step some readers are waited for by name: WaitHandled returns when they
// have handled, and not only received, all that was sent. What was handled they say as
// they say everything, by a subscription. With Config.Faults messages fare as on a bad
// network: package faults decides which, a line per shard carries it out.
package publisher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/feed/publisher/faults"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/wire"
)

// Config is what a Publisher is made from. The zero value of a field means its
// default.
type Config struct {
	// Endpoints to bind, one per shard. At least one.
	Endpoints []string
	// Epoch that this run begins with. Default: the wall clock in nanoseconds,
	// which no earlier run has had.
	Epoch wire.Epoch
	// Session is announced to every reader. Begin sets Session.Start.
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
	// Barrier names the readers of a stream in lock-step, which WaitHandled waits for:
	// readers that say what they have handled (subscriber.Config.LockStep). Whoever
	// sends calls it so often that what it sends in between fits QueueBytes; then
	// these readers miss nothing though the publisher is not Lossless, which it must
	// not be, so that nobody else holds them up. Default: none.
	Barrier []string
	// BarrierTimeout is how long WaitHandled waits at most. Default: for ever.
	BarrierTimeout time.Duration
	// Awaits is called by WaitHandled, from time to time, when it has waited for long:
	// how long, and for whom. It must not call the publisher. Default: nothing.
	Awaits func(waited time.Duration, absent []Absent)
	// Standby makes the publisher one of a pair, of which the other one sends: its
	// endpoints are bound, it hears readers, and is silent until TakeOver. Until then Tick
	// is to be called, and nothing else that sends. Default: it sends.
	Standby bool
	// Faults is what happens to messages on their way, as on a bad network: readers see
	// gaps, repeats and damage, and nothing goes out by reference. Default: nothing.
	Faults *faults.Plan
	// Squawk is called when a reader becomes late, stuck, well again, or goes while
	// it is not well: what is also sent as a notice on wire.SquawkTopic. It is
	// called from every goroutine that calls the publisher, must return soon, and
	// must not call the publisher. Default: nothing.
	Squawk func(snail.Squawk)
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
	sendSlice   = 2 * time.Millisecond   // how long a blocked send goes without looking at ctx
	stopWait    = 500 * time.Millisecond // for readers to confirm an early end
	lingerAtEnd = 5 * time.Second        // for readers that never said who they are
	waitForever = time.Duration(1<<63 - 1)
	copyBelow   = 8 << 10  // a smaller payload is cheaper to copy than to count
	lendLive    = 32 << 20 // live mode: bytes of the caller that libzmq may hold, all shards together
	listenEvery = 20 * time.Millisecond

	multicastRate = 1e9      // bits a second, of a shard that is multicast
	queueFor      = 64 << 10 // batches that the queue's length is made for, bytes
	queueLenMin   = 8
)

// Releaser is bytes that are lent to the publisher. Release is called once, from
// any goroutine that calls the publisher, when libzmq holds them no more. It must
// not call the publisher.
type Releaser interface{ Release() }

// Publisher sends batches to shards.
type Publisher struct {
	cfg     Config
	epoch   atomic.Uint64 // written while every shard is held
	shards  []*shard
	poller  *zsock.Poller
	ready   []int
	readers readers
	notices notices
	barrier barrier

	registry *snail.Registry // what people are told of the readers
	began    struct {
		at   time.Time
		wall wire.Nanos
	}
	ended  atomic.Bool
	silent atomic.Bool  // Config.Standby, until TakeOver
	wanted atomic.Int32 // shards on which somebody subscribes to records
	// pairEpoch is the epoch of its pair in which it is active; 0: it is in none.
	pairEpoch atomic.Uint64
	linger    bool // Close lets what is unsent go out
}

// ErrEnded: Send after End.
var ErrEnded = errors.New("publisher: the stream has ended")

// New binds the endpoints. The error names the endpoint that could not be
// bound.
func New(cfg Config) (*Publisher, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	hello, err := wire.AppendSession(nil, &cfg.Session)
	if err != nil {
		return nil, fmt.Errorf("publisher: session: %w", err)
	}
	registry, err := snail.NewRegistry(snail.RegistryConfig{})
	if err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	p := &Publisher{cfg: cfg, readers: readers{shards: len(cfg.Endpoints), barrier: cfg.Barrier}, registry: registry}
	p.epoch.Store(uint64(cfg.Epoch))
	p.silent.Store(cfg.Standby)
	p.began.at = time.Now()
	p.began.wall = wire.NanosOf(p.began.at)
	sockets := make([]*zsock.Socket, 0, len(cfg.Endpoints))
	for i, endpoint := range cfg.Endpoints {
		s, err := openShard(&p.cfg, i, endpoint)
		if err != nil {
			p.discard()
			return nil, fmt.Errorf("publisher: shard %d: %w", i, err)
		}
		s.epoch, s.hello = cfg.Epoch, hello
		s.openLine(cfg.Faults)
		s.lastSend = p.cfg.Now() // silence begins here
		p.shards, sockets = append(p.shards, s), append(sockets, s.socket)
	}
	p.poller = zsock.NewPoller(sockets...)
	if err := p.openBarrier(sockets); err != nil {
		p.discard()
		return nil, err
	}
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
	if err := cfg.fillBarrier(); err != nil {
		return err
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

// Epoch returns the current epoch: Config.Epoch, or what Begin began last. Any
// goroutine may call it.
func (p *Publisher) Epoch() wire.Epoch { return wire.Epoch(p.epoch.Load()) }

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

// Close closes the sockets. After End has returned nil nothing is waiting to be
// sent to readers that confirmed; others get up to five seconds. Otherwise what
// is unsent is dropped. Bytes that were lent are given back.
func (p *Publisher) Close() error {
	var errs []error
	if p.barrier.waiter != nil {
		errs = append(errs, p.barrier.waiter.Close())
		p.barrier.waiter = nil
	}
	for _, s := range p.shards {
		s.closeLine()
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
