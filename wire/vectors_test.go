package wire

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
)

// message is a valid message that a vector then damages.
type message struct {
	Header
	records []Fields
	order   []Ordinal // of all records; nil: no order frame
	payload []byte    // of a bare batch
}

const vectorTime = 1_700_000_000_000_000_000

// stream is the message that most vectors start from: two records of two topics
// on shard 1 of 2, with an order frame.
func stream() message {
	return message{
		Header: Header{
			Shard: 1, Shards: 2, Epoch: 7, FirstSeq: 100, FirstOrdinal: 250,
			Send: vectorTime + 2_000_000, Due: vectorTime + 1_999_000, Hash: 0x0123456789abcdef,
		},
		records: []Fields{
			{Topic: []byte("XNAS.AAPL"), Body: []byte("buy 100"), Kind: KindTrade, TopicSeq: 41, Event: vectorTime, Receive: vectorTime + 1500},
			{Topic: []byte("XNAS.MSFT"), Body: []byte("ask 370.25"), Kind: KindQuote, TopicSeq: 8, Event: vectorTime + 900, Receive: vectorTime + 2100},
		},
		order: []Ordinal{250, 553},
	}
}

func bare(flag HeaderFlags, payload string) message {
	m := stream()
	m.Flags, m.records, m.order, m.payload = flag, nil, nil, []byte(payload)
	return m
}

// frames encodes m. edit may damage payload and order; size and checksum follow,
// so that what edit did is the only fault.
func (m message) frames(t testing.TB, edit func(h *Header, payload, order []byte) ([]byte, []byte)) vector {
	t.Helper()
	payload, order := m.payload, []byte(nil)
	var err error
	for i := range m.records {
		if payload, err = AppendRecord(payload, &m.records[i]); err != nil {
			t.Fatal(err)
		}
		if i > 0 && m.order != nil {
			order = AppendOrder(order, m.order[i-1], m.order[i])
		}
	}
	h := m.Header
	h.Count = uint32(len(m.records))
	if edit != nil {
		payload, order = edit(&h, payload, order)
	}
	h.PayloadSize, h.OrderSize, h.CRC = uint32(len(payload)), uint32(len(order)), CRC(payload, order)
	return vector{header: AppendHeader(nil, &h), payload: payload, order: order}
}

func vectors(t testing.TB) []vector {
	list := append(validVectors(t), headerVectors(t)...)
	list = append(list, payloadVectors(t)...)
	list = append(list, orderVectors(t)...)
	list = append(list, noticeVectors(t)...)
	return append(list, referenceVectors(t)...)
}

