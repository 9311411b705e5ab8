package columns

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// roundTrip encodes and decodes, and returns the columns.
func roundTrip(t testing.TB, e *Encoder, d *Decoder, payload, order []byte) []byte {
	t.Helper()
	out, ok := e.Encode([]byte("before"), payload, order)
	if !ok {
		t.Fatal("refused")
	}
	if string(out[:6]) != "before" {
		t.Fatal("what was there is gone")
	}
	out = out[6:]
	raw := append(append([]byte(nil), payload...), order...)
	if len(out) > len(raw) {
		t.Fatalf("%d bytes of %d", len(out), len(raw))
	}
	at := 0
	for _, c := range e.Cuts() {
		if c <= at {
			t.Fatalf("cuts %v", e.Cuts())
		}
		at = c
	}
	if at != len(out) {
		t.Fatalf("the last cut is %d of %d", at, len(out))
	}
	got := make([]byte, len(raw))
	if err := d.Decode(got, out); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, raw) {
		t.Fatal("other bytes came back")
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	var e Encoder
	var d Decoder
	for _, n := range []int{5000, 12, 300, 31, 32, 33, 100, 5000} {
		payload := feedBlock(t, n)
		roundTrip(t, &e, &d, payload, nil)
		roundTrip(t, &e, &d, payload, bytes.Repeat([]byte{1}, n-1))
	}
}

// The block of a feed has every kind of field and every predictor, and takes
// little where nothing is random.
func TestFieldsAreFound(t *testing.T) {
	var e Encoder
	var d Decoder
	payload := feedBlock(t, 5000)
	out := roundTrip(t, &e, &d, payload, nil)
	var s *shape
	for i := range e.shapes {
		if !e.shapes[i].rows {
			s = &e.shapes[i]
		}
	}
	if s == nil || s.size != 54 {
		t.Fatalf("shapes %+v", e.shapes)
	}
	want := []struct {
		kind  uint8
		width int
		pred  uint8
	}{
		{fieldConstant, 1, 0}, {fieldBytes, 1, 0},
		{fieldNumberBE, 8, predEvent}, {fieldTopic, 5, 0}, {fieldConstant, 3, 0},
		{fieldNumberLE, 8, predTopic}, {fieldNumberBE, 8, predPrevious},
		{fieldNumberLE, 4, predFirst}, {fieldNumberLE, 8, predReceive}, {fieldRows, 8, 0},
	}
	fields := e.sample.fields
	for i, w := range want {
		if i >= len(fields) || fields[i].kind != w.kind || fields[i].width != w.width || fields[i].pred != w.pred {
			t.Errorf("field %d: want %+v, fields %+v", i, w, fields)
			break
		}
	}
	// 8 bytes at random, 3 + 2 of times, topic and its sequence 2, 1 each of
	// order, price, side, quantity and shape, and the text, of 84 each.
	if len(out)*5 > len(payload)*2 {
		t.Errorf("%d bytes of %d", len(out), len(payload))
	}
}

// Times and sequences at the ends of their ranges come back.
func TestExtremes(t *testing.T) {
	var e Encoder
	var d Decoder
	rng := rand.New(rand.NewPCG(3, 4))
	ends := []wire.Nanos{math.MinInt64, math.MaxInt64, 0, -1, 1, 1 << 47, -1 << 47, 1<<47 - 1, -1<<47 - 1}
	pick := func() wire.Nanos { return ends[rng.IntN(len(ends))] }
	for range 50 {
		var payload []byte
		for range 200 {
			body := make([]byte, 8+rng.IntN(2))
			binary.BigEndian.PutUint64(body, uint64(pick()))
			f := wire.Fields{Topic: []byte{byte('A' + rng.IntN(3))}, Event: pick(), Receive: pick(), Body: body,
				TopicSeq: uint32(pick()), Kind: wire.Kind(rng.IntN(256)), Flags: wire.RecordFlags(rng.IntN(8))}
			payload, _ = wire.AppendRecord(payload, &f)
		}
		if out, ok := e.Encode(nil, payload, nil); ok {
			got := make([]byte, len(payload))
			if err := d.Decode(got, out); err != nil || !bytes.Equal(got, payload) {
				t.Fatalf("%v", err)
			}
		}
	}
}

// Every width, byte order and predictor is its own inverse, whatever the
// numbers.
func TestNumbers(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	const n = 300
	topics, last := make([]uint64, n), make([]int32, 7)
	c := column{event: make([]uint64, n), receive: make([]uint64, n), prev: make([]int32, n)}
	for i := range n {
		topics[i], c.event[i], c.receive[i] = uint64(rng.IntN(7)), rng.Uint64(), rng.Uint64()
	}
	samePlaces(c.prev, topics, last)
	for width := 1; width <= 8; width++ {
		for pred := range uint8(predictors) {
			for _, unit := range []uint64{1, 250, 1 << 40, 1 << 63, 0} {
				var e Encoder
				c.shift = uint(64 - 8*width)
				c.values = make([]uint64, n)
				for i := range c.values {
					c.values[i] = (rng.Uint64N(1000)*unit - 500*unit) << c.shift >> c.shift
				}
				want := append([]uint64(nil), c.values...)
				e.d, e.z = make([]int64, n), make([]uint64, n)
				e.putColumn(&c, pred)
				d := Decoder{plan: cursor{b: e.plan}, data: cursor{b: e.data}}
				got := c
				got.values = make([]uint64, n)
				if !d.column(&got, 1<<pred) || len(d.plan.b)+len(d.data.b) != 0 {
					t.Fatal("refused")
				}
				for i, v := range got.values {
					if v<<c.shift>>c.shift != want[i] {
						t.Fatalf("width %d, predictor %d, unit %d: number %d is %x, want %x", width, pred, unit, i, v, want[i])
					}
				}
			}
		}
	}
}

