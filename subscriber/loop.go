package subscriber

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// loop receives one shard. It owns its context and socket, and one locked
// thread while it runs.
type loop struct {
	sub         *Subscriber
	shard       int
	socket      *zsock.Socket
	stream      Stream
	session     wire.Epoch // epoch whose session description was handed on
	ready       bool       // the publisher was told that this reader receives
	done        wire.Epoch // epoch whose end the publisher was told
	unannounced wire.Epoch // of a pair: a later one whose hello has not come
	warned      bool       // a refused frame has been reported
	heard       bool       // a message of the stream has come since the clock was read
	spoke       bool       // ... since the shard was last counted as quiet
	quietSince  time.Time  // the first of the receives since the last message that brought nothing
	references  references
	report      reporting
	step        stepping
	message     *zsock.Message
	batch       wire.Batch // of the message at hand; a variable would be moved to the heap for the handler
	counters    counters
}

// multicastRate bounds what a multicast publisher may send, as far as this end has
// a say, bits a second.
const multicastRate = 1e9

// lingerAtEnd lets the word that this reader has the end mark go out when the
// socket closes. Before that there is no word to wait for: without a publisher
// at the endpoint, closing would only hang for as long.
const lingerAtEnd = 250 * time.Millisecond

func (l *loop) run(ctx context.Context) (err error) {
	zctx, err := zsock.NewContext(cpu(l.sub.cfg.IOCPUs, l.shard))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, zctx.Close()) }()
	// The thread is locked because the receive loop's CPU is an attribute of
	// the thread, and unlocked by unpin.
	unpin, err := zsock.PinThread(cpu(l.sub.cfg.ReceiveCPUs, l.shard))
	if err != nil {
		return err
	}
	defer unpin()
	l.socket, err = zctx.NewSocket(zsock.SUB, zsock.SocketConfig{
		ReceiveQueue: queueLength(&l.sub.cfg), RecvTimeout: receiveSlice,
		MessageMax: wire.PayloadSizeMax, MulticastRate: multicastRate,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.socket.Close()) }()
	if err := l.connect(); err != nil {
		return fmt.Errorf("subscriber: shard %d: %w", l.shard, err)
	}
	if err := l.step.open(l); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.step.close()) }()
	return l.receive(ctx)
}

func (l *loop) connect() error {
	if err := l.socket.Connect(l.sub.cfg.Endpoints[l.shard]); err != nil {
		return err
	}
	if pair := l.sub.cfg.Pair; pair != nil {
		if err := l.socket.Connect(pair[l.shard]); err != nil {
			return err
		}
	}
	if l.sub.cfg.Watch {
		for _, topic := range wire.MarkTopics() {
			if err := l.socket.Subscribe(topic); err != nil {
				return err
			}
		}
		return nil
	}
	// Everything, so that a foreign publisher at the endpoint is noticed.
	return l.socket.Subscribe("")
}

