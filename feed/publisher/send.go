package publisher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

func (p *Publisher) send(ctx context.Context, shardNo int, b *wire.Batch, ref *wire.Reference, done interface{ Release() }) error {
	if err := p.sendable(ctx, b); err != nil {
		release(done)
		return err
	}
	s := p.shards[shardNo]
	if s.line != nil {
		ref = nil
	}
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
	s.lastSend, s.marks = h.Send, 0
	s.count.Records += uint64(h.Count)
	s.count.Batches++
	s.count.Bytes += uint64(len(b.Payload) + len(b.Order))
	if as != asBytes {
		s.count.Referred++
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
	defer p.stalling(s)()
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

func (p *Publisher) fillHeader(s *shard, h *wire.Header, now wire.Nanos) {
	h.Epoch, h.Shard, h.Shards = s.epoch, uint16(s.number), uint16(len(p.shards))
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
	if err := p.sendOverdue(ctx, s); err != nil {
		release(done)
		return asBytes, err
	}
	flags, stalls := h.Flags, false
	defer func() {
		if stalls {
			s.count.unstall(p.steady())
		}
	}()
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
		stalls = p.stall(s) || stalls
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
	if s.line != nil {
		return s.sendOnLine(h, b, p.cfg.QueueBytes)
	}
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

// sendOwed sends what the shard owes, if it does, and waits for it as sendForm
// would.
func (p *Publisher) sendOwed(ctx context.Context, s *shard) error {
	through, err := p.tryOwed(s)
	if through || err != nil {
		return err
	}
	defer p.stalling(s)()
	for !through && err == nil {
		if err = errors.Join(s.pause(time.Millisecond), p.lookAround(ctx, s)); err == nil {
			through, err = p.tryOwed(s)
		}
	}
	return err
}

// stall is counters.stall, and shows what was counted before: the wait may be long.
func (p *Publisher) stall(s *shard) bool {
	s.show()
	return s.count.stall(p.steady())
}

// stalling counts time as waited for the slowest reader until what it returns is
// called.
func (p *Publisher) stalling(s *shard) (over func()) {
	if !p.stall(s) {
		return func() {} // it is counted already
	}
	return func() { s.count.unstall(p.steady()) }
}
