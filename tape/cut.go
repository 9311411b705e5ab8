package tape

import (
	"encoding/binary"

	"github.com/tapedeck/tapedeck/wire"
)

// cutPoint is a place between two records of a batch.
type cutPoint struct {
	index   uint32       // records before it
	payload int          // bytes before it
	order   int          // bytes of the order frame before the record behind it
	ordinal wire.Ordinal // of the record behind it
}

// cutter finds places in one batch, from the front on.
type cutter struct {
	batch *wire.Batch
	at    cutPoint
}

// next moves behind one more record. The error is a *wire.FormatError.
func (c *cutter) next() error {
	rec, err := wire.ParseRecord(c.batch.Payload[c.at.payload:])
	if err != nil {
		return err
	}
	c.at.index++
	c.at.payload += len(rec)
	step := uint64(0)
	if len(c.batch.Order) > 0 && c.at.index < c.batch.Count {
		v, n := binary.Uvarint(c.batch.Order[min(c.at.order, len(c.batch.Order)):])
		if n <= 0 {
			return &wire.FormatError{Reason: reasonOrder, Shard: int(c.batch.Shard), Seq: c.batch.FirstSeq, Offset: c.at.order}
		}
		step = v
		c.at.order += n
	}
	c.at.ordinal += wire.Ordinal(step) + 1
	return nil
}

const reasonOrder = "order frame is cut off"

// cutBatch returns the part of a batch that begins with sequence from, which the
// batch has, and ends before to, with about most bytes of payload: at least one
// record, and with most at 0 or below all of them. hint, a place in the batch at
// or before from, or nil, saves the walk up to it; it becomes where the part
// ends. The part borrows the batch's bytes; it is the batch itself where that is
// what was asked for and its checksum is known.
func cutBatch(b *wire.Batch, from, to wire.Seq, most int, summed bool, hint *cutPoint) (wire.Batch, error) {
	if from == b.FirstSeq && to >= b.Next() && (most <= 0 || len(b.Payload) <= most) {
		out := *b
		if !summed {
			out.CRC = wire.CRC(out.Payload, out.Order)
		}
		return out, nil
	}
	c := cutter{batch: b, at: cutPoint{ordinal: b.FirstOrdinal}}
	first := uint32(from - b.FirstSeq)
	if hint != nil && hint.index > 0 && hint.index <= first {
		c.at = *hint
	}
	for c.at.index < first {
		if err := c.next(); err != nil {
			return wire.Batch{}, err
		}
	}
	start := c.at
	last := uint32(min(to, b.Next()) - b.FirstSeq)
	end := start // where the part's steps end: before that of the record behind it
	for c.at.index < last {
		before := c.at.order
		if err := c.next(); err != nil {
			return wire.Batch{}, err
		}
		if most > 0 && c.at.index > start.index+1 && c.at.payload-start.payload > most {
			break
		}
		end = c.at
		end.order = before
		if hint != nil {
			*hint = c.at
		}
	}
	out := *b
	out.FirstSeq, out.FirstOrdinal = from, start.ordinal
	out.Count = end.index - start.index
	out.Payload = b.Payload[start.payload:end.payload:end.payload]
	out.Order = b.Order[min(start.order, end.order):end.order:end.order]
	out.PayloadSize, out.OrderSize = uint32(len(out.Payload)), uint32(len(out.Order))
	out.CRC = wire.CRC(out.Payload, out.Order)
	return out, nil
}
