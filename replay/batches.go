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
func (p *Player) Batches(ctx context.Context) iter.Seq2[*wire.Batch, error] {
	return func(yield func(*wire.Batch, error) bool) {
		// No reader at another end checks what is handed out, so it is done here.
		p.cfg.Publisher, p.cfg.Wait, p.checked = yielder(yield), 0, !p.cfg.Unchecked
		_, err := p.Run(ctx)
		if err != nil && !errors.Is(err, errEnough) {
			yield(nil, err)
		}
		p.Close()
	}
}

// errEnough: the loop was left.
var errEnough = errors.New("replay: the loop was left")

// yielder is a Publisher that hands each batch to a range loop.
type yielder func(*wire.Batch, error) bool

// Send implements Publisher.
func (y yielder) Send(_ context.Context, shard int, b *wire.Batch, done interface{ Release() }) error {
	defer done.Release()
	b.Shard = uint16(shard)
	if !y(b, nil) {
		return errEnough
	}
	return nil
}

// WaitReaders implements Publisher.
func (yielder) WaitReaders(ctx context.Context, _ int) error { return ctx.Err() }

// Tick implements Publisher.
func (yielder) Tick(ctx context.Context) error { return ctx.Err() }

// End implements Publisher.
func (yielder) End(context.Context) error { return nil }
