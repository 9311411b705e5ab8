package subscriber

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// Handler takes what arrives. HandleBatch and the others are called from the
// receive loop of the shard: quickly return, or the shard's queue fills.
type Handler interface {
	// HandleBatch takes a batch of records. The batch and everything in it is
	// borrowed until return. The first skip records have been delivered before.
	// The payload's checksum has been checked, its records have not: a walk
	// that ends early says so in its Err. An error ends the run.
	HandleBatch(b *wire.Batch, skip uint32) error
	// HandleGap takes note that the sequences [from, to) did not arrive.
	HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq)
	// HandleSession takes the description of a session, when an epoch begins
	// with a hello. It may come several times.
	HandleSession(shard int, epoch wire.Epoch, s *wire.Session)
	// HandleEnd takes note that a shard's stream has ended and whether this
	// reader has all of it.
	HandleEnd(shard int, epoch wire.Epoch, complete bool)
}

// NoticeHandler is a Handler, or a WorkerHandler, that takes notices: what the
// publisher says about itself and its readers. They are no part of the stream: they
// have no sequence, and one that was lost shows nowhere.
type NoticeHandler interface {
	// HandleNotice takes a record of wire.KindNotice, borrowed until return. It is
	// called as HandleBatch is.
	HandleNotice(shard int, r wire.Record)
}

// Config is what a Subscriber is made from. The zero value of a field means its
// default.
type Config struct {
	// Endpoints to connect to, one per shard. At least one.
	Endpoints []string
	// Pair is where the same shards are at the other one of a pair of publishers, of
	// which one sends at a time. The reader then says at intervals how far it has come, so
	// that the other one knows where to go on, enters an epoch only by its hello, which
	// says what repeats, and refuses one with a lesser number than that at hand: it is
	// that of a publisher whose time is over. Default: there is one publisher.
	Pair []string
	// Watch makes this no reader: it takes hellos, heartbeats, end marks and notices,
	// and no records, and tells the publisher nothing.
	Watch bool
	// Name of this reader, for people. Default "".
	Name string
	// QueueBytes is what a shard's receive queue in libzmq may hold, about, in
	// batches of BatchBytes. Default 64 MiB. Expect gives both for a rate.
	QueueBytes int64
	// BatchBytes is how large a batch is expected to be. Default 256 KiB.
	BatchBytes int
	// ReceiveCPUs and IOCPUs pin each shard's receive loop and I/O thread; nil
	// pins none, zsock.NoCPU one not.
	ReceiveCPUs, IOCPUs []int
	// Silence is how long a shard may say nothing, heartbeats included, before
	// Run ends with ErrSilence. Default: for ever.
	Silence time.Duration
	// Follow keeps running after the end marks, for the next epoch.
	Follow bool
	// LockStep tells the publisher what has been handled, for one that plays in
	// lock-step and waits for readers of this one's Name before it goes on: of each
	// shard everything that the Handler has returned from, or what a LateHandler
	// says. With Workers it is what all workers have let go of.
	LockStep bool
	// OpenTape makes this reader take batches of a tape of its own machine by
	// reference. It is called by each loop for itself, once an epoch; where it
	// fails, batches come with their bytes. Default nil: always bytes.
	OpenTape OpenTape
	// Lag is called, from the receive loops, with how long after the publisher sent
	// a batch its loop took it, by the two machines' clocks, and with the number of its
	// records. It may be called concurrently and must return at once. Default:
	// nothing, and the clock is not looked at.
	Lag func(lag time.Duration, records int)
	// Warn is called, from the receive loops, with what an operator should
	// see, such as the first foreign frame. Default: nothing.
	Warn func(shard int, err error)
}

// ErrSilence: nothing came from a shard for Config.Silence.
var ErrSilence = errors.New("subscriber: no data and no heartbeat")

