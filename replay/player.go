package replay

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapedeck/tapedeck/internal/latency"
	"github.com/tapedeck/tapedeck/internal/prefix"
	"github.com/tapedeck/tapedeck/shard"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// Publisher is where a player sends. It belongs to the player's goroutine while
// Run runs.
type Publisher interface {
	// WaitReaders returns when n readers receive on every shard.
	WaitReaders(ctx context.Context, n int) error
	// Send sends a batch to a shard. Of its header Count, FirstOrdinal, Due, CRC and
	// FlagSnapshotBatch are set. Payload and order lie outside the Go heap and stay
	// as they are until done is released, which happens once, on any goroutine,
	// whatever Send returns. Where it returns an error, the batch did not go out;
	// it does so soon after ctx ends.
	Send(ctx context.Context, shard int, b *wire.Batch, done interface{ Release() }) error
	// Tick does what is due while nothing is sent. It returns an error where ctx has
	// ended.
	Tick(ctx context.Context) error
	// End marks the end of every shard and returns when the readers have it.
	End(ctx context.Context) error
}

// EpochPublisher is a Publisher that can begin another epoch. Without it a player
// cannot seek.
type EpochPublisher interface {
	Publisher
	// Begin begins a new epoch on every shard, behind everything that was sent. It
	// does not wait for readers, and is called while nobody sends.
	Begin(ctx context.Context, start wire.SessionStart) error
	// Heartbeat says on every shard that its last values are through.
	Heartbeat(ctx context.Context) error
	// Epoch is the current epoch.
	Epoch() wire.Epoch
}

// StoredPublisher is a Publisher that can spare readers on this machine the
// bytes of a block. Its Send, SendStored and Tick may be called from several
// goroutines at one time, Send and SendStored for different shards.
type StoredPublisher interface {
	Publisher
	// SendStored is Send for a block that lies in the tape as it is, at ref.
	SendStored(ctx context.Context, shard int, b *wire.Batch, ref *wire.Reference, done interface{ Release() }) error
}

// Config is what a Player is made from. The zero value of a field means its
// default.
type Config struct {
	Tape      *tape.Tape // borrowed until Close
	Source    Source     // what to play where it is not one tape; borrowed until Close
	Publisher Publisher  // where Run sends; Batches needs none
	Shards    int        // of the stream. Default: as many as the tape has
	Speed     Speed      // default Max
	// From and To bound what is played, by Clock: [From, To). Zero is open.
	From, To wire.Nanos
	Clock    tape.Clock // the time that pacing, From and To go by. Default: receive
	Topics   []string   // play only topics with one of these prefixes, until SetTopics. Default: all
	// Loop, where it is not nil, is played again and again; see Player.Loop. The
	// stream's first epoch then has no records.
	Loop *Range
	// Squeeze is how much tape time an idle stretch lasts at most, where play is
	// paced: what is longer lasts only that long, and records that follow one another
	// sooner keep their pace. Default 0: idle stretches last what they last.
	Squeeze time.Duration
	// Session is the deck's name in notices on wire.DeckTopic.
	Session string
	Passes  int  // how often to play. Default 1; below 0 until the context ends
	Wait    int  // readers to wait for before the first record
	Paused  bool // begin paused
	// Barrier puts the player in lock-step: it is how many records go out at most before
	// the readers that the publisher waits for, which must be a BarrierPublisher, have
	// handled them. Play also waits for these readers before it begins and before it
	// ends. The same tape then gives the same batches whatever the speed. Default 0: it
	// is not.
	Barrier int
	// Paired makes the player tell another one of the same tape, in its notices, what
	// that needs to go on in its place; see Follower.
	Paired bool
	// NoticeEvery is how often the player says where it is, beside at each change. Default
	// 1 s, or 250 ms where it is Paired.
	NoticeEvery time.Duration
	// Hold keeps the player at the end of the last pass, where it can seek back,
	// until Stop or the end of the context.
	Hold bool
	// NoSnapshot leaves out the last values that follow a seek.
	NoSnapshot bool
	// CPUs pins the thread that plays each shard at full speed, and that of all
	// paced play to the first; nil pins none, -1 one not.
	CPUs []int
	// BatchBytes is the payload size at which a batch is full, bytes. Default
	// 256 KiB. Blocks that go out as they are keep their size.
	BatchBytes int
	// Unchecked makes Batches hand out blocks of a plain tape without reading
	// them for their checksums: for a tape that has been verified. Run does not
	// look at it; there the reader at the other end checks.
	Unchecked bool
	// Spin is how long before a due moment the player stops sleeping and spins.
	// Default 80 µs; below 0 never spins.
	Spin time.Duration
}

