package majordomo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
	"github.com/tapedeck/tapedeck/internal/zsock"
)

const (
	ticksPerBeat  = 4
	batchMessages = 256     // taken in at once
	batchBytes    = 1 << 20 // taken in at once, about
	batchesMax    = 16      // taken in before the clock is looked at
	outMax        = 4 << 20 // bytes that wait to be sent, about
)

// Run serves until ctx ends. Then it takes no more requests, waits StopWait for
// those at work, fails the others, disconnects the workers, and returns nil. It may
// be called once.
func (b *Broker) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, b.waiter.Wake)()
	step := b.cfg.Heartbeat / ticksPerBeat
	b.tick()
	for ctx.Err() == nil {
		if err := b.turn(step); err != nil {
			return err
		}
	}
	b.locked(b.m.stop)
	for until := b.now() + b.cfg.StopWait; b.m.open.len > 0 && b.now() < until; {
		if err := b.turn(min(step, until-b.now())); err != nil {
			return err
		}
	}
	b.locked(b.m.end)
	return b.socket.SetLinger(b.cfg.StopWait) // what was sent last is to go out
}

// turn waits for messages, takes them in, and does what time brings.
func (b *Broker) turn(step time.Duration) error {
	wait := max(b.ticked+step-b.now(), 0)
	if _, err := b.waiter.Wait(nil, wait); err != nil {
		return fmt.Errorf("majordomo: broker: %w", err)
	}
	if b.resign.Swap(false) {
		b.locked(b.m.resign)
	}
	// Before the clock: what has arrived is no silence.
	for range batchesMax {
		err := b.socket.RecvMany(b.in, batchMessages, batchBytes)
		if errors.Is(err, zsock.ErrAgain) {
			break
		}
		if err != nil {
			return fmt.Errorf("majordomo: broker: %w", err)
		}
		b.locked(b.take)
	}
	if b.now()-b.ticked >= step {
		b.tick()
	}
	return nil
}

func (b *Broker) tick() {
	b.ticked = b.now()
	b.locked(func() { b.m.tick(b.ticked) })
}

// locked has other goroutines not look at the machine while it is at work, and
// does what it wants done.
func (b *Broker) locked(work func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	work()
	b.act()
	b.flush()
}

// take takes in the messages of a batch.
func (b *Broker) take() {
	now, size := b.now(), 0
	var m message
	for frames := b.in.Next(); frames != nil; frames = b.in.Next() {
		parseAtBroker(&m, frames)
		if !b.may(&m) {
			continue
		}
		switch m.command {
		case clientRequest:
			b.request(now, &m)
		case workerReply:
			if j := b.m.reply(now, m.from, m.client[0]); j != nil {
				b.answer(j, m.body)
			}
		case workerReady:
			b.m.ready(now, m.from, m.service)
		case heartbeat:
			b.m.heartbeat(now, m.from)
		case disconnect:
			b.m.disconnect(now, m.from)
		case requestTooLong:
			b.refuse(&m, b.m.turnAway(ReasonTooLarge))
		default:
			b.m.count.Malformed++
		}
		b.act()
		if b.out.Size() >= outMax {
			b.flush()
		}
		for _, f := range frames {
			size += len(f)
		}
	}
	if size > largeBatch {
		// It must not keep the memory of the largest message that ever came.
		b.in.Close()
		b.in = zsock.NewInbox()
	}
}

const largeBatch = 8 << 20 // bytes

// may reports whether a message is taken in. A client is told so, where it understands
// that; a worker is not, and tries again as if nobody were here.
func (b *Broker) may(m *message) bool {
	if b.cfg.May == nil || m.command == invalid {
		return true
	}
	user := b.in.From().User
	client := m.command == clientRequest || m.command == requestTooLong
	if user == "" || b.cfg.May(user, !client, m.service, m.body) {
		return true
	}
	b.m.count.NoRight++
	if client {
		b.refuse(m, ReasonNoRight)
		b.act()
	}
	return false
}

func (b *Broker) request(now time.Duration, m *message) {
	if b.cfg.Accept != nil {
		if !b.cfg.Accept(m.votes()) {
			b.refuse(m, b.m.turnAway(ReasonPassive))
			return
		}
		b.m.resigned = false
	}
	if reserved(m.service) {
		b.m.count.Own++
		b.answerOwn(now, m)
		return
	}
	if reason := b.m.request(now, m.from, m.path, m.service, m.body); reason != "" {
		b.refuse(m, reason)
	}
}

