package csv

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

func TestDetect(t *testing.T) {
	even := strings.Repeat("1723109400000,A,1\n", 10)
	for _, tt := range []struct {
		name, head string
		want       int
	}{
		{"header with time", "time,symbol\n1,A\n", sureOfTimes},
		{"preset", "34200000,1674200,210,Q,2000,0\n34200000,1674200,210,Q,2000,0\n", sureOfTimes},
		{"even columns", "a,b\n1,2\n", sureOfColumns},
		{"one odd record", even + "oops\n", sureOfSome},
		{"many odd records", "a,b\nc\nd,e,f\ng,h\n", 0},
		{"bom", "\xef\xbb\xbftime;symbol\n1;A\n", sureOfTimes},
		{"one column", "time\n1\n", 0},
		{"nothing", "", 0},
		{"bom alone", "\xef\xbb\xbf", 0},
		{"json lines", "{\"a\":1,\"b\":2}\n{\"a\":1,\"b\":2}\n", 0},
		{"json array", "[1,2]\n[3,4]\n", 0},
		{"time and json", "1723161255030314667 {\"a\":1,\"b\":2}\n1723161255030314668 {\"a\":1,\"b\":2}\n", 0},
		{"xml", "<?xml version=\"1,0\"?>\n<a,b>\n", 0},
		{"binary", "a,b\x00\n", 0},
		{"dbn", "DBN\x02,,,\n", 0},
		{"utf-16", "\xff\xfea\x00,\x00", 0},
		{"latin 1", "time,symbol\n1723109400000,\xe9\n", sureOfTimes},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Detect([]byte(tt.head)); got != tt.want {
				t.Errorf("certainty %d, want %d", got, tt.want)
			}
		})
	}
}

func TestDecode(t *testing.T) {
	enc := feed.Encoding{Format: "csv", Detail: map[string]string{"columns": `["a","b","c"]`, "delimiter": ";"}}
	for _, tt := range []struct{ body, want string }{
		{"1;-2.5;x", `a=1 int64|b=-2.5 float64|c=x string`},
		{"01;2.50;1e5", `a=01 string|b=2.50 string|c=1e5 string`},
		{"9223372036854775808;-0;NaN", `a=9223372036854775808 string|b=-0 float64|c=NaN string`},
		{`"1";"x;""y""";`, `a=1 string|b=x;"y" string|c=<nil> <nil>`},
		{"\"two\nlines\";Inf;0x1p4;4", "a=two\nlines string|b=Inf string|c=0x1p4 string|column_4=4 int64"},
		{`"";0.1;+1`, `a= string|b=0.1 float64|c=+1 string`},
	} {
		fields, err := Decode(nil, enc, wire.KindData, []byte(tt.body))
		must(t, err)
		var parts []string
		for _, f := range fields {
			text := fmt.Sprint(f.Value)
			if v, ok := f.Value.(float64); ok {
				text = trimJSON(t, v)
			}
			parts = append(parts, fmt.Sprintf("%s=%s %T", f.Name, text, f.Value))
		}
		if got := strings.Join(parts, "|"); got != tt.want {
			t.Errorf("%q: %s\nwant %s", tt.body, got, tt.want)
		}
	}
	for _, body := range []string{"", "\n", "a\nb", "a\n", `"a`, `a"b`} {
		if fields, err := Decode(nil, enc, wire.KindData, []byte(body)); err == nil {
			t.Errorf("%q gave %v", body, fields)
		}
	}
	enc.Detail["columns"] = "{"
	if _, err := Decode(nil, enc, wire.KindData, []byte("1")); err == nil {
		t.Error("no error for columns that are no JSON")
	}
}

func trimJSON(t *testing.T, v float64) string {
	t.Helper()
	text, err := json.Marshal(v)
	must(t, err)
	return string(text)
}
