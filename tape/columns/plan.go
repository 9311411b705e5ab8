package columns

import (
	"encoding/binary"
	"slices"
)

const (
	// recordsMin: fewer records of a shape than this stay rows, because their
	// fields would have to be described.
	recordsMin = 32
	// bodyMax: longer bodies stay rows, because they are documents.
	bodyMax = 512
	// fieldPlanBits is what describing a field takes, about.
	fieldPlanBits = 6 * 8
	// rowsMin is the least width of a field of rows, and rowsBits how many bits a
	// byte there takes at least: planes make nothing of such bytes, but in rows a
	// compressor can find what is repeated.
	rowsMin  = 4
	rowsBits = 5.5
	// plainMin: bytes that take fewer bits than this together are not worth a
	// number.
	plainMin = 0.5
	// topBits is how much of what a byte can take the highest byte of a number
	// takes at most: what differs at random from record to record in its highest
	// byte cannot be foretold.
	topBits = 0.7
	// probe: after so many records of the sample a candidate that is behind by
	// more than probeSlack is given up.
	probe      = 32
	probeSlack = 1.25
)

// widths are the widths of numbers that are tried, bytes.
var widths = [...]int{2, 4, 6, 8}

// field is one field of the bodies of a shape.
type field struct {
	kind  uint8
	width int
	pred  uint8   // of a number
	skip  int     // fieldTopic: first byte of the topic
	pad   byte    // fieldTopic: what fills it up
	bits  float32 // estimate
}

// choose divides the bodies into fields so that what they take, as estimated by
// the sample, is least.
func (s *sample) choose(records int) {
	s.best, s.from = resize(s.best, s.width+1), resize(s.from, s.width+1)
	for i := range s.best {
		s.best[i] = 1e30
	}
	s.best[0] = 0
	described := fieldPlanBits / float32(records)
	for o := range s.width {
		// The one field that is known to fit all records, and takes nothing.
		if s.topic.width > 0 && s.at == o {
			s.step(o, s.topic, 0)
		}
		if s.varies[o] == 0 {
			s.step(o, field{kind: fieldConstant, width: 1}, 0)
		} else {
			s.step(o, field{kind: fieldBytes, width: 1, bits: s.plain[o]}, described)
		}
		s.tryNumbers(o, described)
	}
	s.collect()
}

// step notes that a field at an offset may follow the best fields before it.
func (s *sample) step(o int, f field, described float32) {
	to, bits := o+f.width, s.best[o]+f.bits+described
	if bits < s.best[to] {
		s.best[to], s.from[to] = bits, f
	}
}

// tryNumbers tries all numbers that begin at an offset.
func (s *sample) tryNumbers(o int, described float32) {
	for _, w := range widths {
		if o+w > s.width {
			return
		}
		plain := float32(0)
		for _, bits := range s.plain[o:][:w] {
			plain += bits
		}
		if plain < plainMin {
			continue
		}
		// The lowest byte of a number moves most, and does move, or a narrower
		// number would do.
		a, b := s.plain[o], s.plain[o+w-1]
		if a > 0 && a >= b && b <= s.top {
			s.tryNumber(field{kind: fieldNumberLE, width: w, bits: plain}, o, described)
		}
		if b > 0 && b >= a && a <= s.top {
			s.tryNumber(field{kind: fieldNumberBE, width: w, bits: plain}, o, described)
		}
	}
}

// tryNumber tries a number with each predictor; f.bits is what its bytes take as
// they are.
func (s *sample) tryNumber(f field, o int, described float32) {
	plain := f.bits
	for pred := range uint8(predictors) {
		// Times are long; and nothing is gained by a topic that is alone.
		if pred == predTopic && s.alone || pred >= predEvent && f.width < 6 {
			continue
		}
		d := s.residuals(&f, pred, o)
		if bits := classBits(d, scaleOf(d), f.bits); bits < f.bits {
			f.bits, f.pred = bits, pred
		}
	}
	if f.bits < plain {
		s.step(o, f, described)
	}
}

// residuals returns what a predictor leaves of a number in each record of the
// sample.
func (s *sample) residuals(f *field, pred uint8, o int) []int64 {
	d, shift, row := s.d[:s.count], uint(64-8*f.width), s.width+rowSlack
	rows, against := s.rows[o:], s.before[o:]
	switch pred {
	case predTopic:
		against = s.topics[o:]
		fallthrough
	case predPrevious:
		if f.kind == fieldNumberLE {
			for i, at := 0, 0; i < len(d); i, at = i+1, at+row {
				v, p := binary.LittleEndian.Uint64(rows[at:]), binary.LittleEndian.Uint64(against[at:])
				d[i] = extend(v-p, shift)
			}
			break
		}
		for i, at := 0, 0; i < len(d); i, at = i+1, at+row {
			v, p := binary.BigEndian.Uint64(rows[at:]), binary.BigEndian.Uint64(against[at:])
			d[i] = extend(v>>(shift&63)-p>>(shift&63), shift)
		}
	default:
		first := loadNumber(s.first[o:], f.kind, shift)
		for i, at := 0, 0; i < len(d); i, at = i+1, at+row {
			p := first
			if pred != predFirst {
				p += s.moved[pred-predEvent][i]
			}
			d[i] = extend(loadNumber(rows[at:], f.kind, shift)-p, shift)
		}
	}
	return d
}

// collect follows the best way back, and joins single bytes that lie side by
// side.
func (s *sample) collect() {
	s.fields = s.fields[:0]
	for at := s.width; at > 0; {
		f := s.from[at]
		at -= f.width
		if n := len(s.fields); n > 0 && f.kind <= fieldBytes && s.fields[n-1].kind == f.kind {
			s.fields[n-1].width += f.width
			s.fields[n-1].bits += f.bits
			continue
		}
		s.fields = append(s.fields, f)
	}
	slices.Reverse(s.fields)
	for i := range s.fields {
		f := &s.fields[i]
		if f.kind == fieldBytes && f.width >= rowsMin && f.bits >= rowsBits*float32(f.width) {
			f.kind = fieldRows
		}
	}
}
