package replay

import (
	"context"
	"errors"
	"fmt"

	"github.com/tapedeck/tapedeck/wire"
)

// In lock-step the player sends a window of records, at most Config.Barrier in the one
// order, and nothing more before the readers that the publisher waits for have handled
// it. While they do, it gathers the next one.
//
// Batches are cut by rule, never by time, so that the same tape gives the same batches
// and rolling hashes, whatever the speed, the machine and the commands that only change
// when something goes out: a window ends where the number of the epoch's records, last
// values included, is a multiple of Config.Barrier, where a shard's batch has no room for
// the next record, behind last values, at the end of a pass, and behind a Step. It has one
// batch at most of each shard, and goes out whole when its last record is due: no record
// is ever early.

// BarrierPublisher is a Publisher whose readers a player in lock-step waits for.
type BarrierPublisher interface {
	Publisher
	// WaitHandled returns when all readers that it waits for are there and have handled
	// everything that was sent. It does soon after ctx ends. Send does not wait for
	// readers that are in time with that.
	WaitHandled(ctx context.Context) error
}

// ErrNoBarrier: the publisher is no BarrierPublisher, so nobody can be waited for.
var ErrNoBarrier = errors.New("replay: the publisher cannot wait until readers have handled what they got")

// lockstep is the window at hand.
type lockstep struct {
	gathered int // records in it so far
	room     int // records at which it is full, once there is one
	// whole is the run's context without its end: a window goes out whole or not at
	// all, or its batches could be cut otherwise when play goes on.
	whole context.Context
}

// fillBarrier checks what Config says of lock-step.
func (cfg *Config) fillBarrier() error {
	if cfg.Barrier < 0 {
		return fmt.Errorf("replay: windows of %d records, want 1 or more", cfg.Barrier)
	}
	if _, ok := cfg.Publisher.(BarrierPublisher); cfg.Barrier > 0 && cfg.Publisher != nil && !ok {
		return ErrNoBarrier
	}
	return nil
}

// inStep reports whether the player is in lock-step.
func (p *Player) inStep() bool { return p.cfg.Barrier > 0 }

// count takes note that a record was put into the window.
func (p *Player) count() {
	if p.gathered++; p.gathered > 1 {
		return
	}
	sent := wire.Seq(0)
	for _, t := range p.trails {
		sent += wire.Seq(t.next.Load())
	}
	p.room = p.cfg.Barrier - int(sent%wire.Seq(p.cfg.Barrier))
}

// sendFull sends the window where it is full.
func (p *Player) sendFull(ctx context.Context) error {
	if p.gathered == 0 || p.gathered < p.room {
		return nil
	}
	return p.sendWindow(ctx)
}

// sendWindow sends what was gathered, once readers have handled what came before.
func (p *Player) sendWindow(ctx context.Context) error {
	if p.gathered == 0 {
		return nil
	}
	if err := p.awaitHandled(ctx); err != nil {
		return err
	}
	for s := range p.open {
		if err := p.flush(p.whole, s); err != nil {
			return err
		}
	}
	p.gathered = 0
	return nil
}

// awaitHandled waits, in lock-step, until readers have handled everything that was sent.
func (p *Player) awaitHandled(ctx context.Context) error {
	if !p.inStep() {
		return nil
	}
	return p.cfg.Publisher.(BarrierPublisher).WaitHandled(ctx)
}
