package fixed

import (
	"encoding/binary"
	"math"
	"math/big"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/feed"
)

func TestAppend(t *testing.T) {
	body := []byte{0x01, 0x02, 0xff, 0xfe, 'A', ' ', 'A', 'B', ' ', 0, 0xe9, 0x80}
	layout := []Field{
		{Name: "u", Off: 0, Size: 2, Type: Uint},
		{Name: "u48", Off: 0, Size: 6, Type: Uint},
		{Name: "i", Off: 2, Size: 2, Type: Int},
		{Name: "p", Off: 2, Size: 2, Type: Price, Digits: 1},
		{Name: "up", Off: 2, Size: 2, Type: UPrice, Digits: 4},
		{Name: "c", Off: 4, Size: 1, Type: Char},
		{Name: "blank", Off: 5, Size: 1, Type: Char},
		{Name: "t", Off: 6, Size: 4, Type: Text},
		{Name: "latin", Off: 10, Size: 2, Type: Text},
		{Name: "beyond", Off: 11, Size: 2, Type: Uint},
	}
	for _, tt := range []struct {
		order binary.ByteOrder
		want  []any
	}{
		{binary.BigEndian, []any{uint64(0x102), uint64(0x102fffe4120), int64(-2), "-0.2", "6.5534", "A", nil, "AB", "\u00e9\u0080"}},
		{binary.LittleEndian, []any{uint64(0x201), uint64(0x2041feff0201), int64(-257), "-25.7", "6.5279", "A", nil, "AB", "\u00e9\u0080"}},
	} {
		got := Append(nil, tt.order, layout, body)
		var want []feed.Field
		for i, v := range tt.want {
			want = append(want, feed.Field{Name: layout[i].Name, Value: v})
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%v: %s", tt.order, d)
		}
	}
}

func TestAppendOptional(t *testing.T) {
	layout := Layout(1,
		Field{Name: "u8", Size: 1, Type: OptUint}, Field{Size: 2},
		Field{Name: "u64", Size: 8, Type: OptUint}, Field{Name: "i8", Size: 1, Type: OptInt},
		Field{Name: "i64", Size: 8, Type: OptInt}, Field{Name: "p", Size: 4, Type: OptPrice, Digits: 1})
	none := []byte{9, 0xff, 1, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f}
	some := []byte{9, 0xfe, 1, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0xff,
		2, 0, 0, 0, 0, 0, 0, 0, 0xf6, 0xff, 0xff, 0xff}
	for _, tt := range []struct {
		body []byte
		want []any
	}{
		{none, []any{nil, nil, nil, nil, nil}},
		{some, []any{uint64(0xfe), uint64(1), int64(-1), int64(2), "-1"}},
	} {
		var want []feed.Field
		for i, name := range []string{"u8", "u64", "i8", "i64", "p"} {
			want = append(want, feed.Field{Name: name, Value: tt.want[i]})
		}
		if d := cmp.Diff(want, Append(nil, binary.LittleEndian, layout, tt.body)); d != "" {
			t.Error(d)
		}
	}
}

func TestDecimal(t *testing.T) {
	for _, tt := range []struct {
		v      int64
		digits int
		want   string
	}{
		{0, 4, "0"}, {0, 0, "0"}, {5, 0, "5"}, {100, 0, "100"}, {1, 4, "0.0001"}, {-1, 4, "-0.0001"},
		{10000, 4, "1"}, {1234500, 4, "123.45"}, {-1234567, 4, "-123.4567"}, {100, 2, "1"},
		{math.MaxInt64, 8, "92233720368.54775807"}, {math.MinInt64, 9, "-9223372036.854775808"},
	} {
		if got := Decimal(tt.v, tt.digits); got != tt.want {
			t.Errorf("Decimal(%d, %d) = %s, want %s", tt.v, tt.digits, got, tt.want)
		}
	}
}

// FuzzDecimal holds that a decimal is the exact value, in its shortest form.
func FuzzDecimal(f *testing.F) {
	f.Add(int64(12345), 4)
	f.Add(int64(math.MinInt64), 18)
	f.Fuzz(func(t *testing.T, v int64, digits int) {
		if digits < 0 || digits > 19 {
			return
		}
		text := Decimal(v, digits)
		got, ok := new(big.Rat).SetString(text)
		scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
		if !ok || got.Cmp(new(big.Rat).SetFrac(big.NewInt(v), scale)) != 0 {
			t.Fatalf("Decimal(%d, %d) = %q", v, digits, text)
		}
		for i := range text {
			if text[i] == '.' && (i == len(text)-1 || text[len(text)-1] == '0') {
				t.Fatalf("Decimal(%d, %d) = %q", v, digits, text)
			}
		}
	})
}

func TestAppendSymbol(t *testing.T) {
	for _, tt := range []struct {
		padded, want string
		ok           bool
	}{
		{"AAPL    ", "x.AAPL", true}, {"ABCDEFGH", "x.ABCDEFGH", true}, {"BRK.A\x00\x00\x00", "x.BRK.A", true},
		{"        ", "x.", false}, {"", "x.", false}, {"A B     ", "x.", false}, {"A\x01", "x.", false}, {"\xff", "x.", false},
	} {
		got, ok := AppendSymbol([]byte("x."), []byte(tt.padded))
		if string(got) != tt.want || ok != tt.ok {
			t.Errorf("AppendSymbol(%q) = %q, %v", tt.padded, got, ok)
		}
	}
}
