package tape

import (
	"encoding/binary"

	"github.com/tapedeck/tapedeck/wire"
)

// orderLast checks an order frame of count records (see wire) and returns the
// ordinal of the last one, and whether every step is zero, so that the frame
// says nothing and can be left out.
func orderLast(order []byte, first wire.Ordinal, count uint32) (last wire.Ordinal, dense, ok bool) {
	if len(order) == 0 {
		last = first + wire.Ordinal(count-1)
		return last, true, last >= first
	}
	last, dense = first, true
	for range count - 1 {
		step, n := binary.Uvarint(order)
		if n <= 0 || (n > 1 && order[n-1] == 0) {
			return 0, false, false // cut off, too long, or not the shortest form
		}
		next := last + wire.Ordinal(step) + 1
		if next <= last {
			return 0, false, false // wraps
		}
		dense = dense && step == 0
		last, order = next, order[n:]
	}
	return last, dense, len(order) == 0
}

// orderBuilder gathers an order frame. While every step is zero it stays empty:
// the shortest frame that says the same is none.
type orderBuilder struct {
	buf   []byte
	dense int // steps so far, all zero, that are not in buf
}

func (o *orderBuilder) reset() { o.buf, o.dense = o.buf[:0], 0 }

// step appends one step.
func (o *orderBuilder) step(prev, next wire.Ordinal) {
	if next == prev+1 && len(o.buf) == 0 {
		o.dense++
		return
	}
	o.spell()
	o.buf = wire.AppendOrder(o.buf, prev, next)
}

// steps appends the frame of a batch of n+1 records, checked by orderLast.
func (o *orderBuilder) steps(order []byte, n int, dense bool) {
	switch {
	case dense && len(o.buf) == 0:
		o.dense += n
	case dense:
		o.dense = n
		o.spell()
	default:
		o.spell()
		o.buf = append(o.buf, order...)
	}
}

// spell writes out the zero steps that were only counted.
func (o *orderBuilder) spell() {
	for ; o.dense > 0; o.dense-- {
		o.buf = append(o.buf, 0)
	}
}
