package publisher

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// ErrNotice: a notice's topic is no operator topic, or its body is too large.
var ErrNotice = errors.New("publisher: not a notice")

const (
	noticesMax     = 64       // that wait for room; the oldest goes
	noticeTopics   = 16       // whose notices are counted
	noticeBodyMax  = 64 << 10 // bytes
	noticeTopicMax = wire.TopicSizeMax
)

// notices are what waits to be said on shard 0. Its lock is never held while a
// shard's is waited for.
type notices struct {
	mu      sync.Mutex
	records [][]byte // encoded, oldest first
	said    map[string]uint32
	waiting atomic.Int32 // len(records), for who looks whether there are any
	since   atomic.Int64 // when the oldest of them began to wait, by the wall clock
	dropped atomic.Uint64
}

// Notice tells every reader something about the stream itself: topic is an operator
// topic, see wire.OperatorPrefix, and body a JSON object. It is copied. The notice
// goes out on shard 0, at once where nobody is sending there. It may be lost:
// Notice never waits, and where a full queue keeps many from going out, the oldest
// is dropped and counted in Stats. A publisher that stands by says nothing. Any goroutine
// may call it.
func (p *Publisher) Notice(topic string, body []byte) error {
	switch {
	case p.ended.Load():
		return ErrEnded
	case !strings.HasPrefix(topic, wire.OperatorPrefix) || len(topic) > noticeTopicMax:
		return fmt.Errorf("%w: topic %q", ErrNotice, topic)
	case len(body) > noticeBodyMax:
		return fmt.Errorf("%w: body of %d bytes, at most %d", ErrNotice, len(body), noticeBodyMax)
	}
	if p.silent.Load() {
		return nil
	}
	if err := p.notices.add(topic, body, p.cfg.Now()); err != nil {
		return err
	}
	s := p.shards[0]
	if !s.mu.TryLock() {
		return nil // whoever holds it attends to it soon
	}
	defer s.mu.Unlock()
	return p.sendNotices(s)
}

func (n *notices) add(topic string, body []byte, now wire.Nanos) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := wire.Fields{Topic: []byte(topic), Body: body, Kind: wire.KindNotice, TopicSeq: n.said[topic], Event: now, Receive: now}
	record, err := wire.AppendRecord(nil, &f)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotice, err)
	}
	if n.said == nil {
		n.said = map[string]uint32{}
	}
	if _, known := n.said[topic]; known || len(n.said) < noticeTopics {
		n.said[topic]++
	}
	if len(n.records) >= noticesMax {
		n.records = n.records[1:]
		n.dropped.Add(1)
	}
	if len(n.records) == 0 {
		n.since.Store(int64(now))
	}
	n.records = append(n.records, record)
	n.waiting.Store(int32(len(n.records)))
	return nil
}

// take returns the oldest notice, or nil.
func (n *notices) take() []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.records) == 0 {
		return nil
	}
	record := n.records[0]
	n.records = n.records[1:]
	n.waiting.Store(int32(len(n.records)))
	return record
}

// putBack is for a notice for which there was no room.
func (n *notices) putBack(record []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.records) >= noticesMax {
		n.dropped.Add(1)
		return
	}
	n.records = append([][]byte{record}, n.records...)
	n.waiting.Store(int32(len(n.records)))
}

// noticeWait is how long a notice waits for room that batches do not leave.
const noticeWait = 100 * time.Millisecond

// sendOverdue sends, before a batch, notices that have waited for long: where the slowest
// reader's queue is full, each batch takes the room that there is as soon as there is any.
// Then it waits for it as a batch does.
func (p *Publisher) sendOverdue(ctx context.Context, s *shard) error {
	n := &p.notices
	if s.number != 0 || n.waiting.Load() == 0 || !p.cfg.Lossless || since(wire.Nanos(n.since.Load()), p.cfg.Now()) < wire.Nanos(noticeWait) {
		return nil
	}
	err := p.sendNotices(s)
	if err != nil || n.waiting.Load() == 0 {
		return err
	}
	defer p.stalling(s)()
	for err == nil && n.waiting.Load() > 0 {
		if err = errors.Join(s.pause(time.Millisecond), p.lookAround(ctx, s)); err == nil {
			err = p.sendNotices(s)
		}
	}
	return err
}

// sendNotices sends what waits, as far as there is room. The caller holds shard 0.
func (p *Publisher) sendNotices(s *shard) error {
	for p.notices.waiting.Load() > 0 {
		record := p.notices.take()
		if record == nil {
			return nil
		}
		sent, err := p.trySay(s, wire.FlagNotice, record)
		if !sent {
			p.notices.putBack(record)
			return err
		}
		s.count.Notices++
	}
	return nil
}
