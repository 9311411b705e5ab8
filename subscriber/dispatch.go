package subscriber

import (
	"bytes"
	"fmt"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// dispatcher is the side of Workers that the receive loops call. For one shard
// its methods are never called concurrently.
type dispatcher Workers

// keep implements keeper: it hands a batch over to the workers.
func (d *dispatcher) keep(b *wire.Batch, skip uint32, m *zsock.Message) (*zsock.Message, error) {
	size := max(int64(len(b.Payload)+len(b.Order)), messageMin)
	l, err := d.pools[b.Shard].take(size, d.stop)
	if err != nil {
		d.discarded.Add(1)
		return nil, err
	}
	l.kind, l.batch, l.skip = leaseBatch, *b, skip
	l.lost.Store(false)
	if d.split() {
		if err := l.sort(); err != nil {
			l.drop()
			return nil, err
		}
	}
	l.message, m = m, l.message
	d.send(l)
	return m, nil
}

// send hands a lease to every worker that has a part in it, and lets go of it.
func (d *dispatcher) send(l *lease) {
	all := l.kind != leaseBatch || !d.split()
	for i, q := range d.queues {
		if all || len(l.lists[i]) > 0 {
			l.refs.Add(1)
			q <- l
		}
	}
	l.drop()
}

func (d *dispatcher) split() bool { return len(d.queues) > 1 }

func (d *dispatcher) settle(shard int) { d.pools[shard].settle() }

// HandleBatch is never called: keep is.
func (d *dispatcher) HandleBatch(b *wire.Batch, _ uint32) error {
	panic(fmt.Sprintf("BUG: a batch of shard %d was not handed over", b.Shard))
}

// HandleGap implements Handler.
func (d *dispatcher) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	d.tell(shard, leaseGap, note{epoch: epoch, from: from, to: to})
}

// HandleSession implements Handler.
func (d *dispatcher) HandleSession(shard int, epoch wire.Epoch, s *wire.Session) {
	d.tell(shard, leaseSession, note{epoch: epoch, session: s})
}

// HandleEnd implements Handler.
func (d *dispatcher) HandleEnd(shard int, epoch wire.Epoch, complete bool) {
	d.tell(shard, leaseEnd, note{epoch: epoch, complete: complete})
}

// HandleNotice implements NoticeHandler. A notice is rare and small, so workers get
// a copy of it.
func (d *dispatcher) HandleNotice(shard int, r wire.Record) {
	d.tell(shard, leaseNotice, note{notice: bytes.Clone(r)})
}

// tell puts a note between the batches. It is lost when the run is stopped, as
// the batches are.
func (d *dispatcher) tell(shard int, kind leaseKind, n note) {
	l, err := d.pools[shard].take(0, d.stop)
	if err != nil {
		return
	}
	l.kind, l.note = kind, n
	l.batch.Shard = uint16(shard)
	d.send(l)
}
