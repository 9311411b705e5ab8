package bench

import (
	"slices"

	"github.com/tapedeck/tapedeck/wire"
)

// span is the sequences [from, to).
type span struct{ from, to wire.Seq }

// once knows what sequences have come of a stream that comes over two connections: what
// lies before next, and what came beyond the first hole.
type once struct {
	next  wire.Seq
	ahead []span // in order, with holes between them and before the first
}

// take takes note of a sequence, and reports whether it is new. It takes no memory
// while as many pieces are ahead as there were before.
func (o *once) take(seq wire.Seq) bool {
	if seq < o.next {
		return false
	}
	i := len(o.ahead)
	for i > 0 && o.ahead[i-1].from > seq { // what comes lies at the end of one of a few pieces
		i--
	}
	switch {
	case i > 0 && seq < o.ahead[i-1].to:
		return false
	case i > 0 && seq == o.ahead[i-1].to:
		o.ahead[i-1].to++
		if i < len(o.ahead) && o.ahead[i].from == seq+1 {
			o.ahead[i-1].to = o.ahead[i].to
			o.ahead = slices.Delete(o.ahead, i, i+1)
		}
	case i < len(o.ahead) && o.ahead[i].from == seq+1:
		o.ahead[i].from = seq
	case seq == o.next: // nothing is ahead of it at once
		o.next++
		return true
	default:
		o.ahead = slices.Insert(o.ahead, i, span{seq, seq + 1})
	}
	if len(o.ahead) > 0 && o.ahead[0].from == o.next {
		o.next = o.ahead[0].to
		o.ahead = slices.Delete(o.ahead, 0, 1)
	}
	return true
}

// numbers is a set of the numbers that records carry: it tells what was handed on
// twice, whatever sequences say.
type numbers struct{ words []uint64 }

// add reports whether a number is new.
func (n *numbers) add(number uint64) bool {
	word, bit := number/64, uint64(1)<<(number%64)
	for word >= uint64(len(n.words)) {
		n.words = append(n.words, 0)
	}
	if n.words[word]&bit != 0 {
		return false
	}
	n.words[word] |= bit
	return true
}
