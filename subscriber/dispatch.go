package subscriber

import (
	"bytes"

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
	if err := d.fill(l, b, skip); err != nil {
		return nil, err
	}
	l.message, m = m, l.message
	l.pool.lend(l)
	d.send(l)
	return m, nil
}

// fill makes a batch the lease's. On error the lease is given back.
func (d *dispatcher) fill(l *lease, b *wire.Batch, skip uint32) error {
	l.kind, l.batch, l.skip = leaseBatch, *b, skip
	if d.split() {
		if err := l.sort(); err != nil {
			l.drop()
			return err
		}
	}
	l.place(b.Epoch, b.Next())
	return nil
}

// copied hands over a copy of a batch.
func (d *dispatcher) copied(b *wire.Batch, skip uint32, refill bool) error {
	size := int64(len(b.Payload) + len(b.Order))
	l, err := d.pools[b.Shard].take(size, d.stop)
	if err != nil {
		d.discarded.Add(1)
		return err
	}
	own := *b
	l.bytes = append(append(l.pool.room(size), b.Payload...), b.Order...)
	n := len(b.Payload)
	own.Payload, own.Order = l.bytes[:n:n], l.bytes[n:]
	if err := d.fill(l, &own, skip); err != nil {
		return err
	}
	l.refill = refill
	d.send(l)
	return nil
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

// HandleBatch implements Handler for a Between; the receive loops call keep. The
// batch that a loop has at hand, and waits with, keeps its message.
func (d *dispatcher) HandleBatch(b *wire.Batch, skip uint32) error {
	at := &d.loans[b.Shard]
	if at.batch.Load() != b {
		return d.copied(b, skip, false)
	}
	m, err := d.keep(b, skip, at.message)
	if err == nil {
		at.message = m
		at.batch.Store(nil) // what it lay in is another's now
	}
	return err
}

// HandleRefill is HandleBatch for a batch that does not come live.
func (d *dispatcher) HandleRefill(b *wire.Batch, skip uint32) error {
	return d.copied(b, skip, true)
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
	if kind == leaseGap {
		l.place(n.epoch, n.to)
	}
	d.send(l)
}
