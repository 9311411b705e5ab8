package wire

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
		return b, b.fault(reasonCRC)
	}
	return b, b.Check()
}

// ViewBatch is ParseBatch without looking inside payload and order: header and
// sizes are checked, CRC and records are not. A reference is refused: see
// ViewReference.
func ViewBatch(header, payload, order []byte) (Batch, error) {
	h, err := ParseHeader(header)
	if err != nil {
		return Batch{}, err
	}
	if h.Flags&FlagReference != 0 {
		return Batch{Header: h}, h.fault(reasonByReference)
	}
	return h.view(payload, order)
}

// ViewReference takes apart the two frames of a batch with FlagReference. The
// bytes that the reference means make it a batch: see Header.Resolve.
func ViewReference(header, frame []byte) (Header, Reference, error) {
	h, err := ParseHeader(header)
	if err != nil {
		return h, Reference{}, err
	}
	if h.Flags&FlagReference == 0 {
		return h, Reference{}, h.fault(reasonNoReference)
	}
	r, err := ParseReference(frame)
	return h, r, err
}

// Resolve returns the batch that a reference's header and the bytes at its place,
// payload and then order, make. It borrows them. Their size and checksum are
// checked, the records are not. The batch is then as any other, without
// FlagReference. The error is a *FormatError.
func (h *Header) Resolve(bytes []byte) (Batch, error) {
	n := int(h.PayloadSize)
	if len(bytes) != n+int(h.OrderSize) {
		return Batch{Header: *h}, h.fault(reasonFrameSizes)
	}
	b, err := h.view(bytes[:n:n], bytes[n:])
	b.Flags &^= FlagReference
	if err == nil && CRC(b.Payload, b.Order) != b.CRC {
		err = h.fault(reasonCRC)
	}
	return b, err
}

func (h *Header) view(payload, order []byte) (Batch, error) {
	b := Batch{Header: *h, Payload: payload, Order: order}
	if len(payload) != int(h.PayloadSize) || len(order) != int(h.OrderSize) {
		return b, h.fault(reasonFrameSizes)
	}
	return b, nil
}

// Check walks the records and the order frame and returns a *FormatError at the
// first one that is not as the format says.
func (b *Batch) Check() error {
	if b.Bare() {
		if len(b.Order) != 0 {
			return b.fault(reasonOrder)
		}
		if b.Flags&FlagNotice != 0 {
			_, err := b.Notice()
			return err
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
		return b.fault(reasonOrder)
	}
	return nil
}

// Notice returns the one record of a batch with FlagNotice, borrowed. The error is
// a *FormatError.
func (b *Batch) Notice() (Record, error) {
	n, reason := recordSize(b.Payload)
	if b.Flags&FlagNotice == 0 || reason != "" || n != len(b.Payload) || Record(b.Payload).Kind() != KindNotice {
		return nil, b.fault(reasonNotice)
	}
	return Record(b.Payload[:n:n]), nil
}

// Records returns a walk over the batch's records. The walk and its records
// borrow the payload.
func (b *Batch) Records() Walk {
	if b.Bare() {
		return Walk{}
	}
	return Walk{rest: b.Payload, size: len(b.Payload), first: b.FirstSeq, count: b.Count, left: b.Count, shard: b.Shard}
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
//
// It holds no pointer to the Batch: Next writes through a pointer, so the
// compiler would move every batch that is walked to the heap.
type Walk struct {
	rest  []byte // from the next record on
	rec   Record
	size  int // of the payload, bytes
	first Seq
	count uint32
	left  uint32 // records after the current one
	shard uint16
	badAt int
	bad   string
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
	w.bad, w.badAt = reason, w.size-len(w.rest)
	w.left, w.rest = 0, nil
}

// Record returns the current record, borrowed from the batch.
func (w *Walk) Record() Record { return w.rec }

// Seq returns the sequence of the current record, once Next has returned true.
func (w *Walk) Seq() Seq { return w.first + Seq(w.count-w.left) - 1 }

// Err returns nil when the walk ended where it should, else a *FormatError.
func (w *Walk) Err() error {
	if w.bad == "" {
		return nil
	}
	return &FormatError{Reason: w.bad, Shard: int(w.shard), Seq: w.first, Offset: w.badAt}
}
