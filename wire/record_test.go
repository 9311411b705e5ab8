package wire

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

func TestAppendRecordRoundTrip(t *testing.T) {
	times := []Nanos{NanosMin, NanosMin + 1, -1 << 47, -1, 0, 1, 1<<47 - 1, 1 << 47, NanosMax - 1, NanosMax}
	bodies := [][]byte{nil, []byte("b"), bytes.Repeat([]byte{7}, 1<<16+1)}
	for _, event := range times {
		for _, receive := range times {
			for _, body := range bodies {
				f := Fields{Topic: []byte("T"), Body: body, Event: event, Receive: receive, TopicSeq: math.MaxUint32, Kind: 255, Flags: FlagSnapshot}
				roundTrip(t, &f)
			}
		}
	}
	roundTrip(t, &Fields{Topic: bytes.Repeat([]byte("t"), TopicSizeMax), Body: make([]byte, BodySizeMax)})
}

// roundTrip encodes behind other bytes, decodes, and compares.
func roundTrip(t *testing.T, f *Fields) {
	t.Helper()
	prefix := []byte("prefix")
	b, err := AppendRecord(prefix, f)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(b, prefix) || len(b) != len(prefix)+f.EncodedSize() {
		t.Fatalf("%d bytes, want %d and the prefix", len(b), len(prefix)+f.EncodedSize())
	}
	r, err := ParseRecord(append(b, "next"...)[len(prefix):])
	if err != nil || len(r) != f.EncodedSize() || cap(r) != len(r) {
		t.Fatalf("event %d, receive %d: record of %d bytes (capacity %d), %v", f.Event, f.Receive, len(r), cap(r), err)
	}
	g := r.Fields()
	if !bytes.Equal(g.Topic, f.Topic) || !bytes.Equal(g.Body, f.Body) || g.Event != f.Event || g.Receive != f.Receive ||
		g.TopicSeq != f.TopicSeq || g.Kind != f.Kind || g.Flags != f.Flags {
		t.Fatalf("got %+v, want %+v", g, *f)
	}
	if wide := r.Flags()&FlagWide != 0; wide != f.wide() {
		t.Fatalf("event %d, receive %d: FlagWide is %v", f.Event, f.Receive, wide)
	}
}

func TestAppendRecordRefuses(t *testing.T) {
	ok := Fields{Topic: []byte("T"), Body: []byte("b")}
	for _, c := range []struct {
		name   string
		change func(f *Fields)
		want   error
	}{
		{"no topic", func(f *Fields) { f.Topic = nil }, ErrTopicSize},
		{"long topic", func(f *Fields) { f.Topic = make([]byte, TopicSizeMax+1) }, ErrTopicSize},
		{"long body", func(f *Fields) { f.Body = make([]byte, BodySizeMax+1) }, ErrBodySize},
		{"unknown flag", func(f *Fields) { f.Flags = 1 << 3 }, ErrFlags},
		{"wide set by the caller", func(f *Fields) { f.Flags = FlagWide }, ErrFlags},
	} {
		f := ok
		c.change(&f)
		dst := []byte("as it was")
		if got, err := AppendRecord(dst, &f); !errors.Is(err, c.want) || string(got) != "as it was" {
			t.Errorf("%s: %v, dst %q", c.name, err, got)
		}
	}
}

func TestParseRecordError(t *testing.T) {
	_, err := ParseRecord(make([]byte, RecordHeadSize-1))
	if err == nil || err.Error() != "wire: "+reasonRecordHead {
		t.Errorf("got %v", err)
	}
}

// TestAppendRecordAllocatesNothing: encoding a batch into reused buffers.
func TestAppendRecordAllocatesNothing(t *testing.T) {
	f := Fields{Topic: []byte("XNAS.AAPL"), Body: make([]byte, 100), Event: 5, Receive: 9}
	wide := f
	wide.Receive = NanosMax
	payload, order, header := make([]byte, 0, 1<<12), make([]byte, 0, 64), make([]byte, 0, HeaderSize)
	var err error
	n := testing.AllocsPerRun(1000, func() {
		payload, order = payload[:0], order[:0]
		if payload, err = AppendRecord(payload, &f); err != nil {
			panic(err)
		}
		if payload, err = AppendRecord(payload, &wide); err != nil {
			panic(err)
		}
		order = AppendOrder(order, 1, 1000)
		h := Header{Shards: 1, Epoch: 1, Count: 2, PayloadSize: uint32(len(payload)), OrderSize: uint32(len(order)), CRC: CRC(payload, order)}
		header = AppendHeader(header[:0], &h)
	})
	if n != 0 {
		t.Errorf("encoding a batch allocates %v times", n)
	}
}

func FuzzAppendRecord(f *testing.F) {
	f.Add([]byte("XNAS.AAPL"), []byte("body"), int64(1), int64(2), uint32(3), uint8(4), uint8(5))
	f.Add([]byte("T"), []byte{}, int64(math.MinInt64), int64(math.MaxInt64), uint32(0), uint8(255), uint8(0))
	f.Add([]byte("T"), []byte{1}, int64(0), int64(1)<<47, uint32(0), uint8(0), uint8(7))
	f.Fuzz(func(t *testing.T, topic, body []byte, event, receive int64, topicSeq uint32, kind, flags uint8) {
		in := Fields{Topic: topic, Body: body, Event: Nanos(event), Receive: Nanos(receive), TopicSeq: topicSeq, Kind: Kind(kind), Flags: RecordFlags(flags)}
		if _, err := AppendRecord(nil, &in); err != nil {
			if len(topic) > 0 && len(topic) <= TopicSizeMax && flags <= 7 {
				t.Fatalf("refused %+v: %v", in, err)
			}
			return
		}
		roundTrip(t, &in)
	})
}