func (l *loop) receive(ctx context.Context) (err error) {
	l.message = zsock.NewMessage()
	defer func() { l.message.Close() }() // by then it may be another one
	defer func() { err = errors.Join(err, l.closeTape()) }()
	defer l.settle()
	lastWord := time.Now()
	lastLook := lastWord
	for {
		err := l.recv()
		switch {
		case errors.Is(err, zsock.ErrAgain):
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			l.hush()
		case err != nil:
			return fmt.Errorf("subscriber: shard %d: %w", l.shard, err)
		default:
			if err := l.take(); err != nil {
				return err
			}
		}
		if err := l.step.send(l); err != nil {
			return fmt.Errorf("subscriber: shard %d: %w", l.shard, err)
		}
		if err := l.report.send(l); err != nil {
			return fmt.Errorf("subscriber: shard %d: %w", l.shard, err)
		}
		// What was refused is not the stream's word: a foreign publisher at the
		// endpoint is silence, too.
		if silence := l.sub.cfg.Silence; silence > 0 {
			now := time.Now()
			if l.heard {
				lastWord, l.heard = now, false
			} else if stall := now.Sub(lastLook) - receiveSlice; stall > 0 {
				lastWord = lastWord.Add(stall) // this process stood still, and has not listened
			}
			if now.Sub(lastWord) > silence {
				return fmt.Errorf("%w from shard %d (%s) for %v", ErrSilence, l.shard, l.sub.cfg.Endpoints[l.shard], silence)
			}
			lastLook = now
		}
		if l.stream.Ended() && !l.sub.cfg.Follow {
			return nil
		}
		// The context is looked at once a batch: a stream that never pauses
		// must still end promptly.
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// hush counts how long the shard has said nothing, after a receive that brought
// nothing: so a stream that does not pause costs no look at the clock.
func (l *loop) hush() {
	now := time.Now()
	if l.spoke || l.quietSince.IsZero() {
		l.quietSince, l.spoke = now.Add(-receiveSlice), false
	}
	l.counters.quiet.Store(int64(now.Sub(l.quietSince)))
}

// take takes in the message at hand.
func (l *loop) take() error {
	m := l.message
	if m.Frames() > 3 {
		l.refuse(fmt.Errorf("message of %d frames", m.Frames()))
		return nil
	}
	if wire.IsReference(m.Frame(0)) {
		if ok, err := l.resolve(m); !ok {
			return err
		}
	} else if !l.view(m) {
		return nil
	}
	return l.deliver(&l.batch)
}

// view takes the message for a batch with its bytes and reports whether it is
// one of this shard.
func (l *loop) view(m *zsock.Message) bool {
	var err error
	if l.batch, err = wire.ViewBatch(m.Frame(0), m.Frame(1), m.Frame(2)); err != nil {
		l.refuse(err)
		return false
	}
	b := &l.batch
	if want := 2 + int(min(b.OrderSize, 1)); m.Frames() != want {
		l.refuse(fmt.Errorf("message of %d frames, its header announces %d", m.Frames(), want))
		return false
	}
	if !l.ours(&b.Header) {
		return false
	}
	if wire.CRC(b.Payload, b.Order) != b.CRC {
		l.counters.corrupt.Add(1)
		l.refuse(errors.New("payload checksum differs"))
		return false
	}
	b.Flags &^= wire.FlagCopy // how it came is no handler's concern
	return true
}

// ours reports whether a header is of this shard.
func (l *loop) ours(h *wire.Header) bool {
	if int(h.Shard) == l.shard && int(h.Shards) == len(l.sub.cfg.Endpoints) {
		return true
	}
	l.refuse(fmt.Errorf("message of shard %d of %d, this is shard %d of %d: check --shards and the endpoints",
		h.Shard, h.Shards, l.shard, len(l.sub.cfg.Endpoints)))
	return false
}

func (l *loop) deliver(b *wire.Batch) error {
	var notice wire.Record
	if b.Flags&wire.FlagNotice != 0 {
		var err error
		if notice, err = b.Notice(); err != nil {
			l.refuse(err)
			return nil
		}
	}
	if l.sub.cfg.Pair != nil && !l.enters(b) {
		return nil
	}
	step := l.stream.Take(&b.Header)
	if step.Stale {
		l.refuseStale(b.Epoch)
		return nil
	}
	l.heard = true
	if !l.spoke {
		l.spoke = true
		l.counters.quiet.Store(0)
	}
	if step.NewEpoch {
		if err := l.enter(b); err != nil {
			return err
		}
	}
	h, c := l.sub.handler, &l.counters
	if step.GapFrom != step.GapTo {
		h.HandleGap(l.shard, b.Epoch, step.GapFrom, step.GapTo)
	}
	if b.Bare() && notice == nil && l.sub.marks != nil {
		l.sub.marks.HandleMark(l.shard, &b.Header)
	}
	switch {
	case b.Flags&wire.FlagHello != 0:
		if err := l.takeHello(b); err != nil {
			return err
		}
	case notice != nil:
		c.notices.Add(1)
		if l.sub.notices != nil {
			l.sub.notices.HandleNotice(l.shard, notice)
		}
	case !b.Bare() && step.Skip < b.Count:
		if lag := l.sub.cfg.Lag; lag != nil {
			lag(time.Duration(wire.NanosOf(time.Now())-b.Send), int(b.Count-step.Skip))
		}
		if err := l.hand(b, step.Skip); err != nil {
			return fmt.Errorf("shard %d, batch at sequence %d: %w", l.shard, b.FirstSeq, err)
		}
		if c.firstSend.Load() == 0 {
			c.firstSend.Store(int64(b.Send))
		}
		c.lastSend.Store(int64(b.Send))
		c.batches.Add(1)
		c.bytes.Add(uint64(len(b.Payload) + len(b.Order)))
	}
	l.publish()
	if l.stream.Ended() {
		return l.takeEnd(b, step)
	}
	return nil
}

// enters reports whether a message of a pair of publishers counts.
func (l *loop) enters(b *wire.Batch) bool {
	pair := uint64(0)
	if b.Flags&wire.FlagHello != 0 && l.session != b.Epoch {
		if about, err := wire.ParseSession(b.Payload); err == nil {
			pair = about.PairEpoch
		}
	}
	enters, ask := l.stream.Enters(&b.Header, pair)
	switch {
	case enters:
		return true
	case !ask:
		l.refuseStale(b.Epoch)
	case l.unannounced != b.Epoch:
		l.unannounced = b.Epoch
		if err := l.socket.Subscribe(wire.HelloTopic()); err != nil {
			l.refuse(err)
		}
	}
	return false
}

// enter is called with an epoch's first message.
func (l *loop) enter(b *wire.Batch) error {
	l.ready = false
	if b.Flags&wire.FlagHello != 0 || l.stream.epochs == 1 {
		return nil // who has just subscribed is greeted in any case
	}
	// The hello was lost with what else a full queue had no room for.
	return l.socket.Subscribe(wire.HelloTopic())
}

// takeHello hands the session on and tells the publisher, on the same socket,
// that this reader receives.
func (l *loop) takeHello(b *wire.Batch) error {
	l.step.hello = b.Send
	if l.session != b.Epoch {
		s, err := wire.ParseSession(b.Payload)
		if err != nil {
			l.refuse(err)
			return nil
		}
		l.session = b.Epoch
		tail, head := l.stream.Start(s.Start)
		for _, m := range []Missing{tail, head} {
			if !m.None() {
				l.sub.handler.HandleGap(l.shard, m.Epoch, m.From, m.To)
			}
		}
		l.sub.handler.HandleSession(l.shard, b.Epoch, &s)
		if err := l.negotiate(&s); err != nil {
			return err
		}
	}
	if l.ready || l.sub.cfg.Watch {
		return nil
	}
	l.ready = true
	return l.socket.Subscribe(wire.ReadyTopic(l.sub.id, l.sub.cfg.Name))
}

func (l *loop) takeEnd(b *wire.Batch, step Step) error {
	if step.Ended {
		l.sub.handler.HandleEnd(l.shard, b.Epoch, l.stream.Complete())
	}
	if l.done == b.Epoch || l.sub.cfg.Watch {
		return nil
	}
	l.done = b.Epoch
	if err := l.socket.SetLinger(lingerAtEnd); err != nil {
		return err
	}
	if err := l.socket.Subscribe(wire.DoneTopic(l.sub.id)); err != nil {
		return err
	}
	return l.closeTape() // no batch of the epoch follows
}

// publish makes the stream's numbers visible to Summary.
func (l *loop) publish() {
	c, s := &l.counters, &l.stream
	c.records.Store(s.records)
	c.gaps.Store(s.gaps)
	c.lost.Store(s.lost)
	c.repeated.Store(s.dups)
	c.epochs.Store(s.epochs)
	c.broken.Store(s.broken)
	c.diverged.Store(s.diverged)
	c.ended.Store(s.ended)
	c.early.Store(s.early)
	c.complete.Store(s.Complete())
}

func (l *loop) refuseStale(epoch wire.Epoch) {
	l.refuse(fmt.Errorf("message of epoch %d, which has been left", epoch))
}

// refuse counts a message that is not of this stream and reports the first one.
func (l *loop) refuse(err error) {
	l.counters.refused.Add(1)
	if !l.warned {
		l.warned = true
		l.sub.cfg.Warn(l.shard, fmt.Errorf("refused a message on shard %d (%s): %w", l.shard, l.sub.cfg.Endpoints[l.shard], err))
	}
}
