package subscriber

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/wire"
)

// GatePosition is a place in one shard: everything before Next is known already.
type GatePosition struct {
	Epoch wire.Epoch
	Next  wire.Seq
}

// GateConfig is what a Gate is made from. The zero value of a field means its
// default.
type GateConfig struct {
	// Shards is how many the stream has. At least 1.
	Shards int
	// KeepBytes bounds, per shard, the records that are kept while the gate is
	// shut, for a snapshot is always older than the stream is when it arrives. One
	// batch is always kept. Default 32 MiB.
	KeepBytes int64
}

const gateKeepDefault = 32 << 20

// ErrGateBehind: a position lies before what the gate still has. A snapshot that
// is taken now will do.
var ErrGateBehind = errors.New("subscriber: the position lies before what the gate has kept")

// errGateBusy: the caller did not shut the gate, or did not wait.
var errGateBusy = errors.New("subscriber: the gate is opened before it was shut and Wait returned")

// Gate stands between the receive loops and a Handler that may drop everything and
// go on behind a snapshot. It is open at first: the loops call the next handler,
// as if nothing stood between. Once it is shut the loops never wait, and nothing
// reaches the next handler: of what comes, the end is kept, within bounds, and
// the rest is discarded. Then
//
//	g.Shut()                     // from here on
//	g.Wait(ctx)                  // no loop is in a call of the next handler any more
//	...                          // hand a snapshot to the next handler
//	g.Open(positions)            // records from the snapshot's positions on
//
// Behind the snapshot comes, shard by shard, exactly the record at its position
// and what follows it. Where the snapshot is ahead of the stream, what it holds is
// discarded as it comes.
//
// Shut, Wait and Open belong to one goroutine, which must not be a receive loop.
type Gate struct {
	next    Handler
	notices NoticeHandler // next, where it is one
	shards  []gateShard
	opened  atomic.Uint64
	refused atomic.Uint64
	settled bool // Wait has returned since Shut
}

type gateState int32

const (
	gateOpen gateState = iota
	// gateUntil: open, but what lies before a position is discarded.
	gateUntil
	gateShut
)

// gateShard is one shard of a Gate.
type gateShard struct {
	all    *Gate
	number int
	keep   int64

	state atomic.Int32
	busy  atomic.Bool   // the loop is in a call of the next handler, or about to look
	left  chan struct{} // told when it has returned and the gate is not open

	// at is behind the last record that was handed on or discarded. While the gate
	// is open it is the loop's, else under mu.
	at GatePosition

	mu       sync.Mutex
	kept     gateQueue
	session  *gateItem // the last session that there was no room for
	until    GatePosition
	reached  bool                // a record of its epoch has come
	through  bool                // what comes is handed on: until is reached
	epochs   [leftMax]wire.Epoch // that were left, as far as the gate knows
	epochsAt int

	discarded, untold atomic.Uint64
	_                 [64]byte // keep neighbours off each other's cache line
}

// NewGate checks cfg.
func NewGate(cfg GateConfig, next Handler) (*Gate, error) {
	if cfg.Shards < 1 {
		return nil, fmt.Errorf("subscriber: gate of %d shards, want 1 or more", cfg.Shards)
	}
	if cfg.KeepBytes < 0 {
		return nil, errors.New("subscriber: a bound of the gate is negative")
	}
	if cfg.KeepBytes == 0 {
		cfg.KeepBytes = gateKeepDefault
	}
	g := &Gate{next: next, shards: make([]gateShard, cfg.Shards)}
	g.notices, _ = next.(NoticeHandler)
	for i := range g.shards {
		s := &g.shards[i]
		s.all, s.number, s.keep, s.left = g, i, cfg.KeepBytes, make(chan struct{}, 1)
	}
	return g, nil
}

// Shut shuts the gate. It does not wait.
func (g *Gate) Shut() {
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		s.state.Store(int32(gateShut))
		s.mu.Unlock()
	}
	g.settled = false
}

