package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
)

func TestWalk(t *testing.T) {
	m := stream()
	v := m.frames(t, nil)
	b, err := ParseBatch(v.header, v.payload, v.order)
	if err != nil {
		t.Fatal(err)
	}
	var seqs []Seq
	var ordinals []Ordinal
	var topics []string
	o := b.Ordinals()
	w := b.Records()
	for w.Next() {
		seqs, ordinals = append(seqs, w.Seq()), append(ordinals, o.Next())
		topics = append(topics, string(w.Record().Topic()))
	}
	if w.Err() != nil || w.Next() {
		t.Errorf("after the walk: %v", w.Err())
	}
	if !slices.Equal(seqs, []Seq{100, 101}) || !slices.Equal(ordinals, m.order) || !slices.Equal(topics, []string{"XNAS.AAPL", "XNAS.MSFT"}) {
		t.Errorf("sequences %v, ordinals %v, topics %q", seqs, ordinals, topics)
	}
	if b.Next() != 102 || b.End() || b.Bare() {
		t.Errorf("next %d, end %v, bare %v", b.Next(), b.End(), b.Bare())
	}
}

// TestWalkUnchecked: a walk over bytes that nobody checked stops at the bad
// record and says where it is.
func TestWalkUnchecked(t *testing.T) {
	v := stream().frames(t, nil)
	second := RecordHeadSize + len("XNAS.AAPL") + len("buy 100")
	v.payload[second] = 0
	b, err := ViewBatch(v.header, v.payload, v.order)
	if err != nil {
		t.Fatal(err)
	}
	w, n := b.Records(), 0
	for w.Next() {
		n++
	}
	var bad *FormatError
	if !errors.As(w.Err(), &bad) || *bad != (FormatError{Reason: reasonTopicEmpty, Shard: 1, Seq: 100, Offset: second}) || n != 1 {
		t.Errorf("%d records, then %v", n, w.Err())
	}
	if w.Next() {
		t.Error("the walk goes on after an error")
	}
	want := "wire: shard 1, batch at sequence 100, payload offset 40: " + reasonTopicEmpty
	if got := w.Err().Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestWalkOfMark(t *testing.T) {
	v := bare(FlagHello, `{"a":1}`).frames(t, nil)
	b, err := ParseBatch(v.header, v.payload, v.order)
	if err != nil {
		t.Fatal(err)
	}
	w := b.Records()
	if w.Next() || w.Err() != nil {
		t.Errorf("a hello has records: %v", w.Err())
	}
}

// TestHashRoll pins the rolling hash to values from another implementation
// (Python) of the rule in docs/WIRE.md.
func TestHashRoll(t *testing.T) {
	h := Hash(0)
	for i, step := range []struct {
		count, crc uint32
		want       Hash
	}{{1, 0, 0xba3a9e160a5f1419}, {2, 0x721, 0xfc10203805310a3d}, {math.MaxUint32, math.MaxUint32, 0x63ac4af1e6bb4bb5}} {
		h = h.Roll(step.count, step.crc)
		if h != step.want {
			t.Errorf("step %d: %#016x, want %#016x", i, uint64(h), uint64(step.want))
		}
	}
}

// TestCRC pins the polynomial: the check value of CRC-32C, and that order
// follows payload.
func TestCRC(t *testing.T) {
	if got := CRC([]byte("123456789"), nil); got != 0xe3069283 {
		t.Errorf("CRC is %#x", got)
	}
	if got := CRC([]byte("1234"), []byte("56789")); got != 0xe3069283 {
		t.Errorf("CRC over two frames is %#x", got)
	}
}

func TestKind(t *testing.T) {
	for k := range 256 {
		got, err := ParseKind(Kind(k).String())
		if err != nil || got != Kind(k) {
			t.Errorf("kind %d: %q gives %d, %v", k, Kind(k), got, err)
		}
	}
	if KindNotice != 11 || KindNotice.String() != "notice" {
		t.Error("the numbers of the kinds have changed")
	}
	for _, s := range []string{"", "256", "-1", "Trade", "data "} {
		if _, err := ParseKind(s); err == nil || !strings.Contains(err.Error(), "unknown kind") {
			t.Errorf("ParseKind(%q): %v", s, err)
		}
	}
}

func TestNanos(t *testing.T) {
	n := Nanos(1_700_000_000_000_000_001)
	if got := n.String(); got != "2023-11-14T22:13:20.000000001Z" {
		t.Error(got)
	}
	if NanosOf(n.Time()) != n || n.Time().Location() != time.UTC {
		t.Error("Time and NanosOf are not inverse")
	}
}

// batchOf is a batch of n records of size bytes of body over a hundred topics.
func batchOf(t testing.TB, n, size int) vector {
	m := message{Header: Header{Shards: 2, Epoch: 1}}
	body := bytes.Repeat([]byte{0xab}, size)
	for i := range n {
		topic := []byte{'S', 'Y', 'N', '.', 'A', byte('0' + i/10%10), byte('0' + i%10), '.'}
		m.records = append(m.records, Fields{Topic: topic, Body: body, Event: vectorTime, Receive: vectorTime + 1, Kind: KindTrade})
		m.order = append(m.order, Ordinal(2*i))
	}
	return m.frames(t, nil)
}

func TestParseBatchAllocatesNothing(t *testing.T) {
	v := batchOf(t, 100, 100)
	var sum uint64
	n := testing.AllocsPerRun(200, func() {
		b, err := ParseBatch(v.header, v.payload, v.order)
		if err != nil {
			panic(err)
		}
		o := b.Ordinals()
		w := b.Records()
		for w.Next() {
			r := w.Record()
			sum += uint64(len(r.Topic())) + uint64(r.Event()) + uint64(o.Next()) + uint64(w.Seq())
		}
		if w.Err() != nil {
			panic(w.Err())
		}
	})
	if n != 0 {
		t.Errorf("parsing and walking a batch allocates %v times", n)
	}
}

// FuzzParseBatch: never panics, and what is accepted is the one encoding of what
// it says. fix makes sizes and checksum right, so that the fuzzer gets past them.
func FuzzParseBatch(f *testing.F) {
	for _, path := range vectorFiles(f) {
		v := readVector(f, path)
		f.Add(v.header, v.payload, v.order, false)
		f.Add(v.header, v.payload, v.order, true)
	}
	f.Fuzz(func(t *testing.T, header, payload, order []byte, fix bool) {
		if fix && len(header) == HeaderSize {
			header = bytes.Clone(header)
			le := binary.LittleEndian
			le.PutUint32(header[hdrPayloadSizeOff:], uint32(len(payload)))
			le.PutUint32(header[hdrOrderSizeOff:], uint32(len(order)))
			le.PutUint32(header[hdrCRCOff:], CRC(payload, order))
		}
		b, err := ParseBatch(header, payload, order)
		if err != nil {
			var bad *FormatError
			if !errors.As(err, &bad) {
				t.Fatalf("%v is no FormatError", err)
			}
			walkAnyway(header, payload, order)
			return
		}
		reencode(t, &b, header)
	})
}

// walkAnyway walks a batch that a careless reader has not checked.
func walkAnyway(header, payload, order []byte) {
	b, err := ViewBatch(header, payload, order)
	if err != nil {
		return
	}
	o := b.Ordinals()
	for w := b.Records(); w.Next(); {
		_, _ = w.Record().Fields(), o.Next()
	}
}

func reencode(t *testing.T, b *Batch, header []byte) {
	t.Helper()
	if got := AppendHeader(nil, &b.Header); !bytes.Equal(got, header) {
		t.Fatalf("header\n got %x\nfrom %x", got, header)
	}
	if b.Bare() {
		return
	}
	var payload, order []byte
	o := b.Ordinals()
	last, n := Ordinal(0), 0
	for w := b.Records(); w.Next(); n++ {
		fields := w.Record().Fields()
		var err error
		if payload, err = AppendRecord(payload, &fields); err != nil {
			t.Fatalf("accepted record %d is refused by the encoder: %v", n, err)
		}
		ordinal := o.Next()
		if n > 0 {
			if ordinal <= last {
				t.Fatalf("ordinal %d follows %d", ordinal, last)
			}
			order = AppendOrder(order, last, ordinal)
		}
		last = ordinal
	}
	if n != int(b.Count) || !bytes.Equal(payload, b.Payload) {
		t.Fatalf("%d of %d records\n got %x\nfrom %x", n, b.Count, payload, b.Payload)
	}
	if len(b.Order) > 0 && !bytes.Equal(order, b.Order) {
		t.Fatalf("order\n got %x\nfrom %x", order, b.Order)
	}
}

func BenchmarkAppendRecord(b *testing.B) {
	f := Fields{Topic: []byte("SYN.A0001."), Body: make([]byte, 100), Event: vectorTime, Receive: vectorTime + 1, Kind: KindTrade}
	buf := make([]byte, 0, 256<<10)
	b.SetBytes(int64(f.EncodedSize()))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if cap(buf)-len(buf) < f.EncodedSize() {
			buf = buf[:0]
		}
		buf, _ = AppendRecord(buf, &f)
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
}

func benchmarkBatch(b *testing.B, visit func(v *vector) uint64) {
	const records = 1000
	v := batchOf(b, records, 100)
	b.SetBytes(int64(len(v.payload)))
	b.ReportAllocs()
	n, sum := 0, uint64(0)
	for b.Loop() {
		sum += visit(&v)
		n += records
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
	_ = sum
}

// BenchmarkWalk visits every record of a batch and hashes its topic, as a
// handler that looks topics up does.
func BenchmarkWalk(b *testing.B) {
	benchmarkBatch(b, func(v *vector) (sum uint64) {
		batch, err := ViewBatch(v.header, v.payload, v.order)
		if err != nil {
			b.Fatal(err)
		}
		w := batch.Records()
		for w.Next() {
			r := w.Record()
			sum += xxhash.Sum64(r.Topic()) ^ uint64(r.Event())
		}
		if w.Err() != nil {
			b.Fatal(w.Err())
		}
		return sum
	})
}

// BenchmarkParseBatch is the checksum and the check of every record head.
func BenchmarkParseBatch(b *testing.B) {
	benchmarkBatch(b, func(v *vector) uint64 {
		batch, err := ParseBatch(v.header, v.payload, v.order)
		if err != nil {
			b.Fatal(err)
		}
		return uint64(batch.Count)
	})
}
