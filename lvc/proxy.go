package lvc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/internal/latency"
	"github.com/tapedeck/tapedeck/internal/zmtp"
	"github.com/tapedeck/tapedeck/shard"
	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/wire"
)

// Config is what a Proxy is made from. The zero value of a field means its default.
type Config struct {
	// Plain are the endpoints of the plain stream: tcp, ipc, and where libzmq has
	// it pgm and epgm, whose readers get no answers, since they cannot ask. At
	// least one, or a Watcher, or nothing is served but snapshots.
	Plain []string
	// Tap is the endpoint that shows what the proxy does. Default: none.
	Tap string
	// Shards is how many the stream has. At least 1.
	Shards int
	// MaxTopics bounds the table; records of further topics are sent on, counted,
	// and have no last value. Default 1,000,000.
	MaxTopics int
	// MaxBytes bounds the table: topics and bodies, and 224 bytes a topic beside
	// them. As much again may be set aside for answers under way. Default 1 GiB.
	MaxBytes int64
	// QueueBytes is how much waits for one plain reader at most. Beyond it records
	// are dropped for that reader. Default 64 MiB.
	QueueBytes int64
	// MaxReaders bounds the plain readers. Default 4,096.
	MaxReaders int
	// MaxPerAddress bounds the connections from one address, so that one machine does not
	// take all the places. Default: MaxReaders.
	MaxPerAddress int
	// Heartbeat is the time between heartbeats on the plain stream. Default 1 s.
	Heartbeat time.Duration
	// TapRate bounds what the tap shows, messages a second. Default 10,000.
	TapRate int
	// MulticastRate bounds a pgm endpoint, bits a second. Default 1e9.
	MulticastRate int64
	// Warm are values of the past, such as those at the end of a tape, that the
	// table begins with: they are taken in before anything is served. Each record is
	// borrowed until the next one. Default: none.
	Warm iter.Seq2[wire.Record, Origin]
	// WarmTo says, per shard, up to where Warm has all of the stream, which goes on
	// there. Default: Warm is of another stream, or of nobody knows when.
	WarmTo []Position
	// Standby makes the proxy one of a pair, which begins passive: it answers and sends
	// nothing until Activate. Default: it is alone, and active.
	Standby *Standby
	// Lock is who may read. Default: everybody.
	Lock *Lock
	// Registry is who reads and how they fare. Default: one of the proxy's own.
	Registry *snail.Registry
	// Watcher takes every change of the table. Default: nobody does.
	Watcher Watcher
	// Squawk is called when a plain reader's verdict changes, by the proxy's own
	// goroutine. Default: nothing.
	Squawk func(snail.Squawk)
	// Now is the wall clock. Default: the system's.
	Now func() wire.Nanos
	// World is what the proxy stands on. Default: the system.
	World World
}

// Watcher takes every change of the table, in order. It is called with the proxy's
// lock held: it returns quickly and does not call the proxy.
type Watcher interface {
	// HandleChange takes a topic's new last value, or with kind delete the end of
	// its having one. version grows by one with every change; a Snapshot says up to
	// which it goes. Topic, header and body are borrowed until return.
	HandleChange(version uint64, topic []byte, h *wire.Plain, body []byte)
}

const (
	maxTopicsDefault     = 1_000_000
	maxBytesDefault      = 1 << 30
	queueBytesDefault    = 64 << 20
	maxReadersDefault    = 4096
	heartbeatDefault     = time.Second
	tapRateDefault       = 10_000
	multicastRateDefault = 1_000_000_000

	// upkeepEvery is how often readers' queues are looked at and the index is put in
	// order.
	upkeepEvery = 50 * time.Millisecond
	// seekQuiet is how long a shard may say nothing, after the last values as of the
	// place a replay went to, before they count as all.
	seekQuiet = 500 * time.Millisecond
)