// act does what the machine wants done: it puts messages into the outbox.
func (b *Broker) act() {
	for i := range b.m.acts {
		switch a := &b.m.acts[i]; a.do {
		case actSend:
			b.command(a.peer.address, frameWorkerAsks, false)
			b.out.Frame(a.client, false)
			b.out.Frame(frameEmpty, false)
			for i := range a.job.body.len() {
				b.out.Frame(a.job.body.at(i), i == a.job.body.len()-1)
			}
			b.sent(outbound{peer: a.peer, ticket: a.job.ticket})
		case actBeat:
			b.command(a.peer.address, frameHeartbeat, true)
			b.sent(outbound{peer: a.peer})
		case actDisconnect:
			b.command(a.address, frameDisconnect, true)
			b.sent(outbound{})
		case actFail:
			if a.job.hasNum {
				b.reply(a.job)
				b.failure(a.job.number, a.reason)
			}
		case actDrop:
			b.m.recycle(a.job)
		}
	}
	clear(b.m.acts)
	b.m.acts = b.m.acts[:0]
}

// command puts the beginning of a message to a worker into the outbox.
func (b *Broker) command(address, command []byte, last bool) {
	b.out.Frame(address, false)
	b.out.Frame(frameEmpty, false)
	b.out.Frame(frameWorker, false)
	b.out.Frame(command, last)
}

// reply puts the beginning of a reply to a request into the outbox.
func (b *Broker) reply(j *job) {
	b.out.Frame(j.client.address, false)
	for i := range j.path.len() {
		b.out.Frame(j.path.at(i), false)
	}
	b.out.Frame(frameEmpty, false)
	b.out.Frame(frameClient, false)
	b.out.Frame(j.service.name, false)
}

func (b *Broker) answer(j *job, body [][]byte) {
	b.reply(j)
	b.end(body)
}

// end ends a message to a client in the outbox.
func (b *Broker) end(body [][]byte) {
	for i, f := range body {
		b.out.Frame(f, i == len(body)-1)
	}
	b.sent(outbound{reply: true})
}

// replyTo puts the beginning of a reply to a message that was not taken in into
// the outbox.
func (b *Broker) replyTo(m *message) {
	b.out.Frame(m.from, false)
	for _, f := range m.path {
		b.out.Frame(f, false)
	}
	b.out.Frame(frameEmpty, false)
	b.out.Frame(frameClient, false)
	b.out.Frame(m.service, false)
}

// refuse tells a client why its request is not taken in, where it understands that.
func (b *Broker) refuse(m *message, reason Reason) {
	if n, failed, ok := pirate.ParseNumber(m.body[0]); ok && !failed {
		b.replyTo(m)
		b.failure(n, reason)
	}
}

func (b *Broker) failure(number uint64, reason Reason) {
	b.number = pirate.AppendNumber(b.number[:0], number, true)
	b.out.Frame(b.number, false)
	b.out.Frame([]byte(reason), true)
	b.sent(outbound{reply: true})
}

// outbound says what a message in the outbox is, should it not go out.
type outbound struct {
	peer   *peer  // whom it is for, where that is a worker
	ticket uint64 // of the request, where it is one
	reply  bool
}

// sent takes note of the message that was just put into the outbox.
func (b *Broker) sent(o outbound) { b.outs = append(b.outs, o) }

// flush sends what is in the outbox. What cannot be sent to one does not keep it
// from the others.
func (b *Broker) flush() {
	large := b.out.Size() > largeBatch
	for next := 0; b.out.Messages() > 0; next++ {
		n, err := b.socket.SendMany(&b.out)
		if err == nil {
			break
		}
		next += n
		b.out.Drop()
		b.unsent(b.outs[next], errors.Is(err, zsock.ErrUnreachable))
		b.act() // puts more in
	}
	clear(b.outs)
	b.outs = b.outs[:0]
	if large {
		b.out = zsock.Outbox{}
	}
}

// unsent takes note of a message that did not go out: its peer is gone, or does not
// read.
func (b *Broker) unsent(o outbound, gone bool) {
	switch {
	case o.peer != nil && (gone || o.ticket != 0):
		b.m.unreachable(b.now(), o.peer, o.ticket)
	case o.reply && gone:
		b.m.count.Unreachable++
	case o.reply:
		b.m.count.Dropped++
	}
}
