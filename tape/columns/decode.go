package columns

import (
	"encoding/binary"

	"github.com/tapedeck/tapedeck/wire"
)

// Decoder turns columns back into payloads. It keeps buffers between calls, and
// belongs to one goroutine at a time. The zero value is ready.
type Decoder struct {
	plan, data cursor

	dst     []byte  // payload, then order
	end     int     // of the payload
	starts  []int32 // of the topics in names
	names   []byte
	topic   []uint64
	seq     []uint64
	event   []uint64
	receive []uint64
	shape   []uint64
	bodies  []uint32
	shapes  []shape
	prev    []int32
	last    []int32
	next    []int32
	order   []int32

	grouped grouped
}

// Decode fills dst with the payload and, behind it, the order that src was made
// from. dst must have the size of both together. The error is ErrFormat where
// src does not hold exactly that many bytes; dst is undefined then. Both are
// borrowed until return. The memory used is in proportion to dst. Whether the
// records are those that were encoded is for a checksum to say.
func (d *Decoder) Decode(dst, src []byte) error {
	defer d.release()
	if len(src) < planSizeSize {
		return ErrFormat
	}
	size := binary.LittleEndian.Uint32(src)
	src = src[planSizeSize:]
	if uint64(size) > uint64(len(src)) || len(dst) > sizeMax {
		return ErrFormat
	}
	d.dst, d.plan, d.data = dst, cursor{b: src[:size]}, cursor{b: src[size:]}
	if !d.heads() || !d.shapeList() || !d.place() || !d.putBodies() || !d.putRows() {
		return ErrFormat
	}
	order := dst[d.end:]
	if len(d.plan.b) != 0 || len(d.data.b) != len(order) {
		return ErrFormat
	}
	copy(order, d.data.b)
	return nil
}

// release lets go of what is borrowed.
func (d *Decoder) release() { d.dst, d.plan, d.data = nil, cursor{}, cursor{} }

const (
	// planSizeSize is the size of the field that says how large the plan is, bytes.
	planSizeSize = 4
	// sizeMax is the most that payload and order have, bytes.
	sizeMax = 2 * wire.PayloadSizeMax
)

// heads reads the counts, the topics and the columns of the heads.
func (d *Decoder) heads() bool {
	n := d.plan.count(1, len(d.dst)/(wire.RecordHeadSize+1))
	topics := d.plan.count(1, n)
	shapes := d.plan.count(1, n)
	if d.plan.bad || !d.topics(topics) {
		return false
	}
	d.shapes = resize(d.shapes, shapes)
	d.last, d.prev = resize(d.last, topics), resize(d.prev, n)
	d.topic, d.seq, d.shape = resize(d.topic, n), resize(d.seq, n), resize(d.shape, n)
	d.event, d.receive = resize(d.event, n), resize(d.receive, n)
	if !d.column(&column{values: d.shape}, headPreds) || !below(d.shape, shapes) ||
		!d.column(&column{values: d.topic}, headPreds) || !below(d.topic, topics) {
		return false
	}
	samePlaces(d.prev, d.topic, d.last)
	return d.column(&column{values: d.seq, prev: d.prev, shift: 32}, seqPreds) &&
		d.column(&column{values: d.event, prev: d.prev}, eventPreds) &&
		d.column(&column{values: d.receive, prev: d.prev, event: d.event}, receivePreds)
}

func below(v []uint64, limit int) bool {
	most := uint64(0)
	for _, x := range v {
		most = max(most, x)
	}
	return most < uint64(limit)
}

// topics reads the dictionary.
func (d *Decoder) topics(count int) bool {
	sizes, shared := d.data.take(count), d.data.take(count)
	if d.data.bad {
		return false
	}
	total := 0
	for _, n := range sizes {
		total += int(n)
	}
	// Each topic is in a record at least once.
	if total > len(d.dst) {
		return false
	}
	d.names, d.starts = resize(d.names, total), resize(d.starts, count+1)
	at, before := 0, 0
	for i, size := range sizes {
		n, same := int(size), int(shared[i])
		if n == 0 || same > n || same > at-before {
			return false
		}
		copy(d.names[at:], d.names[before:][:same])
		rest := d.data.take(n - same)
		if d.data.bad {
			return false
		}
		copy(d.names[at+same:], rest)
		d.starts[i] = int32(at)
		at, before = at+n, at
	}
	d.starts[count] = int32(at)
	return true
}

// name returns a topic.
func (d *Decoder) name(topic uint64) []byte { return d.names[d.starts[topic]:d.starts[topic+1]] }

// column reads a column of numbers.
func (d *Decoder) column(c *column, allowed uint8) bool {
	desc := d.plan.number(allowed, c.shift)
	planes := d.data.take(int(desc.planes) * len(c.values))
	if d.plan.bad || d.data.bad {
		return false
	}
	joinPlanes(c.values, planes, desc.planes, desc.scale)
	c.restore(desc.pred, desc.first)
	return true
}

// shapeList reads what each shape is, and how many records it has from the
// column. The fields stay in the plan: shapes are read from it one by one.
func (d *Decoder) shapeList() bool {
	for i := range d.shapes {
		s := &d.shapes[i]
		*s = shape{kind: d.plan.byte(), flags: d.plan.byte(), size: uint32(d.plan.count(0, wire.BodySizeMax))}
		if wire.RecordFlags(s.flags)&wire.FlagWide != 0 {
			return false
		}
	}
	for _, s := range d.shape {
		d.shapes[s].count++
	}
	return !d.plan.bad
}

