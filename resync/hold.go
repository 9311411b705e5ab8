package resync

import "github.com/tapedeck/tapedeck/wire"

// holding is a batch that waits for what comes before it: a copy. The machine
// that holds it owns it.
type holding struct {
	batch  wire.Batch
	refill bool
	server int    // that a refill came from
	buf    []byte // payload and order lie here
	size   int64  // counted against the bound, bytes
}

// holdingOverhead is what a held batch is counted with beside its bytes.
const holdingOverhead = 256

// heldSize is what a batch is counted with against the bound, bytes.
func heldSize(b *wire.Batch) int64 { return int64(len(b.Payload)+len(b.Order)) + holdingOverhead }

// fill copies a batch into h.
func (h *holding) fill(b *wire.Batch, refill bool) {
	h.buf = append(append(h.buf[:0], b.Payload...), b.Order...)
	n := len(b.Payload)
	h.batch, h.refill, h.size = *b, refill, heldSize(b)
	h.batch.Payload, h.batch.Order = h.buf[:n:n], h.buf[n:]
}

// holdings are the batches of one epoch that are held, by first sequence. They
// may overlap.
type holdings []*holding

// insert puts h at its place and reports whether it brings anything new.
func (hs *holdings) insert(h *holding) bool {
	list := *hs
	i := len(list) // nearly always the place: batches come in order
	for i > 0 && list[i-1].batch.FirstSeq > h.batch.FirstSeq {
		i--
	}
	if i > 0 && list[i-1].batch.Next() >= h.batch.Next() {
		return false
	}
	if i < len(list) && list[i].batch.FirstSeq == h.batch.FirstSeq && list[i].batch.Next() >= h.batch.Next() {
		return false
	}
	list = append(list, nil)
	copy(list[i+1:], list[i:])
	list[i] = h
	*hs = list
	return true
}

// shift takes the first out.
func (hs *holdings) shift() *holding {
	list := *hs
	h := list[0]
	list[0] = nil
	*hs = list[1:]
	return h
}

// covered is where the run that begins at or before from ends: the first sequence
// from from on that is not held. ahead are the holdings after that run.
func (hs holdings) covered(from wire.Seq) (to wire.Seq, ahead holdings) {
	to = from
	for i, h := range hs {
		if h.batch.FirstSeq > to {
			return to, hs[i:]
		}
		to = max(to, h.batch.Next())
	}
	return to, nil
}