// Wait waits until no receive loop is in a call of the next handler. The gate must
// be shut.
func (g *Gate) Wait(ctx context.Context) error {
	for i := range g.shards {
		s := &g.shards[i]
		for s.busy.Load() {
			select {
			case <-s.left:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	g.settled = true
	return nil
}

// Open opens a gate that is shut at a position per shard. It calls the next
// handler with what was kept from there on, while the loops wait, and returns its
// error. With ErrGateBehind nothing has happened and the gate is still shut.
func (g *Gate) Open(at []GatePosition) error {
	if len(at) != len(g.shards) {
		return fmt.Errorf("subscriber: %d positions for a gate of %d shards", len(at), len(g.shards))
	}
	if !g.settled {
		return errGateBusy
	}
	// All are locked from the first check on: what a shard keeps must not go before
	// its turn has come. This is the one place that holds several locks.
	for i := range g.shards {
		g.shards[i].mu.Lock()
	}
	var err error
	for i := range g.shards {
		if err = g.shards[i].checkLocked(at[i]); err != nil {
			g.refused.Add(1)
			break
		}
	}
	g.settled = err != nil
	for i := range g.shards {
		if err == nil {
			err = g.shards[i].openLocked(at[i])
		}
		g.shards[i].mu.Unlock()
	}
	if err == nil {
		g.opened.Add(1)
	}
	return err
}

// GateSummary is what a Gate did.
type GateSummary struct {
	Discarded uint64 // records that were not handed on
	Untold    uint64 // gaps, ends and notices that were not handed on
	Kept      uint64 // records that are kept now
	Opened    uint64 // times that the gate was opened
	Refused   uint64 // times that a position was behind
}

// Summary returns what was done so far. It may be called at any time.
func (g *Gate) Summary() GateSummary {
	sum := GateSummary{Opened: g.opened.Load(), Refused: g.refused.Load()}
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		sum.Kept += s.kept.records
		sum.Discarded += s.discarded.Load()
		sum.Untold += s.untold.Load()
		s.mu.Unlock()
	}
	return sum
}

// HandleBatch implements Handler.
func (g *Gate) HandleBatch(b *wire.Batch, skip uint32) error {
	s := &g.shards[b.Shard]
	if s.enter() {
		defer s.leave()
		s.at = GatePosition{b.Epoch, b.Next()}
		return g.next.HandleBatch(b, skip)
	}
	return s.take(&gateItem{kind: gateBatch, epoch: b.Epoch, batch: *b, skip: skip})
}

// HandleGap implements Handler.
func (g *Gate) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	s := &g.shards[shard]
	if s.enter() {
		defer s.leave()
		s.at = GatePosition{epoch, to}
		g.next.HandleGap(shard, epoch, from, to)
		return
	}
	_ = s.take(&gateItem{kind: gateGap, epoch: epoch, from: from, to: to}) // of a batch alone is there an error
}

// HandleSession implements Handler.
func (g *Gate) HandleSession(shard int, epoch wire.Epoch, session *wire.Session) {
	s := &g.shards[shard]
	if s.enter() {
		defer s.leave()
		g.next.HandleSession(shard, epoch, session)
		return
	}
	_ = s.take(&gateItem{kind: gateSession, epoch: epoch, session: session})
}

// HandleEnd implements Handler.
func (g *Gate) HandleEnd(shard int, epoch wire.Epoch, complete bool) {
	s := &g.shards[shard]
	if s.enter() {
		defer s.leave()
		g.next.HandleEnd(shard, epoch, complete)
		return
	}
	_ = s.take(&gateItem{kind: gateEnd, epoch: epoch, complete: complete})
}

// HandleNotice implements NoticeHandler. While the gate is shut notices are
// discarded.
func (g *Gate) HandleNotice(shard int, r wire.Record) {
	s := &g.shards[shard]
	switch {
	case g.notices == nil:
	case s.enter():
		defer s.leave()
		g.notices.HandleNotice(shard, r)
	default:
		_ = s.take(&gateItem{kind: gateNotice, notice: r})
	}
}
