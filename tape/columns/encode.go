package columns

import (
	"encoding/binary"

	"github.com/tapedeck/tapedeck/wire"
)

// Encoder turns payloads into columns. It keeps buffers between calls, and
// belongs to one goroutine. The zero value is ready.
type Encoder struct {
	plan []byte
	data []byte
	cuts []int

	topics   topicTable
	topic    []uint64 // per record: number of its topic,
	seq      []uint64 // its sequence in the topic,
	event    []uint64 // its times,
	receive  []uint64
	shape    []uint64 // number of its shape,
	bodies   []uint32 // and where its body is in the payload
	shapes   []shape
	shapeNum map[uint64]uint32
	prev     []int32 // places before of the same topic
	last     []int32 // per topic: scratch
	next     []int32 // per shape: scratch
	order    []int32 // the records' numbers, sorted by shape

	d       []int64  // residuals of a column
	z       []uint64 // and their zigzag form
	sample  sample
	grouped grouped
}

// Encode appends the columns of payload and order to dst and returns the
// extended slice. It returns false, and dst as it came, where payload is not what
// a batch holds, or where the columns would be larger. The inputs are borrowed
// until return.
func (e *Encoder) Encode(dst, payload, order []byte) ([]byte, bool) {
	e.cuts = e.cuts[:0]
	if len(payload) > wire.PayloadSizeMax || len(order) > len(payload) || !e.parse(payload) {
		return dst, false
	}
	e.plan, e.data = e.plan[:0], e.data[:0]
	e.putHeads()
	e.putShapes()
	e.putBodies(payload)
	e.putRows(payload)
	e.data = append(e.data, order...)
	e.cut()
	if planSizeSize+len(e.plan)+len(e.data) > len(payload)+len(order) {
		return dst, false
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(e.plan)))
	dst = append(dst, e.plan...)
	for i := range e.cuts {
		e.cuts[i] += planSizeSize + len(e.plan)
	}
	return append(dst, e.data...), true
}

// Cuts returns where, in what the last Encode appended, bytes of one nature end
// and bytes of another begin, in increasing order, the end included. A compressor
// does best with each stretch alone. It is borrowed until the next Encode.
func (e *Encoder) Cuts() []int { return e.cuts }

// cut notes that another column begins.
func (e *Encoder) cut() {
	if n := len(e.cuts); n == 0 || e.cuts[n-1] != len(e.data) {
		e.cuts = append(e.cuts, len(e.data))
	}
}

// parse takes the records' heads apart.
func (e *Encoder) parse(payload []byte) bool {
	e.topics.reset(len(payload) / (wire.RecordHeadSize + 1))
	e.topic, e.seq, e.shape = e.topic[:0], e.seq[:0], e.shape[:0]
	e.event, e.receive, e.bodies = e.event[:0], e.receive[:0], e.bodies[:0]
	e.shapes = e.shapes[:0]
	if e.shapeNum == nil {
		e.shapeNum = map[uint64]uint32{}
	}
	clear(e.shapeNum)
	// Most records have the topic or the shape of the one before.
	var name []byte
	var topic, shape uint64
	known := ^uint64(0)
	for at := 0; at < len(payload); {
		r, err := wire.ParseRecord(payload[at:])
		if err != nil {
			return false
		}
		if t := r.Topic(); string(t) != string(name) {
			topic, name = e.topics.number(t), t
		}
		size := len(r.Body())
		key := uint64(size)<<16 | uint64(r.Kind())<<8 | uint64(r.Flags()&^wire.FlagWide)
		if key != known {
			shape, known = e.shapeOf(key), key
		}
		e.shapes[shape].count++
		e.topic, e.shape = append(e.topic, topic), append(e.shape, shape)
		e.seq = append(e.seq, uint64(r.TopicSeq()))
		e.event, e.receive = append(e.event, uint64(r.Event())), append(e.receive, uint64(r.Receive()))
		at += len(r)
		e.bodies = append(e.bodies, uint32(at-size))
	}
	return len(e.topic) > 0
}

// shapeOf numbers the shapes in the order in which they first appear; a key is
// size of the body, kind and flags.
func (e *Encoder) shapeOf(key uint64) uint64 {
	n, ok := e.shapeNum[key]
	if !ok {
		n = uint32(len(e.shapes))
		e.shapeNum[key] = n
		e.shapes = append(e.shapes, shape{size: uint32(key >> 16), kind: byte(key >> 8), flags: byte(key)})
	}
	return uint64(n)
}

// putHeads writes the counts, the topics and the columns of the heads.
func (e *Encoder) putHeads() {
	n := len(e.topic)
	e.plan = binary.AppendUvarint(e.plan, uint64(n))
	e.plan = binary.AppendUvarint(e.plan, uint64(len(e.topics.names)))
	e.plan = binary.AppendUvarint(e.plan, uint64(len(e.shapes)))
	e.data = e.topics.append(e.data)
	e.cut()
	e.d, e.z = resize(e.d, n), resize(e.z, n)
	e.prev, e.last = resize(e.prev, n), resize(e.last, len(e.topics.names))
	samePlaces(e.prev, e.topic, e.last)
	c := column{values: e.shape, prev: e.prev, event: e.event, receive: e.receive}
	for _, head := range []struct {
		values []uint64
		preds  uint8
		shift  uint
	}{
		{e.shape, headPreds, 0},
		{e.topic, headPreds, 0},
		{e.seq, seqPreds, 32},
		{e.event, eventPreds, 0},
		{e.receive, receivePreds, 0},
	} {
		c.values, c.shift = head.values, head.shift
		e.putColumn(&c, e.choose(&c, head.preds))
	}
}

// Predictors that the columns of the heads may have, as bits: those whose input
// a decoder has when it comes to them.
const (
	headPreds    = 1<<predFirst | 1<<predPrevious
	seqPreds     = headPreds | 1<<predTopic
	eventPreds   = seqPreds
	receivePreds = eventPreds | 1<<predEvent
	bodyPreds    = receivePreds | 1<<predReceive
)

// choose returns the predictor, of those allowed, that leaves least.
func (e *Encoder) choose(c *column, allowed uint8) uint8 {
	best, least := uint8(0), float32(1e30)
	n := len(c.values)
	step := (n + sampleMax - 1) / sampleMax
	for pred := range uint8(predictors) {
		if allowed>>pred&1 == 0 {
			continue
		}
		d := e.sample.d[:0]
		for i := step / 2; i < n; i += step {
			d = append(d, c.residual(i, pred))
		}
		if b := classBits(d, scaleOf(d), least); b < least {
			best, least = pred, b
		}
	}
	return best
}

// putColumn writes a column of numbers: its description and its planes.
func (e *Encoder) putColumn(c *column, pred uint8) {
	n := len(c.values)
	d, z := e.d[:n], e.z[:n]
	c.residuals(d, pred)
	desc := number{pred: pred, scale: scaleOf(d), first: c.values[0] << c.shift >> c.shift}
	desc.planes = planesOf(z, d, desc.scale)
	e.plan = desc.append(e.plan)
	for k := range desc.planes {
		e.data = appendPlane(e.data, z, k)
		e.cut()
	}
}