// Summary is what a Subscriber has seen, over all shards and epochs.
type Summary struct {
	Records   uint64 // delivered
	Batches   uint64
	Bytes     uint64 // payload and order
	Gaps      uint64 // times that sequences were missing
	Lost      uint64 // records in the gaps
	Repeated  uint64 // records that came twice and were dropped
	Refused   uint64 // frames that were not batches of this stream
	Corrupt   uint64 // batches whose payload did not match its checksum
	Referred  uint64 // batches that came by reference
	Fallbacks uint64 // times that references did not lead to bytes, and bytes were taken instead
	Notices   uint64 // messages by which the publisher spoke about itself
	Epochs    uint64 // the most that any shard saw
	Broken    uint64 // times that an epoch was followed by another, without an end mark or a word of the same publisher
	Diverged  uint64 // times that the rolling hash differed though nothing was missing
	Early     bool   // a publisher stopped before its source was through
	Ended     bool   // every shard's last epoch has ended
	Complete  bool   // ... and every record of it arrived as sent
	// Quiet is for how long the shard that is quietest has said nothing, heartbeats
	// included, to a twentieth of a second. It stays where a loop has ended.
	Quiet     time.Duration
	FirstSend wire.Nanos
	LastSend  wire.Nanos
}

// Why says in words what keeps a summary from being complete, or "".
func (s Summary) Why() string {
	var reasons []string
	if s.Lost > 0 {
		reasons = append(reasons, fmt.Sprintf("%d gaps lost %d records", s.Gaps, s.Lost))
	}
	if s.Corrupt > 0 {
		reasons = append(reasons, fmt.Sprintf("%d batches were corrupt", s.Corrupt))
	}
	if s.Broken > 0 {
		reasons = append(reasons, fmt.Sprintf("a publisher went without an end mark %d times", s.Broken))
	}
	if s.Diverged > 0 {
		reasons = append(reasons, fmt.Sprintf("the rolling hash differed from the publisher's %d times", s.Diverged))
	}
	if s.Early {
		reasons = append(reasons, "the publisher was stopped early")
	}
	if !s.Ended {
		reasons = append(reasons, "the end mark has not come")
	}
	if len(reasons) == 0 && !s.Complete {
		reasons = append(reasons, "this reader joined after the first record")
	}
	return strings.Join(reasons, ", ")
}

// Subscriber receives the shards of a stream.
type Subscriber struct {
	cfg     Config
	handler Handler
	keeper  keeper        // the handler, where it keeps batches
	notices NoticeHandler // the handler, where it takes them
	marks   MarkHandler   // the handler, where it takes them
	late    LateHandler   // the handler, where it is one and this reader is in lock-step
	id      wire.ReaderID
	loops   []*loop

	reportEvery time.Duration // between reports that say the same verdict
}

// receiveSlice is how long a receive waits before it looks at the context.
const receiveSlice = 50 * time.Millisecond

// New checks cfg. Nothing is opened before Run.
func New(cfg Config, h Handler) (*Subscriber, error) {
	n := len(cfg.Endpoints)
	if n == 0 || n > 1<<16-1 {
		return nil, fmt.Errorf("subscriber: %d endpoints, want 1 to 65535", n)
	}
	if cfg.Pair != nil && len(cfg.Pair) != n {
		return nil, fmt.Errorf("subscriber: %d endpoints of the other publisher for %d shards", len(cfg.Pair), n)
	}
	for _, cpus := range [][]int{cfg.ReceiveCPUs, cfg.IOCPUs} {
		if cpus != nil && len(cpus) != n {
			return nil, fmt.Errorf("subscriber: %d CPUs for %d shards", len(cpus), n)
		}
	}
	if len(cfg.Name) > wire.ReaderNameMax {
		return nil, fmt.Errorf("subscriber: name is longer than %d bytes", wire.ReaderNameMax)
	}
	if cfg.QueueBytes < 0 || cfg.BatchBytes < 0 || cfg.Silence < 0 {
		return nil, errors.New("subscriber: a size or time is negative")
	}
	cfg.Endpoints, cfg.Pair = slices.Clone(cfg.Endpoints), slices.Clone(cfg.Pair)
	cfg.ReceiveCPUs, cfg.IOCPUs = slices.Clone(cfg.ReceiveCPUs), slices.Clone(cfg.IOCPUs)
	if cfg.QueueBytes == 0 {
		cfg.QueueBytes = queueBytesDefault
	}
	if cfg.BatchBytes == 0 {
		cfg.BatchBytes = batchBytesDefault
	}
	if cfg.Warn == nil {
		cfg.Warn = func(int, error) {}
	}
	s := &Subscriber{cfg: cfg, handler: h, reportEvery: reportEvery}
	s.keeper, _ = h.(keeper)
	s.notices, _ = h.(NoticeHandler)
	s.marks, _ = h.(MarkHandler)
	_, _ = rand.Read(s.id[:]) // never fails
	for i := range cfg.Endpoints {
		s.loops = append(s.loops, &loop{sub: s, shard: i})
	}
	if late, ok := h.(LateHandler); ok && cfg.LockStep {
		s.waitFor(late)
	}
	return s, nil
}