// place writes the heads and topics of all records to where they belong.
func (d *Decoder) place() bool {
	d.bodies = resize(d.bodies, len(d.topic))
	at := 0
	for i, t := range d.topic {
		s := &d.shapes[d.shape[i]]
		name := d.name(t)
		event, receive := d.event[i], d.receive[i]
		delta, flags, wide := int64(receive-event), s.flags, 0
		if delta != extend(uint64(delta), 16) {
			delta, flags, wide = 0, flags|byte(wire.FlagWide), 8
		}
		body := at + wire.RecordHeadSize + len(name) + wide
		end := body + int(s.size)
		if end > len(d.dst) {
			return false
		}
		r := d.dst[at:end]
		binary.LittleEndian.PutUint32(r, uint32(len(name))|s.size<<8)
		binary.LittleEndian.PutUint64(r[4:], uint64(s.kind)|uint64(flags)<<8|uint64(delta)<<16)
		binary.LittleEndian.PutUint32(r[12:], uint32(d.seq[i]))
		binary.LittleEndian.PutUint64(r[16:], event)
		copy(r[wire.RecordHeadSize:], name)
		if wide != 0 {
			binary.LittleEndian.PutUint64(r[wire.RecordHeadSize+len(name):], receive)
		}
		d.bodies[i] = uint32(body)
		at = end
	}
	d.end = at
	return true
}

// putBodies reads the layouts and the fields of the shapes that have them.
func (d *Decoder) putBodies() bool {
	d.sortByShape()
	start := 0
	for i := range d.shapes {
		s := &d.shapes[i]
		records := d.order[start:][:s.count]
		start += s.count
		switch d.plan.byte() {
		case layoutRows:
			s.rows = true
		case layoutFields:
			if s.count == 0 || !d.putFields(s, records) {
				return false
			}
		default:
			return false
		}
		if d.plan.bad {
			return false
		}
	}
	return true
}

// sortByShape fills order with the numbers of all records, sorted by shape.
func (d *Decoder) sortByShape() {
	d.next, d.order = resize(d.next, len(d.shapes)), resize(d.order, len(d.shape))
	sortByShape(d.order, d.next, d.shape, d.shapes)
}

// putFields reads the bodies of one shape, field by field.
func (d *Decoder) putFields(s *shape, records []int32) bool {
	g := &d.grouped
	g.resize(len(records))
	for i, r := range records {
		g.bodies[i], g.topic[i] = d.bodies[r], d.topic[r]
		g.event[i], g.receive[i] = d.event[r], d.receive[r]
	}
	g.sorted = false
	for at := 0; at < int(s.size); {
		kind := d.plan.byte()
		width := d.plan.count(1, int(s.size)-at)
		if d.plan.bad || !d.putField(g, kind, width, at) {
			return false
		}
		at += width
	}
	return true
}

// putField reads one field of the bodies of a shape.
func (d *Decoder) putField(g *grouped, kind uint8, width, at int) bool {
	dst := d.dst
	switch kind {
	case fieldConstant:
		value := d.plan.take(width)
		for _, b := range g.bodies {
			copy(dst[int(b)+at:], value)
		}
	case fieldBytes:
		for o := at; o < at+width; o++ {
			for i, c := range d.data.take(len(g.bodies)) {
				dst[int(g.bodies[i])+o] = c
			}
		}
	case fieldRows:
		// The sum of all bodies fits dst, so the product does not overflow.
		rows := d.data.take(width * len(g.bodies))
		if d.data.bad {
			return false
		}
		for i, b := range g.bodies {
			copy(dst[int(b)+at:], rows[i*width:][:width])
		}
	case fieldTopic:
		d.putTopics(g, width, at)
	case fieldNumberLE, fieldNumberBE:
		if width > 8 {
			return false
		}
		return d.putNumbers(g, kind, width, at)
	default:
		return false
	}
	return !d.plan.bad && !d.data.bad
}

// putTopics fills a field that repeats the topic.
func (d *Decoder) putTopics(g *grouped, width, at int) {
	skip, pad := int(d.plan.byte()), d.plan.byte()
	for i, b := range g.bodies {
		name := d.name(g.topic[i])
		out := d.dst[int(b)+at:][:width]
		for n := copy(out, name[min(skip, len(name)):]); n < width; n++ {
			out[n] = pad
		}
	}
}

// putNumbers reads a field of numbers.
func (d *Decoder) putNumbers(g *grouped, kind uint8, width, at int) bool {
	if !g.sorted {
		samePlaces(g.prev, g.topic, d.last)
		g.sorted = true
	}
	c := column{values: g.values, prev: g.prev, event: g.event, receive: g.receive, shift: uint(64 - 8*width)}
	if !d.column(&c, bodyPreds) {
		return false
	}
	storeNumbers(d.dst, g, kind, width, at)
	return true
}

// putRows reads the bodies that have no fields.
func (d *Decoder) putRows() bool {
	for i, s := range d.shape {
		if s := &d.shapes[s]; s.rows {
			copy(d.dst[d.bodies[i]:], d.data.take(int(s.size)))
			if d.data.bad {
				return false
			}
		}
	}
	return true
}
