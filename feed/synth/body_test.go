package synth_test

import (
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/synth"
	"github.com/tapedeck/tapedeck/wire"
)

// body is put together by hand from the layout in the package comment.
func body(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString("0807060504030201" + "04030201" + "07000000" + "0077a50e1e000000" + "2c010000" + "41" + "01" + "0000" + "ffff")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseHead(t *testing.T) {
	h, err := synth.ParseHead(body(t))
	want := synth.Head{Number: 0x0102030405060708, Topic: 0x01020304, TopicNumber: 7, Price: 0x1e0ea57700, Size: 300, Side: 'A'}
	if err != nil || h != want {
		t.Errorf("%+v, %v", h, err)
	}
	for name, damage := range map[string]func(b []byte) []byte{
		"short":    func(b []byte) []byte { return b[:synth.HeadSize-1] },
		"empty":    func([]byte) []byte { return nil },
		"side":     func(b []byte) []byte { b[28] = 'N'; return b },
		"version":  func(b []byte) []byte { b[29] = 2; return b },
		"reserved": func(b []byte) []byte { b[31] = 1; return b },
	} {
		if _, err := synth.ParseHead(damage(body(t))); !errors.Is(err, synth.ErrBody) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDecode(t *testing.T) {
	enc := feed.Encoding{Format: synth.Name}
	got, err := synth.Decode([]feed.Field{{Name: "before", Value: true}}, enc, wire.KindTrade, body(t))
	want := []feed.Field{
		{Name: "before", Value: true},
		{Name: "number", Value: uint64(0x0102030405060708)},
		{Name: "topic_number", Value: uint64(7)},
		{Name: "side", Value: "ask"},
		{Name: "price", Value: "129.094743808"},
		{Name: "size", Value: uint64(300)},
		{Name: "padding_bytes", Value: uint64(2)},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v, %v\nwant %v", got, err, want)
	}
	if _, err := synth.Decode(nil, enc, 0, []byte("short")); !errors.Is(err, synth.ErrBody) {
		t.Errorf("a short body: %v", err)
	}
	if _, err := synth.Decode(nil, feed.Encoding{Format: "dbn"}, 0, body(t)); err == nil {
		t.Error("a body of another format is decoded")
	}
}

// TestDecodeGenerated: prices of generated bodies have two digits.
func TestDecodeGenerated(t *testing.T) {
	s := open(t, synth.Config{Records: 100})
	each(t, s, func(r *feed.Record) {
		fields, err := synth.Decode(nil, s.Encoding(), r.Kind, r.Body)
		if err != nil {
			t.Fatal(err)
		}
		price := fields[3].Value.(string)
		if fields[3].Name != "price" || price[len(price)-3] != '.' {
			t.Errorf("%s is %s", fields[3].Name, price)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(body(f))
	extreme := body(f)
	for i, x := range [8]byte{7: 0x80} {
		extreme[16+i] = x // the smallest price
	}
	f.Add(extreme)
	enc := feed.Encoding{Format: synth.Name}
	f.Fuzz(func(t *testing.T, b []byte) {
		fields, err := synth.Decode(nil, enc, wire.KindQuote, b)
		h, headErr := synth.ParseHead(b)
		if (err == nil) != (headErr == nil) {
			t.Fatalf("Decode %v, ParseHead %v", err, headErr)
		}
		if err == nil && (len(fields) != 6 || fields[0].Value != h.Number || h.Price == math.MinInt64 && fields[3].Value != "-9223372036.854775808") {
			t.Fatalf("%v of %+v", fields, h)
		}
	})
}