func validVectors(t testing.TB) []vector {
	var list []vector
	add := func(name, about string, m message) {
		v := m.frames(t, nil)
		v.name, v.expect, v.about = "ok-"+name, "ok", about
		b, err := ParseBatch(v.header, v.payload, v.order)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		v.values = values(&b)
		list = append(list, v)
	}
	one := func(f Fields) message {
		m := stream()
		m.Shard, m.Shards, m.records, m.order = 0, 1, []Fields{f}, nil
		return m
	}
	first := stream().records[0]

	add("order", "Two records of two topics on shard 1 of 2; 302 ordinals between them went to the other shard.", stream())
	m := one(first)
	m.records = stream().records
	add("dense", "Two records whose ordinals follow one another: no order frame.", m)
	add("order-zero", "A step of 1 between ordinals may also be written as an order frame.", func() message {
		m := stream()
		m.order = []Ordinal{250, 251}
		return m
	}())
	add("hello", "A hello: its payload is the session description.", bare(FlagHello, `{"publisher":"tapedeck 1","mode":"lossless"}`))
	add("hello-empty", "A hello whose payload is empty is a valid message; what it says is not this layer's concern.", bare(FlagHello, ""))
	add("heartbeat", "A heartbeat: the next record will have sequence 100.", bare(FlagHeartbeat, ""))
	add("end", "An end mark: the epoch had 100 records on this shard.", bare(FlagEnd, ""))
	add("end-early", "An end mark of a publisher that stopped before its source was through.", bare(FlagEnd|FlagEarly, ""))
	m = stream()
	m.Flags = FlagSnapshotBatch
	for i := range m.records {
		m.records[i].Flags = FlagSnapshot
	}
	add("snapshot", "A batch of last values.", m)

	m = stream()
	m.Flags = FlagCopy
	add("copy", "The bytes of a batch that is also sent as a reference.", m)

	edges := func(name, about string, change func(f *Fields)) {
		f := first
		change(&f)
		add(name, about, one(f))
	}
	edges("body-empty", "An empty body.", func(f *Fields) { f.Body = nil })
	edges("topic-one", "A topic of one byte, which is zero: topics are bytes.", func(f *Fields) { f.Topic = []byte{0} })
	edges("topic-long", "A topic of 255 bytes.", func(f *Fields) { f.Topic = bytes.Repeat([]byte("t"), TopicSizeMax) })
	edges("body-long", "A body of 300 bytes: the length has more than one byte.", func(f *Fields) {
		f.Body = bytes.Repeat([]byte{0xa5}, 300)
	})
	edges("kind-unknown", "A kind that no version names is carried as it is.", func(f *Fields) { f.Kind = 200 })
	edges("flags-all", "Every record flag that a writer may set.", func(f *Fields) {
		f.Flags, f.Receive = FlagNoEventTime|FlagNoReceiveTime|FlagSnapshot, f.Event
	})
	edges("time-negative", "Before 1970, and received before it happened.", func(f *Fields) { f.Event, f.Receive = -5, -7 })
	edges("time-difference-max", "The largest difference that 48 bits hold.", func(f *Fields) { f.Receive = f.Event + deltaMax })
	edges("time-difference-min", "The smallest difference that 48 bits hold.", func(f *Fields) { f.Receive = f.Event + deltaMin })
	edges("time-wide", "One nanosecond more than 48 bits hold: receive time after the topic.", func(f *Fields) { f.Receive = f.Event + deltaMax + 1 })
	edges("time-wide-negative", "One nanosecond less than 48 bits hold.", func(f *Fields) { f.Receive = f.Event + deltaMin - 1 })
	edges("time-wraps", "The difference is taken modulo 2^64: here it is -1.", func(f *Fields) { f.Event, f.Receive = NanosMin, NanosMax })
	m = one(first)
	m.Shard, m.Shards, m.Epoch, m.FirstSeq, m.FirstOrdinal = math.MaxUint16-1, math.MaxUint16, math.MaxUint64, math.MaxUint64-1, math.MaxUint64-1
	m.Hash, m.Send, m.Due, m.records[0].TopicSeq = math.MaxUint64, NanosMax, NanosMin, math.MaxUint32
	add("largest", "The largest value of every number.", m)
	return list
}

// refused makes the vectors of one part: each is the stream message with one
// fault.
type refused struct {
	t    testing.TB
	list []vector
}

func (r *refused) add(name, expect, about string, v vector) {
	v.name, v.expect, v.about = "bad-"+name, expect, about
	r.list = append(r.list, v)
}

// header damages bytes of a valid header frame.
func (r *refused) header(name, expect, about string, m message, edit func(h []byte) []byte) {
	v := m.frames(r.t, nil)
	v.header = edit(v.header)
	r.add(name, expect, about, v)
}

// put16 and its like return an edit that writes a number at an offset.
func put16(off int, x uint16) func([]byte) []byte {
	return func(h []byte) []byte { binary.LittleEndian.PutUint16(h[off:], x); return h }
}

func put32(off int, x uint32) func([]byte) []byte {
	return func(h []byte) []byte { binary.LittleEndian.PutUint32(h[off:], x); return h }
}

func put64(off int, x uint64) func([]byte) []byte {
	return func(h []byte) []byte { binary.LittleEndian.PutUint64(h[off:], x); return h }
}

