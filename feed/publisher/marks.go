package publisher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// WaitReaders sends hellos until n readers have confirmed on every shard that
// they receive. n of 0 returns at once.
func (p *Publisher) WaitReaders(ctx context.Context, n int) error {
	for p.readers.receiving() < n {
		p.lock()
		for _, s := range p.shards {
			s.greet = true
		}
		p.unlock()
		if err := p.listen(ctx, helloEvery); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// lock takes all shards, in order. Who sends holds one and waits for none, so
// this ends.
func (p *Publisher) lock() {
	for _, s := range p.shards {
		s.mu.Lock()
	}
}

func (p *Publisher) unlock() {
	for _, s := range p.shards {
		s.mu.Unlock()
	}
}

// Tick does what is due while nothing is sent: it gives lent bytes back, sends
// heartbeats and greets readers that came. It never waits, and leaves alone a
// shard that is being sent to. Call it at least every 100 ms.
func (p *Publisher) Tick(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, s := range p.shards {
		if !s.mu.TryLock() {
			continue
		}
		s.reap()
		err := p.attend(s)
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// Heartbeat makes every shard say where it is without waiting for its silence: it
// ends the snapshot that an epoch began with, on shards that have nothing else to
// send. It does not wait for room: there the heartbeat goes out later.
func (p *Publisher) Heartbeat(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.lock()
	defer p.unlock()
	for _, s := range p.shards {
		s.owesBeat = true
		if err := p.attend(s); err != nil {
			return err
		}
	}
	return nil
}

// End sends the end mark on every shard and waits until every reader that is
// there has confirmed it, or has gone. It returns an error when readers stayed
// without confirming for longer than Config.EndWait. Calling it again only
// waits again.
func (p *Publisher) End(ctx context.Context) error {
	p.ended.Store(true)
	err := p.finish(ctx, wire.FlagEnd, p.cfg.EndWait)
	p.linger = err == nil
	return err
}

// Stop ends the stream before its source was through: it sends end marks that
// say so and gives readers a moment to confirm them. It never waits for a slow
// reader for longer than that, and drops what is unsent. Where End was called
// and broken off, all was sent, and readers get a last moment to confirm it.
func (p *Publisher) Stop() {
	mark := wire.FlagEnd | wire.FlagEarly
	switch {
	case p.linger, p.silent.Load():
		return // End is through, or nothing has begun
	case p.ended.Load():
		mark = wire.FlagEnd
	}
	p.ended.Store(true)
	// A reader that does not take the mark in time sees the silence.
	_ = p.finish(context.Background(), mark, stopWait)
}

// finish sends end marks, again every endEvery, until they have gone out on every
// shard and every reader has confirmed them.
func (p *Publisher) finish(ctx context.Context, mark wire.HeaderFlags, wait time.Duration) error {
	start := time.Now()
	var last time.Time
	for {
		again := false
		if now := time.Now(); last.IsZero() || now.Sub(last) >= endEvery {
			last, again = now, true
		}
		owed, err := p.sendEnds(mark, again)
		if err != nil {
			return err
		}
		if owed == 0 && p.readers.allDone() {
			return nil
		}
		if time.Since(start) > wait {
			pending := p.readers.pending()
			return fmt.Errorf("publisher: %d readers have not confirmed the end after %v: %q; %d shards have a full queue",
				len(pending), wait, pending, owed)
		}
		if err := p.listen(ctx, min(endEvery/10, wait)); err != nil {
			return err
		}
	}
}

// sendEnds sends the end marks that are due, all of them again where again is
// set, and returns how many shards have no room for one.
func (p *Publisher) sendEnds(mark wire.HeaderFlags, again bool) (owed int, err error) {
	p.lock()
	defer p.unlock()
	for _, s := range p.shards {
		s.reap()
		s.owesEnd = s.owesEnd || again
		if !s.owesEnd {
			continue
		}
		if s.number == 0 { // behind the mark nobody listens
			if err := p.sendNotices(s); err != nil {
				return owed, err
			}
			if p.notices.waiting.Load() > 0 && !p.keepsBack(s, wire.FlagNotice) {
				owed++ // there was no room; a moment later there may be, and the mark would go first
				continue
			}
		}
		sent, err := p.tryMark(s, mark)
		if err != nil {
			return owed, err
		}
		if s.owesEnd = !sent; s.owesEnd {
			owed++
		}
	}
	return owed, nil
}

// tryMark sends a hello, a heartbeat or an end mark, and reports whether there was
// room for it.
func (p *Publisher) tryMark(s *shard, flags wire.HeaderFlags) (bool, error) {
	if flags == wire.FlagHello {
		return p.trySay(s, flags, s.hello)
	}
	return p.trySay(s, flags, nil)
}

// trySay sends a mark and reports whether there was room for it. A mark says what
// was sent before it, so that must be out.
func (p *Publisher) trySay(s *shard, flags wire.HeaderFlags, payload []byte) (bool, error) {
	if through, err := p.tryOwed(s); err != nil || !through {
		return false, err
	}
	return p.put(s, flags, payload)
}

// put is trySay where nothing is owed.
func (p *Publisher) put(s *shard, flags wire.HeaderFlags, payload []byte) (bool, error) {
	now := p.cfg.Now()
	if p.keepsBack(s, flags) {
		return false, nil
	}
	h := wire.Header{Flags: flags, PayloadSize: uint32(len(payload)), CRC: wire.CRC(payload, nil)}
	p.fillHeader(s, &h, now)
	wire.PutHeader(s.header, &h)
	if s.line != nil {
		sent, err := s.putOnLine(payload, s.owesHello)
		if sent {
			s.went(flags, now)
		}
		return sent, err
	}
	switch err := s.socket.TrySend(s.header, payload); {
	case errors.Is(err, zsock.ErrAgain):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("publisher: shard %d: %w", s.number, err)
	}
	s.went(flags, now)
	return true, nil
}

// attend looks after a shard's readers: it takes in what they have said, greets
// those that came, and keeps a silent shard alive. It does not wait: where a
// queue is full, the mark is due the next time, too.
func (p *Publisher) attend(s *shard) error {
	if err := p.hear(s); err != nil {
		return err
	}
	s.show()
	now := p.cfg.Now()
	s.lastHear = now
	s.greet = s.greet || p.crowded(s)
	p.look(s)
	if p.silent.Load() {
		s.greet = false // a takeover greets everybody
		return nil
	}
	if s.line != nil {
		if err := s.tryMoveLine(); err != nil {
			return err
		}
	}
	if _, err := p.tryOwed(s); err != nil {
		return err
	}
	var err error
	switch {
	case s.greet:
		// Everybody on the shard gets this hello; readers that know it ignore it. Behind
		// the end mark it goes out, too: a reader of a pair takes no mark of an epoch
		// before its hello.
		var sent bool
		sent, err = p.tryMark(s, wire.FlagHello)
		s.greet = !sent
	case p.ended.Load():
	case s.owesBeat || since(s.lastSend, now) >= wire.Nanos(p.cfg.Heartbeat):
		var sent bool
		sent, err = p.tryMark(s, wire.FlagHeartbeat)
		s.owesBeat = s.owesBeat && !sent
	}
	if err == nil && s.number == 0 && !p.ended.Load() {
		err = p.sendNotices(s)
	}
	return err
}

// listen attends to all shards, waiting at most wait for the first word.
func (p *Publisher) listen(ctx context.Context, wait time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.lock()
	defer p.unlock()
	var err error
	if p.ready, err = p.poller.Wait(p.ready[:0], wait); err != nil {
		return fmt.Errorf("publisher: %w", err)
	}
	for _, s := range p.shards {
		if err := p.attend(s); err != nil {
			return err
		}
	}
	return nil
}

// lookAround attends to a shard that the caller holds, and to those of the others
// that nobody holds and nobody has attended to of late: while one shard keeps a
// goroutine busy, or is blocked, the others still greet who comes.
func (p *Publisher) lookAround(ctx context.Context, held *shard) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := p.attend(held); err != nil {
		return err
	}
	for _, s := range p.shards {
		if s == held || !s.mu.TryLock() {
			continue
		}
		var err error
		if since(s.lastHear, held.lastHear) >= wire.Nanos(listenEvery) {
			err = p.attend(s)
		}
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// hear takes in everything that waits on one shard.
func (p *Publisher) hear(s *shard) error {
	for s.socket.Readable() {
		frame, from, err := s.socket.TryRecvFrameFrom()
		if errors.Is(err, zsock.ErrAgain) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("publisher: shard %d: %w", s.number, err)
		}
		if !s.quota.Take(frame, from) {
			s.count.Excess++
			continue
		}
		s.greet = p.take(s, frame, from) || s.greet
	}
	return nil
}

// take takes in one frame and reports whether a reader came that wants a hello.
func (p *Publisher) take(s *shard, frame []byte, from zsock.Peer) (greet bool) {
	if len(frame) == 0 || frame[0] > 1 {
		s.count.Foreign++
		return false
	}
	sig, id, name := wire.ParseReaderSignal(frame)
	switch {
	case sig == wire.SignalDone && !p.ended.Load():
		// A reader that stays from session to session subscribes to all it ever
		// did when it connects anew: this word was for another publisher.
		return false
	case sig == wire.SignalStep, sig == wire.SignalUnstep:
		s.takeStep(frame)
		return false
	case sig == wire.SignalUnreport:
		return false
	case sig == wire.SignalReport:
		if !p.report(s, frame) {
			s.count.Refused++
		}
		return false
	case sig != wire.SignalNone:
		p.readers.take(s.number, sig, id, name, p.steady())
		if sig == wire.SignalReady {
			p.join(s, id, name, from)
		} else if sig == wire.SignalLeft {
			p.squawk(p.registry.Leave(p.steady(), id, s.number))
		}
		return false
	case bytes.HasPrefix(frame[1:], []byte(wire.Signature+"?")):
		s.count.Refused++
		return false
	}
	if frame[0] == 1 {
		p.join(s, wire.ReaderID{}, "", from)
	}
	s.filters.take(frame[1:], frame[0] == 1)
	if wanted := s.filters.references || s.filters.wantCopies(); wanted != s.wanted {
		s.wanted = wanted
		if wanted {
			p.wanted.Add(1)
		} else {
			p.wanted.Add(-1)
		}
	}
	return frame[0] == 1
}
