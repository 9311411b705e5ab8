package subscriber

import (
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// keeper is a Handler that keeps batches, by reference, beyond the call.
type keeper interface {
	Handler
	// keep takes a batch of records as HandleBatch does, and the message that
	// it lies in, and gives the loop another message for it. It waits while it
	// holds as much as it may. On error the message stays the loop's.
	keep(b *wire.Batch, skip uint32, m *zsock.Message) (*zsock.Message, error)
	// settle waits until no batch of the shard is held any more.
	settle(shard int)
}

// hand gives the batch at hand to the handler.
func (l *loop) hand(b *wire.Batch, skip uint32) error {
	if l.sub.keeper == nil {
		return l.sub.handler.HandleBatch(b, skip)
	}
	m, err := l.sub.keeper.keep(b, skip, l.message)
	if err == nil {
		l.message = m
	}
	return err
}

// settle waits until nobody holds a batch of this loop any more, so that what
// its batches lie in may go. Received messages need no such wait, each is held
// for itself; memory that the loop maps does.
func (l *loop) settle() {
	if l.sub.keeper != nil {
		l.sub.keeper.settle(l.shard)
	}
}
