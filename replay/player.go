package replay

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

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
	// Send sends a batch to a shard. Of its header Count, FirstOrdinal, Due and
	// CRC are set. Payload and order lie outside the Go heap and stay as they
	// are until done is released, which happens once, on any goroutine, whatever
	// Send returns.
	Send(ctx context.Context, shard int, b *wire.Batch, done interface{ Release() }) error
	// Tick does what is due while nothing is sent.
	Tick(ctx context.Context) error
	// End marks the end of every shard and returns when the readers have it.
	End(ctx context.Context) error
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
	Tape      *tape.Tape // borrowed until Run returns
	Publisher Publisher  // where Run sends; Batches needs none
	Shards    int        // of the stream. Default: as many as the tape has
	Speed     Speed      // default Max
	// From and To bound what is played, by Clock: [From, To). Zero is open.
	From, To wire.Nanos
	Clock    tape.Clock // the time that pacing, From and To go by. Default: receive
	Topics   []string   // play only topics with one of these prefixes. Default: all
	Passes   int        // how often to play. Default 1; below 0 until the context ends
	Wait     int        // readers to wait for before the first record
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
// speed, with as many shards as the tape has, and every topic.
func (c *Config) SendsBlocks() bool {
	topics := prefix.New(c.Topics)
	return c.Speed == Max && (c.Shards == 0 || c.Shards == c.Tape.Shards()) && topics.All()
}

// Bounds and defaults.
const (
	batchBytesDefault = 256 << 10
	batchBytesMin     = 1 << 10
	batchBytesMax     = 32 << 20
	poolBytes         = 64 << 20               // of batches that are lent at one time
	tickEvery         = 50 * time.Millisecond  // while waiting for a due moment
	poolWait          = 100 * time.Microsecond // while waiting for a lent buffer
)

// Progress is how far a player is. Its fields are read with their Load methods
// while Run runs.
type Progress struct {
	Records atomic.Uint64 // sent, over all passes
	Bytes   atomic.Uint64
	Time    atomic.Int64 // tape time of the latest record, ns
}

// Report is what a run did.
type Report struct {
	Records  uint64
	Bytes    uint64 // payload
	Batches  uint64
	Filtered uint64 // records that the topic filter left out
	Passes   int    // begun
	Elapsed  time.Duration
	// Late is how long after its due moment each record left, ns; nil at full
	// speed.
	Late *hdrhistogram.Histogram
}

// Player plays a tape once.
type Player struct {
	cfg      Config
	filter   prefix.Set
	shards   shard.Map
	pool     *pool
	open     []*buffer // per shard, nil while empty
	pace     *pacer    // nil at full speed
	wait     *waiter
	wall     wire.Nanos // wall clock when the waiter began
	ordinals ordinals
	batch    wire.Batch     // the one being sent; a variable would be moved to the heap for the publisher
	stored   wire.Reference // likewise
	progress *Progress
	report   Report
	checked  bool      // plain blocks' checksums are looked at here
	lane     int       // the shard that is played, or allShards
	lanes    []*Player // one per shard, where each is played by itself
}

// New checks cfg.
func New(cfg Config) (*Player, error) {
	if cfg.Tape == nil {
		return nil, errors.New("replay: no tape")
	}
	if cfg.Shards == 0 {
		cfg.Shards = cfg.Tape.Shards()
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
		return nil, fmt.Errorf("replay: %d shards, want 1 to %d", cfg.Shards, shard.Max)
	case cfg.BatchBytes < batchBytesMin || cfg.BatchBytes > batchBytesMax:
		return nil, fmt.Errorf("replay: batches of %d bytes, want %d to %d", cfg.BatchBytes, batchBytesMin, batchBytesMax)
	case cfg.CPUs != nil && len(cfg.CPUs) != cfg.Shards:
		return nil, fmt.Errorf("replay: %d CPUs for %d shards", len(cfg.CPUs), cfg.Shards)
	case cfg.From != 0 && cfg.To != 0 && cfg.To <= cfg.From:
		return nil, fmt.Errorf("replay: the range ends at %v, before it begins at %v", cfg.To, cfg.From)
	case cfg.Speed != Max && !(cfg.Speed >= speedMin && cfg.Speed <= speedMax): // not a number, too
		return nil, fmt.Errorf("replay: speed %v is out of range", cfg.Speed)
	}
	m, err := shard.NewMap(cfg.Shards)
	if err != nil {
		return nil, err
	}
	p := &Player{
		cfg: cfg, filter: prefix.New(cfg.Topics), shards: m, open: make([]*buffer, cfg.Shards),
		ordinals: newOrdinals(cfg.Tape), progress: &Progress{}, lane: allShards,
		pool: newPool(cfg.BatchBytes, poolBytes/cfg.BatchBytes+2*cfg.Shards),
	}
	if cfg.Speed != Max {
		p.pace = newPacer(cfg.Speed)
		p.report.Late = p.pace.late
	}
	return p, nil
}

// Progress returns how far the player is.
func (p *Player) Progress() *Progress { return p.progress }

// Run waits for readers, plays, and ends the stream. It blocks. The report is
// true also where an error or the context ended the run.
func (p *Player) Run(ctx context.Context) (Report, error) {
	if p.cfg.Publisher == nil {
		return p.report, errors.New("replay: no publisher")
	}
	// The thread is locked because its timer slack is set, and because the hot
	// sockets are used from it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	restore, err := pin(p.cpu(0))
	if err != nil {
		return p.report, err
	}
	defer restore()
	if err := p.cfg.Publisher.WaitReaders(ctx, p.cfg.Wait); err != nil {
		return p.report, err
	}
	p.wait = newWaiter(max(p.cfg.Spin, 0))
	p.wall = wire.NanosOf(time.Now())
	if p.inLanes() {
		restore() // this thread only waits for the lanes
		err = p.playLanes(ctx)
	} else {
		err = p.play(ctx)
	}
	p.report.Elapsed = time.Duration(p.wait.now())
	if err == nil {
		err = p.cfg.Publisher.End(ctx)
	}
	return p.report, err
}

// Close frees the player's memory. The publisher must have been closed before,
// so that nothing is lent any more.
func (p *Player) Close() {
	for _, lane := range p.lanes {
		lane.Close()
	}
	p.lanes = nil
	for s, b := range p.open {
		if b != nil {
			b.refs.Store(1)
			b.Release()
			p.open[s] = nil
		}
	}
	p.pool.close()
}

func (p *Player) play(ctx context.Context) error {
	for pass := 0; p.cfg.Passes < 0 || pass < p.cfg.Passes; pass++ {
		p.report.Passes++
		if pass > 0 {
			p.ordinals.nextPass()
		}
		if p.pace != nil {
			p.pace.anchored = false
		}
		before := p.report.Records
		var err error
		if p.cfg.SendsBlocks() {
			err = p.playBlocks(ctx)
		} else {
			err = p.playRecords(ctx)
		}
		if err != nil {
			return err
		}
		if p.report.Records == before {
			return nil // nothing to play: the next pass would find the same
		}
	}
	return nil
}