// Run receives until every shard has ended, the context ends, or an error. It
// blocks; the context's error is returned when the context ended it.
func (s *Subscriber) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		wg    sync.WaitGroup
		first error
		once  sync.Once
	)
	for _, l := range s.loops {
		wg.Go(func() {
			if err := l.run(ctx); err != nil {
				once.Do(func() { first = err })
				cancel(err)
			}
		})
	}
	wg.Wait()
	return first
}

// Summary returns what was seen so far. It may be called while Run runs.
func (s *Subscriber) Summary() Summary {
	sum := Summary{Ended: true, Complete: true}
	for _, l := range s.loops {
		l.addTo(&sum)
	}
	sum.Complete = sum.Complete && sum.Ended && sum.Lost == 0 && sum.Corrupt == 0 && sum.Broken == 0 && sum.Diverged == 0
	return sum
}

// counters are a loop's numbers as others may read them. The loop alone writes
// them, once a batch.
type counters struct {
	records, batches, bytes  atomic.Uint64
	gaps, lost, repeated     atomic.Uint64
	refused, corrupt         atomic.Uint64
	referred, fallbacks      atomic.Uint64
	notices                  atomic.Uint64
	epochs, broken, diverged atomic.Uint64
	ended, early, complete   atomic.Bool
	firstSend, lastSend      atomic.Int64
	quiet                    atomic.Int64 // ns
}

func (l *loop) addTo(sum *Summary) {
	c := &l.counters
	sum.Records += c.records.Load()
	sum.Batches += c.batches.Load()
	sum.Bytes += c.bytes.Load()
	sum.Gaps += c.gaps.Load()
	sum.Lost += c.lost.Load()
	sum.Repeated += c.repeated.Load()
	sum.Refused += c.refused.Load()
	sum.Corrupt += c.corrupt.Load()
	sum.Referred += c.referred.Load()
	sum.Fallbacks += c.fallbacks.Load()
	sum.Notices += c.notices.Load()
	sum.Epochs = max(sum.Epochs, c.epochs.Load())
	sum.Broken += c.broken.Load()
	sum.Diverged += c.diverged.Load()
	sum.Early = sum.Early || c.early.Load()
	sum.Ended = sum.Ended && c.ended.Load()
	sum.Complete = sum.Complete && c.complete.Load()
	if t := wire.Nanos(c.firstSend.Load()); t != 0 && (sum.FirstSend == 0 || t < sum.FirstSend) {
		sum.FirstSend = t
	}
	sum.Quiet = max(sum.Quiet, time.Duration(c.quiet.Load()))
	sum.LastSend = max(sum.LastSend, wire.Nanos(c.lastSend.Load()))
}

// cpu returns the CPU of shard i in cpus, or none.
func cpu(cpus []int, i int) int {
	if cpus == nil {
		return zsock.NoCPU
	}
	return cpus[i]
}