func TestRefusedInput(t *testing.T) {
	var e Encoder
	payload := feedBlock(t, 100)
	for name, in := range map[string][2][]byte{
		"empty":          {nil, nil},
		"cut":            {payload[:len(payload)-1], nil},
		"longer":         {append(payload[:len(payload):len(payload)], 0), nil},
		"no topic":       {make([]byte, 100), nil},
		"order too long": {payload, make([]byte, len(payload)+1)},
		"tiny":           {feedBlock(t, 1), nil},
	} {
		if out, ok := e.Encode([]byte("x"), in[0], in[1]); ok || string(out) != "x" {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Damaged columns give an error or other bytes, never a panic; every cut is
// found.
func TestDamagedColumns(t *testing.T) {
	var e Encoder
	var d Decoder
	payload := feedBlock(t, 400)
	out := roundTrip(t, &e, &d, payload, nil)
	got := make([]byte, len(payload))
	for i := 0; i < len(out); i += 1 + i/500 {
		if err := d.Decode(got, out[:i]); !errors.Is(err, ErrFormat) {
			t.Fatalf("cut to %d: %v", i, err)
		}
	}
	// A stride that meets all of the plan and every column.
	for i := 0; i < len(out); i += 1 + i/500 {
		for _, flip := range []byte{1, 0x80, 0xff} {
			out[i] ^= flip
			_ = d.Decode(got, out)
			out[i] ^= flip
		}
	}
	for _, size := range []int{0, 1, len(payload) - 1, len(payload) + 1} {
		if err := d.Decode(make([]byte, size), out); !errors.Is(err, ErrFormat) {
			t.Errorf("size %d: %v", size, err)
		}
	}
	if err := d.Decode(got, append(out, 0)); !errors.Is(err, ErrFormat) {
		t.Errorf("longer: %v", err)
	}
}

func TestAllocs(t *testing.T) {
	var e Encoder
	var d Decoder
	payload := feedBlock(t, 3000)
	got := make([]byte, len(payload))
	var out []byte
	if n := testing.AllocsPerRun(20, func() { out, _ = e.Encode(out[:0], payload, nil) }); n > 0 {
		t.Errorf("%v allocations to encode a block", n)
	}
	if n := testing.AllocsPerRun(20, func() {
		if err := d.Decode(got, out); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations to decode a block", n)
	}
}

func FuzzDecode(f *testing.F) {
	var e Encoder
	for _, n := range []int{3, 40, 200} {
		payload := feedBlock(f, n)
		if out, ok := e.Encode(nil, payload, nil); ok {
			f.Add(append([]byte(nil), out...), uint32(len(payload)))
		}
	}
	var d Decoder
	f.Fuzz(func(t *testing.T, src []byte, size uint32) {
		_ = d.Decode(make([]byte, size%(1<<20)), src)
	})
}

// FuzzRoundTrip makes valid records of arbitrary bytes: whatever they are, they
// come back.
func FuzzRoundTrip(f *testing.F) {
	f.Add(feedBlock(f, 60), uint8(1), uint16(70))
	f.Add(bytes.Repeat([]byte("0123456789abcdef"), 200), uint8(20), uint16(16))
	var e Encoder
	var d Decoder
	f.Fuzz(func(t *testing.T, b []byte, size uint8, step uint16) {
		checkAny(t, &e, &d, b)
		checkAny(t, &e, &d, recordsOf(b, int(size), int(step)))
	})
}

// recordsOf cuts b into records: topics, times and bodies are its bytes.
func recordsOf(b []byte, size, step int) (payload []byte) {
	for len(b) >= 20+size {
		le := binary.LittleEndian
		f := wire.Fields{Topic: b[16:17], Event: wire.Nanos(le.Uint64(b)), Receive: wire.Nanos(le.Uint64(b[8:])),
			TopicSeq: uint32(b[18]), Kind: wire.Kind(b[19] & 3), Body: b[20:][:size]}
		if b[17]&1 != 0 {
			f.Receive = f.Event + wire.Nanos(b[8])
		}
		if b[17]&2 != 0 {
			f.Topic = b[:1+b[17]&7]
		}
		if b[17]&0xf0 == 0 {
			f.Body = f.Body[:size/2]
		}
		payload, _ = wire.AppendRecord(payload, &f)
		b = b[1+min(step, 19+size):]
	}
	return payload
}

// checkAny encodes bytes that may or may not be a payload.
func checkAny(t *testing.T, e *Encoder, d *Decoder, payload []byte) {
	out, ok := e.Encode(nil, payload, nil)
	if !ok {
		return
	}
	got := make([]byte, len(payload))
	if err := d.Decode(got, out); err != nil || !bytes.Equal(got, payload) {
		t.Fatalf("did not come back: %v", err)
	}
}
