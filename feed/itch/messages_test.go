package itch

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/feed"
)

// TestLayout holds that the fields of each message type fill it, without overlap
// and without a gap but for the reserved byte of H. A and E share their fields
// with the longer F and C.
func TestLayout(t *testing.T) {
	const types = "SRHYLVWKJhAFECXDUPQBINO"
	for typ := range messages {
		m := &messages[typ]
		if (m.size != 0) != strings.ContainsRune(types, rune(typ)) {
			t.Errorf("type %q has size %d", rune(typ), m.size)
		}
		if m.size == 0 {
			continue
		}
		if m.size > sizeMax {
			t.Errorf("%c: sizeMax is less than %d", typ, m.size)
		}
		covered := make([]string, m.size)
		covered[0] = "type"
		if typ == 'H' {
			covered[20] = "reserved"
		}
		for _, f := range append(common[:3:3], m.fields...) {
			if (typ == 'A' || typ == 'E') && f.Off >= m.size {
				continue
			}
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
		if got := strings.Contains(strings.Join(covered, " "), "stock "); got && covered[m.stockOff] != "stock" ||
			!got && m.stockOff != 0 {
			t.Errorf("%c: stock is not at %d", typ, m.stockOff)
		}
	}
}

// TestDecode takes messages apart that are written out by hand.
func TestDecode(t *testing.T) {
	const (
		head = " 000d 0002 1f1ac9bc1240" // locate 13, tracking 2, 34200.123456789 s
		aapl = " 4141504c20202020"
		ref  = " 0000000000000bb8"
	)
	common := []feed.Field{{Name: "stock_locate", Value: uint64(13)}, {Name: "tracking_number", Value: uint64(2)},
		{Name: "timestamp", Value: uint64(0x1f1ac9bc1240)}}
	stock := feed.Field{Name: "stock", Value: "AAPL"}
	order := feed.Field{Name: "order_reference_number", Value: uint64(3000)}
	for _, tt := range []struct {
		name, hex string
		want      []feed.Field
	}{
		{"system event", "53" + head + " 4f", []feed.Field{{Name: "event_code", Value: "O"}}},
		{"stock directory", "52" + head + aapl + " 51 4e 00000064 4e 43 5a20 50 4e 20 31 4e 00000003 59", []feed.Field{stock,
			{Name: "market_category", Value: "Q"}, {Name: "financial_status_indicator", Value: "N"},
			{Name: "round_lot_size", Value: uint64(100)}, {Name: "round_lots_only", Value: "N"},
			{Name: "issue_classification", Value: "C"}, {Name: "issue_sub_type", Value: "Z"},
			{Name: "authenticity", Value: "P"}, {Name: "short_sale_threshold_indicator", Value: "N"},
			{Name: "ipo_flag", Value: nil}, {Name: "luld_reference_price_tier", Value: "1"},
			{Name: "etp_flag", Value: "N"}, {Name: "etp_leverage_factor", Value: uint64(3)},
			{Name: "inverse_indicator", Value: "Y"}}},
		{"mwcb decline level", "56" + head + " 000000746a528800 0000000000000001 ffffffffffffffff", []feed.Field{
			{Name: "level_1", Value: "5000"}, {Name: "level_2", Value: "0.00000001"},
			{Name: "level_3", Value: "184467440737.09551615"}}},
		{"add order", "41" + head + ref + " 42 00000064" + aapl + " 0031b568", []feed.Field{order,
			{Name: "buy_sell_indicator", Value: "B"}, {Name: "shares", Value: uint64(100)}, stock,
			{Name: "price", Value: "325.7704"}}},
		{"add order with mpid attribution", "46" + head + ref + " 53 00000064" + aapl + " 7735939c 4e534451", []feed.Field{order,
			{Name: "buy_sell_indicator", Value: "S"}, {Name: "shares", Value: uint64(100)}, stock,
			{Name: "price", Value: "199999.99"}, {Name: "attribution", Value: "NSDQ"}}},
		{"order executed with price", "43" + head + ref + " 00000001 0000000000000007 59 00002710", []feed.Field{order,
			{Name: "executed_shares", Value: uint64(1)}, {Name: "match_number", Value: uint64(7)},
			{Name: "printable", Value: "Y"}, {Name: "execution_price", Value: "1"}}},
		{"order delete", "44" + head + ref, []feed.Field{order}},
		{"net order imbalance indicator", "49" + head + " 0000000000000064 00000000000000c8 42" + aapl +
			" 00000000 00000001 00002711 4f 4c", []feed.Field{{Name: "paired_shares", Value: uint64(100)},
			{Name: "imbalance_shares", Value: uint64(200)}, {Name: "imbalance_direction", Value: "B"}, stock,
			{Name: "far_price", Value: "0"}, {Name: "near_price", Value: "0.0001"},
			{Name: "current_reference_price", Value: "1.0001"}, {Name: "cross_type", Value: "O"},
			{Name: "price_variation_indicator", Value: "L"}}},
		{"unknown", "7a" + head + " 0102", []feed.Field{{Name: "type", Value: "z"}, {Name: "payload", Value: "0102"}}},
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
			want := append([]feed.Field{{Name: "message", Value: tt.name}}, common...)
			if d := cmp.Diff(append(want, tt.want...), got); d != "" {
				t.Error(d)
			}
			for n := range body {
				if tt.name == "unknown" && n >= commonSize {
					continue
				}
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
			f.Add(of(byte(typ), 1, 5, "AAPL"))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := Format.Decode(nil, feed.Encoding{}, 0, body); err != nil && !errors.Is(err, ErrBody) {
			t.Fatal(err)
		}
	})
}
