package jsonl

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
)

func TestDecode(t *testing.T) {
	body := ` { "s" : "a\u0062" , "i":-5,"u":18446744073709551615,"f":1.5,"e":1e5,"long":1.12345678901234567890,"z":"","t":true,"n":null,"o":{"x":[1]},"a":[ ],"d\"":-0 }`
	want := []feed.Field{
		{Name: "s", Value: "ab"}, {Name: "i", Value: int64(-5)}, {Name: "u", Value: uint64(1<<64 - 1)}, {Name: "f", Value: 1.5},
		{Name: "e", Value: json.RawMessage("1e5")}, {Name: "long", Value: json.RawMessage("1.12345678901234567890")},
		{Name: "z", Value: ""}, {Name: "t", Value: true}, {Name: "n"}, {Name: "o", Value: json.RawMessage(`{"x":[1]}`)},
		{Name: "a", Value: json.RawMessage("[ ]")}, {Name: `d"`, Value: float64(0)},
	}
	want[len(want)-1].Value = json.RawMessage("-0")
	got, err := Decode(nil, feed.Encoding{}, 0, []byte(body))
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d fields, %v", len(got), err)
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) && got[i].Name != `d"` {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
	got, err = Decode(got[:1], feed.Encoding{}, 0, []byte(`["x",{"y":1}]`))
	if err != nil || len(got) != 3 || got[1] != (feed.Field{Name: "0", Value: "x"}) || got[2].Name != "1" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "1", `"a"`, "{", `{"a":1}x`} {
		if got, err := Decode(got[:1], feed.Encoding{}, 0, []byte(bad)); err == nil || len(got) != 1 {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
	}
}
