package wire

import "encoding/binary"

// The order frame has one unsigned LEB128 varint per record after the first:
// how many ordinals lie between a record and the one before it in the same
// batch. The first record's ordinal is in the header. A stream of one shard
// whose ordinals follow one another has no order frame.

// AppendOrder appends the step from ordinal prev to ordinal next, which must be
// greater, and returns the extended slice.
func AppendOrder(dst []byte, prev, next Ordinal) []byte {
	return binary.AppendUvarint(dst, uint64(next-prev-1))
}

// OrderWalk yields the ordinals of a batch's records, in step with the walk
// over its records. It borrows the order frame.
type OrderWalk struct {
	rest []byte
	next Ordinal
}

// Next returns the ordinal of the next record.
func (w *OrderWalk) Next() Ordinal {
	o := w.next
	step := uint64(0)
	if len(w.rest) > 0 {
		// The batch was checked when it was parsed.
		v, n := binary.Uvarint(w.rest)
		step, w.rest = v, w.rest[max(n, 0):]
	}
	w.next = o + Ordinal(step) + 1
	return o
}

// orderOK reports whether order holds exactly count-1 minimal varints whose
// ordinals do not wrap.
func orderOK(order []byte, first Ordinal, count uint32) bool {
	o := uint64(first)
	for i := uint32(1); i < count; i++ {
		v, n := binary.Uvarint(order)
		if n <= 0 || (n > 1 && order[n-1] == 0) {
			return false // cut off, too long, or not the shortest form
		}
		next := o + v + 1
		if next <= o {
			return false // wraps
		}
		o, order = next, order[n:]
	}
	return len(order) == 0
}