// SendsBlocks reports whether a player sends stored blocks as they are: at full
// speed, with as many shards as the tape has, and every topic, not in lock-step.
func (c *Config) SendsBlocks() bool {
	topics := prefix.New(c.Topics)
	return c.Tape != nil && c.Barrier == 0 && c.Speed == Max && (c.Shards == 0 || c.Shards == c.Tape.Shards()) && topics.All()
}

// Bounds and defaults.
const (
	batchBytesDefault = 256 << 10
	batchBytesMin     = 1 << 10
	batchBytesMax     = 32 << 20
	poolBytes         = 64 << 20 // of batches that are lent at one time
)

// Progress is how far a player is. Its fields are read with their Load methods
// while Run runs.
type Progress struct {
	Records  atomic.Uint64 // sent, over all passes
	Bytes    atomic.Uint64
	Time     atomic.Int64 // tape time of the latest record, ns
	Squeezed atomic.Int64 // idle tape time that was left out, ns

	clock tapeClock
}

// Report is what a run did.
type Report struct {
	Records    uint64 // of the tape; last values not counted
	LastValues uint64 // records that were sent after seeks as last values
	Bytes      uint64 // payload
	Batches    uint64
	Filtered   uint64 // records that the topic filter left out
	Passes     int    // begun
	Seeks      int
	Rounds     int           // of loops, begun
	Filters    int           // changes of the topic filter
	Squeezed   time.Duration // idle tape time that was left out
	Elapsed    time.Duration
	// Late is how long after its due moment each record left, ns; nil where none
	// was paced.
	Late *hdrhistogram.Histogram
}

// Player plays a tape once.
type Player struct {
	cfg      Config
	source   Source
	topics   *topics
	filter   prefix.Set // of topics
	shards   shard.Map
	asTape   bool // the stream's shards are the tape's
	pool     *pool
	open     []*buffer // per shard, nil while empty
	wait     *waiter
	wall     wire.Nanos // wall clock when the waiter began
	ordinals ordinals
	batch    wire.Batch     // the one being sent; a variable would be moved to the heap for the publisher
	stored   wire.Reference // likewise
	flags    wire.HeaderFlags
	progress *Progress
	report   Report
	checked  bool         // plain blocks' checksums are looked at here
	lane     int          // the shard that is played, or allShards
	until    wire.Ordinal // the stretch of tape at hand ends before it
	lanes    []*Player    // one per shard, once each was played by itself

	// Where it stands; see places.go.
	lead  wire.Ordinal   // last values at the epoch's start
	next  []wire.Ordinal // per shard
	taken wire.Ordinal   // in the one order: from here on no record was looked at

	walked wire.Ordinal // the same, of the latest walk alone: it may still be behind

	speed  Speed
	late   *latency.Histogram
	pacer  *pacer   // once there was one
	pace   *pacer   // nil at full speed
	resume tapeTime // that pacing begins with, where it goes on

	orders  *orders
	status  status
	waiting bool // for readers
	paused  bool
	ended   bool // held at the end
	over    bool // Run has nothing more to play
	through bool // it has played everything there was to play
	squeeze time.Duration
	seek    *seek // to be begun, or nil
	last    *last // last values that are being sent, or nil

	refilter *refilter // to be set, or nil
	rounds
	lockstep
	voice voice

	takeover *takeover // how Run begins, where it goes on with another player's stream

	stepping *order // a Step that is not through, or nil
	steps    int    // that it has left
	stepped  int    // that it has made

	epoch   *sentEpoch // being sent
	trails  []*trail   // its, per shard
	history *history
}

// New checks cfg.
func New(cfg Config) (*Player, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	m, err := shard.NewMap(cfg.Shards)
	if err != nil {
		return nil, err
	}
	p := &Player{
		cfg: cfg, source: cfg.Source, shards: m,
		open: make([]*buffer, cfg.Shards), next: make([]wire.Ordinal, cfg.Shards),
		paused: cfg.Paused, waiting: true, squeeze: cfg.Squeeze,
		progress: &Progress{}, lane: allShards,
		pool:   newPool(cfg.BatchBytes, poolBytes/cfg.BatchBytes+2*cfg.Shards),
		orders: newOrders(), history: &history{}, late: new(latency.Histogram), voice: voice{every: noticeEvery},
	}
	if cfg.Tape != nil {
		t := NewTapeSource(cfg.Tape)
		p.source, p.asTape, p.ordinals.numbering = t, cfg.Shards == cfg.Tape.Shards(), t.numbers
	}
	if cfg.Paired {
		p.voice.every = pairedNoticeEvery
	}
	if cfg.NoticeEvery > 0 {
		p.voice.every = cfg.NoticeEvery
	}
	p.ordinals.span = p.source.Span()
	p.setTopics(newTopics(cfg.Topics))
	p.setSpeed(cfg.Speed)
	p.startEpoch(0, lastPlace{})
	if cfg.Loop != nil {
		if p.seek, err = p.resolveLoop(context.Background(), *cfg.Loop); err != nil {
			return nil, err
		}
		p.loop = p.seek.loop
	}
	p.show()
	return p, nil
}

