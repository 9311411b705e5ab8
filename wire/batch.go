package wire

import "fmt"

// Batch is a view of one message: the header taken apart, and the payload and
// order frames borrowed.
type Batch struct {
	Header
	Payload []byte
	Order   []byte
}

// ParseBatch checks the frames of one message against the header and against
// each other and returns a view that borrows them: sizes, CRC, and that the
// records fill the payload exactly. order is nil when the message has no third
// frame. The error is a *FormatError.
//
// It reads every byte once for the CRC and every record head once; a reader
// that walks the records itself and has checked the CRC may use ViewBatch.
func ParseBatch(header, payload, order []byte) (Batch, error) {
	b, err := ViewBatch(header, payload, order)
	if err != nil {
		return b, err
	}
	if crc := CRC(payload, order); crc != b.CRC {
		return b, &FormatError{Reason: reasonCRC, Shard: int(b.Shard), Seq: b.FirstSeq}
	}
	return b, b.Check()
}

// ViewBatch is ParseBatch without looking inside payload and order: header and
// sizes are checked, CRC and records are not.
func ViewBatch(header, payload, order []byte) (Batch, error) {
	h, err := ParseHeader(header)
	if err != nil {
		return Batch{}, err
	}
	b := Batch{Header: h, Payload: payload, Order: order}
	if len(payload) != int(h.PayloadSize) || len(order) != int(h.OrderSize) {
		return b, &FormatError{Reason: reasonFrameSizes, Shard: int(h.Shard), Seq: h.FirstSeq}
	}
	return b, nil
}

// Check walks the records and the order frame and returns a *FormatError at the
// first one that is not as the format says.
func (b *Batch) Check() error {
	if b.Bare() {
		if len(b.Order) != 0 {
			return &FormatError{Reason: reasonOrder, Shard: int(b.Shard), Seq: b.FirstSeq}
		}
		return nil
	}
	w := b.Records()
	for w.Next() {
	}
	if err := w.Err(); err != nil {
		return err
	}
	if len(b.Order) != 0 && !orderOK(b.Order, b.FirstOrdinal, b.Count) {
		return &FormatError{Reason: reasonOrder, Shard: int(b.Shard), Seq: b.FirstSeq}
	}
	return nil
}

// Records returns a walk over the batch's records. The walk and its records
// borrow the payload.
func (b *Batch) Records() Walk {
	if b.Bare() {
		return Walk{}
	}
	return Walk{rest: b.Payload, left: b.Count, batch: b}
}

// Ordinals returns a walk over the ordinals of the batch's records.
func (b *Batch) Ordinals() OrderWalk { return OrderWalk{rest: b.Order, next: b.FirstOrdinal} }

// Walk visits the records of a batch in order:
//
//	for w := b.Records(); w.Next(); {
//		use(w.Record())
//	}
//
// A walk over bytes that were not checked stops at the first bad record; Err
// then says where.
type Walk struct {
	rest  []byte
	rec   Record
	batch *Batch
	left  uint32
	bad   string
	badAt int
}

// Next moves to the next record and reports whether there is one.
func (w *Walk) Next() bool {
	if w.left == 0 {
		if len(w.rest) != 0 {
			w.fail(reasonTrailing)
		}
		return false
	}
	n, reason := recordSize(w.rest)
	if reason != "" {
		w.fail(reason)
		return false
	}
	w.rec, w.rest = Record(w.rest[:n:n]), w.rest[n:]
	w.left--
	return true
}

func (w *Walk) fail(reason string) {
	w.bad, w.badAt = reason, len(w.batch.Payload)-len(w.rest)
	w.left, w.rest = 0, nil
}

// Record returns the current record, borrowed from the batch.
func (w *Walk) Record() Record { return w.rec }

// Seq returns the sequence of the current record.
func (w *Walk) Seq() Seq { return w.batch.FirstSeq + Seq(w.batch.Count-w.left) - 1 }

// Err returns nil when the walk ended where it should, else a *FormatError.
func (w *Walk) Err() error {
	if w.bad == "" {
		return nil
	}
	return &FormatError{Reason: w.bad, Shard: int(w.batch.Shard), Seq: w.batch.FirstSeq, Offset: w.badAt}
}

// FormatError says why bytes are not a message of this format.
type FormatError struct {
	Reason string // one of a fixed set of texts, so it can be a counter's label
	Shard  int    // shard and first sequence of the batch, where known
	Seq    Seq
	Offset int // offset in the payload, where known
}

// Error implements error.
func (e *FormatError) Error() string {
	if e.Seq == 0 && e.Shard == 0 && e.Offset == 0 {
		return "wire: " + e.Reason
	}
	return fmt.Sprintf("wire: shard %d, batch at sequence %d, payload offset %d: %s", e.Shard, e.Seq, e.Offset, e.Reason)
}

// The reasons of a FormatError.
const (
	reasonSignature   = "not a Tapedeck message (signature)"
	reasonVersion     = "unknown version"
	reasonHeaderSize  = "header frame has the wrong size"
	reasonReserved    = "reserved field is not zero"
	reasonHeaderFlags = "unknown or contradictory batch flags"
	reasonShard       = "shard number is outside the stream's shards"
	reasonEpoch       = "epoch is zero"
	reasonSizes       = "payload or order size is out of bounds"
	reasonBareCount   = "mark with records or payload"
	reasonCount       = "record count does not fit the payload"
	reasonFrameSizes  = "frame sizes differ from the header"
	reasonCRC         = "payload checksum differs"
	reasonRecordHead  = "record head is cut off"
	reasonTopicEmpty  = "record has an empty topic"
	reasonRecordFlags = "unknown record flag"
	reasonRecordCut   = "record is cut off"
	reasonWide        = "record has wide times without need"
	reasonTrailing    = "bytes after the last record"
	reasonOrder       = "order frame does not fit the records"
)