// Proxy keeps the last values of a stream and serves them. It implements
// subscriber.Handler: whoever receives the stream hands it over. All methods may
// be called from several goroutines.
type Proxy struct {
	cfg       Config
	world     World
	registry  *snail.Registry
	endpoints []string
	tap       *tap // nil: none
	outlets   []*outlet

	shards  shard.Map
	watched []*reader // of watchReaders alone

	hub     *hub   // its lock guards what follows
	table   *table // of last values
	feeds   []feed // of each shard
	stats   Stats
	stored  wire.Plain     // header of the record at hand, as the table has it
	squawks []snail.Squawk // to be told with the next round
	voter   string         // the word that the pair's voter subscribes to
	voted   chan struct{}  // closed when it has come; nil: it is not waited for
	votes   uint64

	answers     latency.Histogram
	lostAnswers atomic.Uint64
	stalled     atomic.Uint64
	closeOnce   sync.Once
	closeErr    error
}

// New binds the endpoints. Subscriptions are answered from then on; Run does the
// rest. The proxy must be closed.
func New(cfg Config) (*Proxy, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	p := &Proxy{cfg: cfg, world: cfg.World, registry: cfg.Registry, table: newTable(cfg.MaxTopics, cfg.MaxBytes), feeds: make([]feed, cfg.Shards)}
	var err error
	if p.shards, err = shard.NewMap(cfg.Shards); err != nil {
		return nil, err
	}
	p.hub = newHub(cfg.World, cfg.QueueBytes, cfg.MaxReaders, cfg.Lock, p)
	p.hub.perAddress = cfg.MaxPerAddress
	if cfg.Warm != nil {
		p.warm(cfg.Warm)
	}
	for _, at := range cfg.WarmTo {
		if at.Shard < 0 || at.Shard >= cfg.Shards {
			return nil, fmt.Errorf("lvc: position of shard %d, there are %d", at.Shard, cfg.Shards)
		}
		p.feeds[at.Shard].epoch, p.feeds[at.Shard].next = at.Epoch, at.Next
	}
	if s := cfg.Standby; s != nil {
		p.hub.ring = s.ring(p.world.Now(), p.positionsLocked())
		p.hub.confirms = newConfirms(s.Keep, cfg.Shards)
		p.hub.queueBytes += s.Bytes // what was kept comes at once
	}
	if err := p.bind(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (cfg *Config) fill() error {
	if cfg.Shards < 1 || cfg.Shards > 1<<16-1 {
		return fmt.Errorf("lvc: %d shards, want 1 to 65535", cfg.Shards)
	}
	if cfg.MaxTopics < 0 || cfg.MaxBytes < 0 || cfg.QueueBytes < 0 || cfg.MaxReaders < 0 || cfg.MaxPerAddress < 0 ||
		cfg.Heartbeat < 0 || cfg.TapRate < 0 || cfg.MulticastRate < 0 {
		return errors.New("lvc: a bound, time or rate is negative")
	}
	if err := cfg.checkLock(); err != nil {
		return err
	}
	if cfg.Standby != nil {
		s := *cfg.Standby
		cfg.Standby = &s
		if err := s.fill(); err != nil {
			return err
		}
	}
	cfg.Plain = slices.Clone(cfg.Plain)
	cfg.MaxTopics = cmp.Or(cfg.MaxTopics, maxTopicsDefault)
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, maxBytesDefault)
	cfg.QueueBytes = cmp.Or(cfg.QueueBytes, queueBytesDefault)
	cfg.MaxReaders = cmp.Or(cfg.MaxReaders, maxReadersDefault)
	cfg.Heartbeat = cmp.Or(cfg.Heartbeat, heartbeatDefault)
	cfg.TapRate = cmp.Or(cfg.TapRate, tapRateDefault)
	cfg.MulticastRate = cmp.Or(cfg.MulticastRate, multicastRateDefault)
	if cfg.Squawk == nil {
		cfg.Squawk = func(snail.Squawk) {}
	}
	if cfg.Now == nil {
		cfg.Now = func() wire.Nanos { return wire.NanosOf(time.Now()) }
	}
	if cfg.World == nil {
		cfg.World = system{}
	}
	if cfg.Registry == nil {
		var err error
		if cfg.Registry, err = snail.NewRegistry(snail.RegistryConfig{}); err != nil {
			return err
		}
	}
	return nil
}

func (p *Proxy) bind() error {
	if p.cfg.Tap != "" {
		t, err := newTap(&p.cfg)
		if err != nil {
			return err
		}
		p.tap = t
	}
	for _, endpoint := range p.cfg.Plain {
		bound := endpoint
		var err error
		if zmtp.Serves(endpoint) {
			bound, err = p.hub.listen(endpoint)
		} else {
			err = p.openOutlet(endpoint)
		}
		if err != nil {
			return err
		}
		p.endpoints = append(p.endpoints, bound)
	}
	return nil
}

// Endpoints returns where the plain stream is served, with wildcard ports
// resolved.
func (p *Proxy) Endpoints() []string { return slices.Clone(p.endpoints) }

// TapEndpoint returns where the tap is, or "".
func (p *Proxy) TapEndpoint() string {
	if p.tap == nil {
		return ""
	}
	return p.tap.endpoint
}

// Registry returns who reads and how they fare.
func (p *Proxy) Registry() *snail.Registry { return p.registry }

// Origin is where a record of the past comes from.
type Origin struct {
	Epoch  wire.Epoch
	Seq    wire.Seq
	Shard  uint16
	Shards uint16
	Send   wire.Nanos // 0: not known
}

// warm takes in values of the past.
func (p *Proxy) warm(records iter.Seq2[wire.Record, Origin]) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	for r, at := range records {
		if r.Kind() == wire.KindDelete {
			continue
		}
		h := wire.Plain{Epoch: at.Epoch, Seq: at.Seq, Shard: at.Shard, Shards: at.Shards, Send: at.Send}
		setRecord(&h, r)
		p.storeLocked(r.Topic(), &h, r.Body())
		for m := p.table.index.ready(); m != nil; m = p.table.index.ready() {
			m.do()
			p.table.index.take(m)
		}
	}
}

