package tape

import "github.com/tapedeck/tapedeck/wire"

// AppendBatch adds the records of a batch, copying them; the batch's header and
// order frame must belong to it. Small batches that follow one another share a
// block. A batch without records (end mark, heartbeat, hello) adds nothing. Nor
// does a batch of last values, which repeat what came before; but the tape takes
// note that its sequences are no gap. Errors are those of Append; a batch is added
// whole or not at all.
func (w *Writer) AppendBatch(batch *wire.Batch) error {
	if batch.Bare() {
		return nil
	}
	if batch.Flags&wire.FlagSnapshotBatch != 0 {
		return w.pass(batch)
	}
	last, dense, ok := orderLast(batch.Order, batch.FirstOrdinal, batch.Count)
	if !ok || batch.Count == 0 {
		return &OrderError{Reason: "order frame does not fit the records", Shard: int(batch.Shard),
			Epoch: batch.Epoch, Seq: batch.FirstSeq, Ordinal: batch.FirstOrdinal}
	}
	sum, err := sumBatch(batch)
	if err != nil {
		return err
	}
	at := At{Shard: int(batch.Shard), Epoch: batch.Epoch, Seq: batch.FirstSeq, Ordinal: batch.FirstOrdinal, Send: batch.Send}
	b, err := w.lockShard(at.Shard)
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	j, err := w.room(b, &at, len(batch.Payload))
	if err != nil {
		return err
	}
	if j.info.Count > 0 {
		j.order.step(b.ordinal, at.Ordinal)
	} else {
		j.first = sum.first
	}
	j.order.steps(batch.Order, int(batch.Count-1), dense)
	j.raw = append(j.raw, batch.Payload...)
	j.info.Event.merge(sum.event)
	j.info.Receive.merge(sum.receive)
	j.info.Count += batch.Count
	j.last = sum.last
	b.advance(&at, batch.Count, last)
	w.full(b)
	return nil
}

// batchSum is what a block's header needs to know of a batch's records.
type batchSum struct {
	event   Span
	receive Span
	first   edge // times only
	last    edge
}

// sumBatch walks over a batch's records. The error is a *wire.FormatError.
func sumBatch(batch *wire.Batch) (batchSum, error) {
	sum := batchSum{event: emptySpan(), receive: emptySpan()}
	if len(batch.Payload) > wire.PayloadSizeMax {
		return sum, &wire.FormatError{Reason: "payload is too large", Shard: int(batch.Shard), Seq: batch.FirstSeq}
	}
	w := batch.Records()
	for first := true; w.Next(); first = false {
		rec := w.Record()
		sum.last = edge{event: rec.Event(), receive: rec.Receive()}
		if first {
			sum.first = sum.last
		}
		sum.event.add(sum.last.event)
		sum.receive.add(sum.last.receive)
	}
	return sum, w.Err()
}
