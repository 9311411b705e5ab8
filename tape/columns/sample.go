package columns

import (
	"encoding/binary"
	"math"
)

// How many records of a shape the choice of its fields looks at: one in
// sampleShare, but not less than sampleMin or more than sampleMax.
const (
	sampleShare = 8
	sampleMin   = 32
	sampleMax   = 160
)

// rowSlack is what follows a row of a sample, so that 8 bytes can be read at any
// of its bytes.
const rowSlack = 8

// sample holds some records of a shape side by side.
type sample struct {
	width  int
	count  int
	rows   []byte // bodies, width bytes and rowSlack each
	before []byte // the bodies before them
	topics []byte // the bodies before of the same topic
	alone  bool   // topics is what before is
	first  []byte // the shape's first body, and rowSlack
	moved  [2][sampleMax]uint64
	varies []byte    // per byte of a body: the bits that are not the same in all records
	plain  []float32 // per byte of a body: bits it takes as it is, estimated
	top    float32   // the highest byte of a number takes at most so many

	d      [sampleMax]int64 // scratch of a candidate
	best   []float32        // least cost of the first o bytes
	from   []field          // the field that ends there
	fields []field          // the choice
	topic  field            // a field that repeats the topic; without width there is none
	at     int              // its offset
}

// take fills the sample; it reports false where the bodies are text, whose
// fields have no fixed places.
func (s *sample) take(g *grouped, payload []byte, width int) bool {
	n := len(g.bodies)
	row, step := width+rowSlack, n/min(max(n/sampleShare, sampleMin), sampleMax)
	s.width, s.count, s.alone = width, 0, true
	s.rows = resize(s.rows, row*sampleMax)
	s.before, s.topics = resize(s.before, row*sampleMax), resize(s.topics, row*sampleMax)
	body := func(i int) []byte { return payload[g.bodies[i]:][:width] }
	text := true
	for i := step / 2; i < n && s.count < sampleMax; i += step {
		at := s.count * row
		copy(s.rows[at:], body(i))
		copy(s.before[at:], body(max(i-1, 0)))
		copy(s.topics[at:], body(int(g.prev[i])))
		s.alone = s.alone && int(g.prev[i]) == max(i-1, 0)
		s.moved[0][s.count] = g.event[i] - g.event[0]
		s.moved[1][s.count] = g.receive[i] - g.receive[0]
		text = text && isText(body(i))
		s.count++
	}
	if text {
		return false
	}
	s.first = resize(s.first, row)
	copy(s.first, body(0))
	s.varies = resize(s.varies, width)
	clear(s.varies)
	for i := range g.bodies {
		differ(s.varies, s.first, body(i))
	}
	s.measureBytes()
	s.top = topBits * float32(math.Log2(float64(s.count)))
	return true
}

// measureBytes fills plain.
func (s *sample) measureBytes() {
	s.plain = resize(s.plain, s.width)
	for o := range s.plain {
		s.plain[o] = 0
		if s.varies[o] == 0 {
			continue
		}
		var counts [256]uint8
		for at := o; at < s.count*(s.width+rowSlack); at += s.width + rowSlack {
			counts[s.rows[at]]++
		}
		s.plain[o] = byteBits(&counts, s.count)
	}
}

func isText(b []byte) bool {
	for _, c := range b {
		if (c < ' ' || c > '~') && c != '\t' && c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}

// differ sets the bits of acc in which a and b differ; all have the size of acc
// at least.
func differ(acc, a, b []byte) {
	le, i := binary.LittleEndian, 0
	for ; i+8 <= len(acc); i += 8 {
		le.PutUint64(acc[i:], le.Uint64(acc[i:])|(le.Uint64(a[i:])^le.Uint64(b[i:])))
	}
	for ; i < len(acc); i++ {
		acc[i] |= a[i] ^ b[i]
	}
}