func headerVectors(t testing.TB) []vector {
	r := refused{t: t}
	m, mark := stream(), bare(FlagHeartbeat, "")
	size := func(n int) func([]byte) []byte {
		return func(h []byte) []byte { return append(h, make([]byte, 80)...)[:n] }
	}
	r.header("signature", reasonSignature, "Another signature.", m, func(h []byte) []byte { h[3] = 'X'; return h })
	r.header("header-empty", reasonSignature, "An empty header frame.", m, size(0))
	r.header("header-three-bytes", reasonSignature, "A header frame of three bytes.", m, size(3))
	r.header("header-signature-only", reasonVersion, "A header frame that ends before the version.", m, size(4))
	r.header("version-zero", reasonVersion, "Version 0.", m, func(h []byte) []byte { h[4] = 0; return h })
	r.header("version-newer", reasonVersion, "Version 2.", m, func(h []byte) []byte { h[4] = 2; return h })
	r.header("header-short", reasonHeaderSize, "A header frame of 79 bytes.", m, size(79))
	r.header("header-long", reasonHeaderSize, "A header frame of 81 bytes.", m, size(81))
	r.header("header-size-field", reasonHeaderSize, "The size field says 88.", m, func(h []byte) []byte { h[5] = 88; return h })
	r.header("reserved", reasonReserved, "The reserved field is 1.", m, put32(68, 1))
	r.header("flags-unknown", reasonHeaderFlags, "Flag bit 8.", m, put16(6, 1<<8))
	r.header("flags-unknown-high", reasonHeaderFlags, "Flag bit 15.", m, put16(6, 1<<15))
	r.header("flags-end-heartbeat", reasonHeaderFlags, "Both end mark and heartbeat.", mark, put16(6, 3))
	r.header("flags-hello-heartbeat", reasonHeaderFlags, "Both hello and heartbeat.", mark, put16(6, 6))
	r.header("flags-end-snapshot", reasonHeaderFlags, "An end mark of last values.", mark, put16(6, 9))
	r.header("flags-early", reasonHeaderFlags, "Early without end.", m, put16(6, 16))
	r.header("flags-heartbeat-early", reasonHeaderFlags, "An early heartbeat.", mark, put16(6, 18))
	r.header("shards-zero", reasonShard, "A stream of no shards.", m, put16(10, 0))
	r.header("shard-outside", reasonShard, "Shard 2 of 2.", m, put16(8, 2))
	r.header("epoch", reasonEpoch, "Epoch 0.", m, put64(16, 0))
	r.header("payload-too-large", reasonSizes, "A payload of 64 MiB and one byte is announced.", m, put32(56, 64<<20+1))
	r.header("order-too-large", reasonSizes, "The order frame is announced to be larger than the payload.", m, put32(60, 1000))
	r.header("heartbeat-count", reasonBareCount, "A heartbeat with a count.", mark, put32(12, 1))
	r.header("hello-count", reasonBareCount, "A hello with a count.", bare(FlagHello, "{}"), put32(12, 1))
	r.add("heartbeat-payload", reasonBareCount, "A heartbeat with a payload.", bare(FlagHeartbeat, "x").frames(t, nil))
	r.add("end-payload", reasonBareCount, "An end mark with a payload.", bare(FlagEnd, "x").frames(t, nil))
	r.header("count-zero", reasonCount, "No mark, and no records.", m, put32(12, 0))
	r.header("count-too-many", reasonCount, "More records than the payload can hold, at 25 bytes the smallest.", m, put32(12, 4))
	r.header("sequence-overflow", reasonOverflow, "The sequence after the batch would be 2^64.", m, put64(24, math.MaxUint64-1))
	r.header("ordinal-overflow", reasonOverflow, "The ordinals cannot fit below 2^64.", m, put64(32, math.MaxUint64-1))
	return r.list
}

