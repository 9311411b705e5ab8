package columns

import "encoding/binary"

// putShapes writes what each shape is.
func (e *Encoder) putShapes() {
	for i := range e.shapes {
		s := &e.shapes[i]
		e.plan = append(e.plan, s.kind, s.flags)
		e.plan = binary.AppendUvarint(e.plan, uint64(s.size))
	}
}

// putBodies writes the layouts of the shapes and the fields of those that have
// them.
func (e *Encoder) putBodies(payload []byte) {
	e.next, e.order = resize(e.next, len(e.shapes)), resize(e.order, len(e.shape))
	sortByShape(e.order, e.next, e.shape, e.shapes)
	start := 0
	for i := range e.shapes {
		s := &e.shapes[i]
		records := e.order[start:][:s.count]
		start += s.count
		if s.rows = !e.wantsFields(s, payload, records); s.rows {
			e.plan = append(e.plan, layoutRows)
			continue
		}
		e.plan = append(e.plan, layoutFields)
		at := 0
		for _, f := range e.sample.fields {
			e.putField(payload, &f, at)
			at += f.width
		}
	}
}

// wantsFields chooses the fields of a shape, or reports that its bodies stay
// rows.
func (e *Encoder) wantsFields(s *shape, payload []byte, records []int32) bool {
	if s.count < recordsMin || s.size == 0 || s.size > bodyMax {
		return false
	}
	g := &e.grouped
	g.resize(s.count)
	for i, r := range records {
		g.bodies[i], g.topic[i] = e.bodies[r], e.topic[r]
		g.event[i], g.receive[i] = e.event[r], e.receive[r]
	}
	samePlaces(g.prev, g.topic, e.last)
	if !e.sample.take(g, payload, int(s.size)) {
		return false
	}
	e.sample.findTopic(g, payload, e.topics.names)
	e.sample.choose(s.count)
	return true
}

// putField writes one field of the bodies of the shape whose records are
// grouped.
func (e *Encoder) putField(payload []byte, f *field, at int) {
	g := &e.grouped
	e.plan = append(e.plan, f.kind)
	e.plan = binary.AppendUvarint(e.plan, uint64(f.width))
	switch f.kind {
	case fieldConstant:
		e.plan = append(e.plan, payload[int(g.bodies[0])+at:][:f.width]...)
	case fieldTopic:
		e.plan = append(e.plan, byte(f.skip), f.pad)
	case fieldBytes:
		for o := at; o < at+f.width; o++ {
			n := len(e.data)
			e.data = grow(e.data, len(g.bodies))
			for i, b := range g.bodies {
				e.data[n+i] = payload[int(b)+o]
			}
			e.cut()
		}
	case fieldRows:
		for _, b := range g.bodies {
			e.data = append(e.data, payload[int(b)+at:][:f.width]...)
		}
		e.cut()
	default:
		loadNumbers(payload, g, f.kind, f.width, at)
		c := column{values: g.values, prev: g.prev, event: g.event, receive: g.receive, shift: uint(64 - 8*f.width)}
		e.putColumn(&c, f.pred)
	}
}

// putRows writes the bodies that have no fields.
func (e *Encoder) putRows(payload []byte) {
	for i, s := range e.shape {
		if s := &e.shapes[s]; s.rows {
			e.data = append(e.data, payload[e.bodies[i]:][:s.size]...)
		}
	}
	e.cut()
}