// setRecord sets what a header says of a record itself.
func setRecord(h *wire.Plain, r wire.Record) {
	h.Event, h.Receive, h.TopicSeq = r.Event(), r.Receive(), r.TopicSeq()
	h.Kind, h.RecordFlags = r.Kind(), r.Flags()&^wire.FlagWide
}

// Run sends heartbeats and looks after readers and the table, until ctx ends. It
// returns the context's error.
func (p *Proxy) Run(ctx context.Context) error {
	var beat time.Time
	for {
		now := p.world.Now()
		if now.Sub(beat) >= p.cfg.Heartbeat {
			beat = now
			p.heartbeat()
		}
		p.settleSeeks(now)
		p.watchReaders()
		p.tidy()
		if err := p.world.Sleep(ctx, min(upkeepEvery, p.cfg.Heartbeat)); err != nil {
			return err
		}
	}
}

// tidy puts the table's index in order and lets go of what was set aside for
// answers that are through, holding the lock for a moment at a time.
func (p *Proxy) tidy() {
	for {
		p.hub.mu.Lock()
		m := p.table.index.ready()
		p.hub.mu.Unlock()
		if m == nil {
			break
		}
		m.do()
		p.hub.mu.Lock()
		p.table.index.take(m)
		p.hub.mu.Unlock()
	}
	for more := true; more; {
		p.hub.mu.Lock()
		more = p.table.settleSome(sliceTopics)
		p.hub.mu.Unlock()
	}
}

// Close ends the proxy: what waits for readers is written for a moment, then their
// connections close.
func (p *Proxy) Close() error {
	p.closeOnce.Do(func() {
		errs := []error{p.hub.close()}
		for _, o := range p.outlets {
			errs = append(errs, o.close())
		}
		if p.tap != nil {
			errs = append(errs, p.tap.hub.close())
		}
		p.closeErr = errors.Join(errs...)
	})
	return p.closeErr
}
