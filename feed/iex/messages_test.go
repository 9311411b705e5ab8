package iex

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/feed"
)

// TestLayout holds that the fields of each message type fill it, without overlap
// and without a gap but for the reserved bytes of DEEP+.
func TestLayout(t *testing.T) {
	known := 0
	for typ := range messages {
		m := &messages[typ]
		if m.size == 0 {
			continue
		}
		known++
		covered := make([]string, m.size)
		covered[0] = "type"
		if typ == 'R' || typ == 'C' {
			covered[1] = "reserved"
		}
		for _, f := range m.fields {
			for i := f.Off; i < f.Off+f.Size; i++ {
				if i >= m.size || covered[i] != "" {
					t.Fatalf("%c: %s at byte %d of %d", typ, f.Name, i, m.size)
				}
				covered[i] = f.Name
			}
		}
		for i, name := range covered {
			if name == "" {
				t.Errorf("%c: no field has byte %d", typ, i)
			}
		}
		if typ != 'S' && (m.size < symbolOff+symbolSize || covered[symbolOff] != "symbol") || covered[timeOff] != "timestamp" {
			t.Errorf("%c: time stamp or symbol is not where it is in every message", typ)
		}
	}
	if known != 19 {
		t.Errorf("%d message types", known)
	}
}

// TestDecode takes messages apart that are written out by hand.
func TestDecode(t *testing.T) {
	const (
		stamp = " ac63c02096866d14"
		ziext = " 5a49455854202020"
	)
	at := feed.Field{Name: "timestamp", Value: int64(1471980632572715948)}
	symbol := feed.Field{Name: "symbol", Value: "ZIEXT"}
	for _, tt := range []struct {
		name, hex string
		want      []feed.Field
	}{
		{"system event", "53 45" + stamp, []feed.Field{{Name: "system_event", Value: "E"}, at}},
		{"security directory", "44 80" + stamp + ziext + " 64000000 241d0f0000000000 01", []feed.Field{
			{Name: "flags", Value: uint64(128)}, at, symbol, {Name: "round_lot_size", Value: uint64(100)},
			{Name: "adjusted_poc_price", Value: "99.05"}, {Name: "luld_tier", Value: uint64(1)}}},
		{"trading status", "48 48" + stamp + ziext + " 54312020", []feed.Field{
			{Name: "trading_status", Value: "H"}, at, symbol, {Name: "reason", Value: "T1"}}},
		{"quote update", "51 00" + stamp + ziext + " e4250000 24e70f0000000000 ec1d100000000000 e8030000", []feed.Field{
			{Name: "flags", Value: uint64(0)}, at, symbol, {Name: "bid_size", Value: uint64(9700)},
			{Name: "bid_price", Value: "104.2212"}, {Name: "ask_price", Value: "105.6236"},
			{Name: "ask_size", Value: uint64(1000)}}},
		{"trade report", "54 c0" + stamp + ziext + " 64000000 241d0f0000000000 968f060000000000", []feed.Field{
			{Name: "sale_condition_flags", Value: uint64(0xc0)}, at, symbol, {Name: "size", Value: uint64(100)},
			{Name: "price", Value: "99.05"}, {Name: "trade_id", Value: uint64(429974)}}},
		{"official price", "58 51" + stamp + ziext + " ffffffffffffffff", []feed.Field{
			{Name: "price_type", Value: "Q"}, at, symbol, {Name: "official_price", Value: "-0.0001"}}},
		{"order delete", "52 00" + stamp + ziext + " 968f060000000000", []feed.Field{
			at, symbol, {Name: "order_id", Value: uint64(429974)}}},
		{"unknown", "7a01", []feed.Field{{Name: "payload", Value: "7a01"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body, err := hex.DecodeString(strings.ReplaceAll(tt.hex, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			got, err := Format.Decode(nil, feed.Encoding{}, 0, body)
			if err != nil {
				t.Fatal(err)
			}
			want := append([]feed.Field{{Name: "message", Value: tt.name}}, tt.want...)
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			if tt.name == "unknown" {
				return
			}
			for n := range body {
				if _, err := Format.Decode(nil, feed.Encoding{}, 0, body[:n]); !errors.Is(err, ErrBody) {
					t.Errorf("%d of %d bytes: error %v", n, len(body), err)
				}
			}
		})
	}
}

// FuzzDecode holds that any body decodes or is refused with ErrBody.
func FuzzDecode(f *testing.F) {
	for typ := range messages {
		if messages[typ].size > 0 {
			f.Add(of(byte(typ), 1, "AAPL"))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := Format.Decode(nil, feed.Encoding{}, 0, body); err != nil && !errors.Is(err, ErrBody) {
			t.Fatal(err)
		}
	})
}
