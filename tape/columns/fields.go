package columns

import "encoding/binary"

// Kinds of field in a body. The values are part of the format.
const (
	fieldConstant = 0 // the same bytes in every record
	fieldBytes    = 1 // a plane for each byte
	fieldRows     = 2 // the bytes of one record after those of the other
	fieldTopic    = 3 // the topic from one of its bytes on, filled up
	fieldNumberLE = 4 // a number, lowest byte first
	fieldNumberBE = 5 // a number, highest byte first
)

// Layouts of a shape. The values are part of the format.
const (
	layoutRows   = 0 // the bodies lie one after the other
	layoutFields = 1
)

// shape is what records have in common that lie in the same columns.
type shape struct {
	size  uint32 // of the body, bytes
	kind  byte
	flags byte
	rows  bool // the bodies lie one after the other
	count int  // records
}

// sortByShape fills order with the numbers of all records, sorted by shape; next
// has room for a number per shape.
func sortByShape(order, next []int32, shapeOf []uint64, shapes []shape) {
	at := int32(0)
	for i := range shapes {
		next[i] = at
		at += int32(shapes[i].count)
	}
	for i, s := range shapeOf {
		order[next[s]] = int32(i)
		next[s]++
	}
}

// grouped is what the records of one shape have: where their bodies are in the
// payload, and what their heads say.
type grouped struct {
	bodies  []uint32
	topic   []uint64
	event   []uint64
	receive []uint64
	values  []uint64 // of one field
	prev    []int32
	sorted  bool // prev is filled
}

func (g *grouped) resize(n int) {
	g.bodies, g.topic = resize(g.bodies, n), resize(g.topic, n)
	g.event, g.receive = resize(g.event, n), resize(g.receive, n)
	g.values, g.prev = resize(g.values, n), resize(g.prev, n)
}

// loadNumber reads a number of 64 - shift bits at the start of b, which has 8
// bytes.
func loadNumber(b []byte, kind uint8, shift uint) uint64 {
	if kind == fieldNumberBE {
		return binary.BigEndian.Uint64(b) >> (shift & 63)
	}
	return binary.LittleEndian.Uint64(b) << (shift & 63) >> (shift & 63)
}

// loadNumbers reads a field of all records.
func loadNumbers(payload []byte, g *grouped, kind uint8, width, at int) {
	shift := uint(64 - 8*width)
	for i, b := range g.bodies {
		o := int(b) + at
		if o+8 <= len(payload) {
			g.values[i] = loadNumber(payload[o:], kind, shift)
		} else {
			var end [8]byte
			copy(end[:], payload[o:])
			g.values[i] = loadNumber(end[:], kind, shift)
		}
	}
}

// storeNumbers is the inverse of loadNumbers.
func storeNumbers(payload []byte, g *grouped, kind uint8, width, at int) {
	v := g.values
	switch {
	case kind == fieldNumberLE && width == 8:
		for i, b := range g.bodies {
			binary.LittleEndian.PutUint64(payload[int(b)+at:], v[i])
		}
	case kind == fieldNumberLE && width == 4:
		for i, b := range g.bodies {
			binary.LittleEndian.PutUint32(payload[int(b)+at:], uint32(v[i]))
		}
	case kind == fieldNumberLE && width == 2:
		for i, b := range g.bodies {
			binary.LittleEndian.PutUint16(payload[int(b)+at:], uint16(v[i]))
		}
	case kind == fieldNumberBE && width == 8:
		for i, b := range g.bodies {
			binary.BigEndian.PutUint64(payload[int(b)+at:], v[i])
		}
	case kind == fieldNumberBE && width == 4:
		for i, b := range g.bodies {
			binary.BigEndian.PutUint32(payload[int(b)+at:], uint32(v[i]))
		}
	default:
		storeOdd(payload, g, kind, width, at)
	}
}

// storeOdd stores numbers of any width.
func storeOdd(payload []byte, g *grouped, kind uint8, width, at int) {
	var whole [8]byte
	for i, b := range g.bodies {
		if kind == fieldNumberBE {
			binary.BigEndian.PutUint64(whole[:], g.values[i]<<(64-8*width))
		} else {
			binary.LittleEndian.PutUint64(whole[:], g.values[i])
		}
		copy(payload[int(b)+at:], whole[:width])
	}
}