func payloadVectors(t testing.TB) []vector {
	r := refused{t: t}
	raw := func(name, expect, about string, edit func(v *vector)) {
		v := stream().frames(t, nil)
		edit(&v)
		r.add(name, expect, about, v)
	}
	raw("payload-short", reasonFrameSizes, "The last byte of the payload is missing.", func(v *vector) { v.payload = v.payload[:len(v.payload)-1] })
	raw("payload-long", reasonFrameSizes, "The payload has one more byte than the header says.", func(v *vector) { v.payload = append(v.payload, 0) })
	raw("payload-missing", reasonFrameSizes, "No payload.", func(v *vector) { v.payload = nil })
	raw("order-missing", reasonFrameSizes, "The header announces an order frame and there is none.", func(v *vector) { v.order = nil })
	raw("order-longer", reasonFrameSizes, "The order frame has one more byte than the header says.", func(v *vector) { v.order = append(v.order, 0) })
	raw("checksum-payload", reasonCRC, "One bit of a body is flipped.", func(v *vector) { v.payload[len(v.payload)-1] ^= 1 })
	raw("checksum-order", reasonCRC, "One bit of the order frame is flipped.", func(v *vector) { v.order[0] ^= 1 })

	edit := func(name, expect, about string, change func(h *Header, payload []byte) []byte) {
		r.add(name, expect, about, stream().frames(t, func(h *Header, payload, order []byte) ([]byte, []byte) {
			return change(h, payload), order
		}))
	}
	second := RecordHeadSize + len("XNAS.AAPL") + len("buy 100")
	edit("record-missing", reasonRecordHead, "Three records are announced, two are there.", func(h *Header, p []byte) []byte { h.Count = 3; return p })
	edit("record-head-cut", reasonRecordHead, "The payload ends inside the head of the second record.", func(_ *Header, p []byte) []byte { return p[:second+23] })
	edit("topic-empty", reasonTopicEmpty, "The second record has no topic.", func(_ *Header, p []byte) []byte { p[second] = 0; return p })
	edit("record-flag-unknown", reasonRecordFlags, "Record flag bit 3.", func(_ *Header, p []byte) []byte { p[second+5] = 1 << 3; return p })
	edit("record-flag-unknown-high", reasonRecordFlags, "Record flag bit 6.", func(_ *Header, p []byte) []byte { p[second+5] = 1 << 6; return p })
	edit("record-body-cut", reasonRecordCut, "The last body is one byte short.", func(_ *Header, p []byte) []byte { return p[:len(p)-1] })
	edit("record-topic-cut", reasonRecordCut, "The payload ends inside the second topic.", func(_ *Header, p []byte) []byte { return p[:second+RecordHeadSize+3] })
	edit("record-body-huge", reasonRecordCut, "The first body is announced with 16777215 bytes.", func(_ *Header, p []byte) []byte {
		p[1], p[2], p[3] = 0xff, 0xff, 0xff
		return p
	})
	edit("trailing-byte", reasonTrailing, "A byte after the last record.", func(_ *Header, p []byte) []byte { return append(p, 0) })
	edit("trailing-record", reasonTrailing, "One record is announced, two are there.", func(h *Header, p []byte) []byte { h.Count = 1; return p })
	edit("wide-without-need", reasonWide, "Receive time after the topic, though 48 bits would hold the difference.", func(h *Header, _ []byte) []byte {
		h.Count = 1
		return wideRecord(t, 0, vectorTime+1)
	})
	edit("wide-with-difference", reasonWide, "Receive time after the topic, and a difference in the head too.", func(h *Header, _ []byte) []byte {
		h.Count = 1
		return wideRecord(t, 1, vectorTime+deltaMax+1)
	})
	return r.list
}

// wideRecord puts a wide record together by hand: the encoder refuses to.
func wideRecord(t testing.TB, delta byte, receive Nanos) []byte {
	t.Helper()
	f := Fields{Topic: []byte("T"), Body: []byte("body"), Event: vectorTime, Receive: vectorTime + deltaMax + 1}
	b, err := AppendRecord(nil, &f)
	if err != nil {
		t.Fatal(err)
	}
	b[recDeltaOff] = delta
	binary.LittleEndian.PutUint64(b[RecordHeadSize+1:], uint64(receive))
	return b
}

func orderVectors(t testing.TB) []vector {
	r := refused{t: t}
	order := func(name, about string, m message, frame ...byte) {
		r.add(name, reasonOrder, about, m.frames(t, func(_ *Header, payload, _ []byte) ([]byte, []byte) { return payload, frame }))
	}
	one := stream()
	one.records = one.records[:1]
	three := stream()
	three.records, three.order = append(three.records, three.records[0]), nil
	order("order-one-record", "An order frame for one record, whose ordinal is in the header.", one, 0)
	order("order-too-many", "Two steps for two records.", stream(), 0, 0)
	order("order-too-few", "One step for three records.", three, 0)
	order("order-cut", "The step is cut off.", stream(), 0x80)
	order("order-not-shortest", "The step 0 in two bytes.", stream(), 0x80, 0x00)
	order("order-eleven-bytes", "A step of eleven bytes.", stream(), 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01)
	order("order-65-bits", "A step of 65 bits.", stream(), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02)
	order("order-wraps", "A step that takes the ordinal past 2^64.", stream(), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01)
	order("order-hello", "A hello with an order frame.", bare(FlagHello, "{}"), 0)
	return r.list
}