// fill sets what is not set and checks the rest.
func (cfg *Config) fill() error {
	switch {
	case cfg.Tape == nil && cfg.Source == nil:
		return errors.New("replay: no tape")
	case cfg.Tape != nil && cfg.Source != nil:
		return errors.New("replay: a tape and another source")
	case cfg.Shards != 0:
	case cfg.Tape != nil:
		cfg.Shards = cfg.Tape.Shards()
	default:
		cfg.Shards = cfg.Source.Shards()
	}
	if cfg.BatchBytes == 0 {
		cfg.BatchBytes = batchBytesDefault
	}
	if cfg.Passes == 0 {
		cfg.Passes = 1
	}
	if cfg.Spin == 0 {
		cfg.Spin = spinDefault
	}
	switch {
	case cfg.Shards < 1 || cfg.Shards > shard.Max:
		return fmt.Errorf("replay: %d shards, want 1 to %d", cfg.Shards, shard.Max)
	case cfg.BatchBytes < batchBytesMin || cfg.BatchBytes > batchBytesMax:
		return fmt.Errorf("replay: batches of %d bytes, want %d to %d", cfg.BatchBytes, batchBytesMin, batchBytesMax)
	case cfg.CPUs != nil && len(cfg.CPUs) != cfg.Shards:
		return fmt.Errorf("replay: %d CPUs for %d shards", len(cfg.CPUs), cfg.Shards)
	case cfg.Squeeze < 0:
		return fmt.Errorf("replay: idle stretches of %v", cfg.Squeeze)
	case cfg.From != 0 && cfg.To != 0 && cfg.To <= cfg.From:
		return fmt.Errorf("replay: the range ends at %v, before it begins at %v", cfg.To, cfg.From)
	}
	if err := cfg.fillBarrier(); err != nil {
		return err
	}
	return cfg.Speed.check()
}

// Progress returns how far the player is.
func (p *Player) Progress() *Progress { return p.progress }

// PacingError counts how long after its due moment each record left that was paced. It
// may be read at any time, also while Run runs.
func (p *Player) PacingError() *latency.Histogram { return p.late }

// Run waits for readers, plays, and ends the stream. It blocks. The report is
// true also where an error or the context ended the run. A player runs once.
func (p *Player) Run(ctx context.Context) (Report, error) {
	defer p.orders.finish()
	if p.cfg.Publisher == nil {
		return p.report, errors.New("replay: no publisher")
	}
	// The thread is locked because its timer slack is set, and because the hot
	// sockets are used from it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	restore, err := pin(p.cpu(0)) // an error must not wait for readers
	if err != nil {
		return p.report, err
	}
	restore()
	if p.wait, err = newWaiter(max(p.cfg.Spin, 0)); err != nil {
		return p.report, err
	}
	p.wall = wire.NanosOf(time.Now())
	p.whole = context.WithoutCancel(ctx)
	run := p.orders.open(ctx, p.wait)
	if pub, ok := p.cfg.Publisher.(interface{ Epoch() wire.Epoch }); ok && p.takeover == nil {
		p.nameEpoch(pub.Epoch())
	}
	quiet := p.speak()
	if p.takeover != nil {
		err = p.takeUp(run)
	}
	if err == nil {
		err = p.perform(run)
	}
	p.through = err == nil
	p.finish(run)
	quiet()
	if err == nil {
		if p.ended && run.Err() != nil {
			run = p.orders.renew(ctx)
		}
		err = p.cfg.Publisher.End(run)
	}
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(run), ErrStopped) {
		err = ErrStopped
	}
	return p.report, err
}

// finish takes leave of what needs the run.
func (p *Player) finish(run context.Context) {
	p.report.Elapsed = time.Duration(p.wait.now())
	if p.pacer != nil {
		p.report.Late = p.late.HDR()
	}
	p.report.Squeezed = time.Duration(p.progress.Squeezed.Load())
	p.over, p.voice.command = true, "end"
	if run.Err() != nil {
		p.voice.command = "stop"
	}
	p.show()
	p.orders.close(ErrFinished)
	p.stepping.through(ErrFinished)
	if p.seek != nil {
		p.seek.order.through(ErrFinished)
	}
	if p.refilter != nil {
		p.refilter.order.through(ErrFinished)
	}
	p.wait.close()
	if p.last != nil {
		p.last.walk.Close()
		p.last = nil
	}
}

// Close frees the player's memory. The publisher must have been closed before,
// so that nothing is lent any more, and Read and Find must have returned.
func (p *Player) Close() {
	for _, lane := range p.lanes {
		lane.drop()
		lane.pool.close()
	}
	p.lanes = nil
	p.drop()
	p.pool.close()
	p.history.close()
}
