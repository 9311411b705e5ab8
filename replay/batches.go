package replay

import (
	"context"
	"errors"
	"iter"

	"github.com/tapedeck/tapedeck/wire"
)

// Batches plays in this process, without sockets: it yields the batches that a
// publisher would be sent, in the same order and at the same pace. It is the
// shortest way from a tape to a strategy.
//
//	p, err := replay.New(replay.Config{Tape: t, Speed: replay.Max})
//	...
//	for b, err := range p.Batches(ctx) {
//		if err != nil {
//			return err
//		}
//		for w := b.Records(); w.Next(); {
//			use(w.Record())
//		}
//	}
//
// A batch and everything in it is borrowed until the loop's next step. An error
// is yielded once, with a nil batch, and ends the sequence; leaving the loop
// stops the player. Config.Publisher and Config.Wait are not used, and of the
// batch's header neither send time nor sequence is set. With one shard, the
// default for a tape of one, the records come in the tape's one order.
//
// The player takes commands from other goroutines; the loop itself must not give
// them, since they wait for its next step. After a seek the batches' epoch, at first
// 1, is one greater.
func (p *Player) Batches(ctx context.Context) iter.Seq2[*wire.Batch, error] {
	return func(yield func(*wire.Batch, error) bool) {
		// No reader at another end checks what is handed out, so it is done here.
		p.cfg.Publisher, p.cfg.Wait, p.checked = &yielder{yield: yield, epoch: 1}, 0, !p.cfg.Unchecked
		_, err := p.Run(ctx)
		if err != nil && !errors.Is(err, errEnough) && !errors.Is(err, ErrStopped) {
			yield(nil, err)
		}
		p.Close()
	}
}

// errEnough: the loop was left.
var errEnough = errors.New("replay: the loop was left")

// yielder is a Publisher that hands each batch to a range loop.
type yielder struct {
	yield func(*wire.Batch, error) bool
	epoch wire.Epoch
}

// Send implements Publisher.
func (y *yielder) Send(ctx context.Context, shard int, b *wire.Batch, done interface{ Release() }) error {
	defer done.Release()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b.Epoch, b.Shard = y.epoch, uint16(shard)
	if !y.yield(b, nil) {
		return errEnough
	}
	return nil
}

// WaitReaders implements Publisher.
func (*yielder) WaitReaders(ctx context.Context, _ int) error { return ctx.Err() }

// Tick implements Publisher.
func (*yielder) Tick(ctx context.Context) error { return ctx.Err() }

// End implements Publisher.
func (*yielder) End(context.Context) error { return nil }

// WaitHandled implements BarrierPublisher: the loop asks for the next batch when it is
// through with one.
func (*yielder) WaitHandled(ctx context.Context) error { return ctx.Err() }

// Begin implements EpochPublisher.
func (y *yielder) Begin(ctx context.Context, _ wire.SessionStart) error {
	y.epoch++
	return ctx.Err()
}

// Heartbeat implements EpochPublisher.
func (*yielder) Heartbeat(ctx context.Context) error { return ctx.Err() }

// Epoch implements EpochPublisher.
func (y *yielder) Epoch() wire.Epoch { return y.epoch }
