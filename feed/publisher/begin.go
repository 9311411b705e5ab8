package publisher

import (
	"context"
	"fmt"

	"github.com/tapedeck/tapedeck/wire"
)

// place is how far a shard had come in an epoch.
type place struct {
	epoch wire.Epoch
	next  wire.Seq
	hash  wire.Hash
	// before are epochs of other publishers which that one went on with.
	before []wire.SessionPlace
}

// Begin begins a new epoch on every shard, for a source that goes on elsewhere:
// sequences and hashes begin at 0 again. Readers stay, and go on; the epoch before
// gets no end mark. start says why and where; what it says of the epoch before is
// set here, for each shard.
//
// A hello is the first message of the epoch on each shard, after everything that
// was sent before. Begin does not wait for a full queue: there the hello goes out as
// soon as there is room, before anything else. It waits for what is being sent at
// the moment, which belongs to the old epoch; whatever is sent later belongs to the
// new one.
func (p *Publisher) Begin(ctx context.Context, start wire.SessionStart) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.lock()
	defer p.unlock()
	return p.begin(&start, 0, (*shard).left)
}

// begin is Begin for who holds the shards: in an epoch above another one, and from a
// place of each shard. With no start it is the stream's beginning.
func (p *Publisher) begin(start *wire.SessionStart, above wire.Epoch, left func(*shard) place) error {
	if p.ended.Load() {
		return ErrEnded
	}
	hellos := make([][]byte, len(p.shards))
	for i, s := range p.shards {
		from := left(s)
		session := p.cfg.Session
		session.PairEpoch = p.pairEpoch.Load()
		var err error
		if start == nil {
			if hellos[i], err = wire.AppendSession(nil, &session); err != nil {
				return fmt.Errorf("publisher: session: %w", err)
			}
			continue
		}
		start.PreviousEpoch, start.PreviousNext, start.PreviousHash, start.Before = from.epoch, from.next, from.hash, nil
		if start.TakesOver() {
			start.Before = from.before
		}
		session.Start = start
		if hellos[i], err = wire.AppendSession(nil, &session); err != nil {
			return fmt.Errorf("publisher: session: %w", err)
		}
	}
	epoch := nextEpoch(max(p.Epoch(), above), p.cfg.Now())
	for i, s := range p.shards {
		from := left(s)
		s.lineage = nil
		if start != nil && start.TakesOver() {
			s.lineage = append([]wire.SessionPlace{{Epoch: from.epoch, Next: from.next}}, from.before[:min(len(from.before), lineageMax-1)]...)
		}
		s.before, s.owesHello = from, true
		s.hello, s.epoch, s.next, s.hash = hellos[i], epoch, 0, 0
		if s.line != nil {
			s.line.epoch, s.line.owing = s.line.epoch+1, false
		}
	}
	p.epoch.Store(uint64(epoch))
	for _, s := range p.shards {
		s.reap()
		if _, err := p.tryOwed(s); err != nil {
			return err
		}
	}
	return nil
}

// left is the place that the shard's readers leave when another epoch begins: one
// whose hello is still to be sent has shown itself to nobody.
func (s *shard) left() place {
	if s.owesHello {
		return s.before
	}
	at := place{epoch: s.epoch, next: s.next, hash: s.hash}
	for _, l := range s.lineage {
		at.before = append(at.before, wire.SessionPlace{Epoch: l.Epoch, Next: l.Next + s.next})
	}
	return at
}

// lineageMax is how many epochs a takeover names beyond the one that it goes on with.
const lineageMax = 16

// nextEpoch is the wall clock, or the next number where that is not above the epoch
// at hand.
func nextEpoch(epoch wire.Epoch, now wire.Nanos) wire.Epoch {
	return max(wire.Epoch(max(now, 0)), epoch+1, 1) // epoch+1 may be 0, which is no epoch
}
