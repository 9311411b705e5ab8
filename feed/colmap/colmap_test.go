package colmap

import (
	"reflect"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"receive=#1:ns,time=data.T:ms,topic=stream,kind=trade", "time=data.T:ms,receive=#1:ns,topic=stream,kind=trade"},
		{`time="a.b"."c""d" . e`, `time="a.b"."c""d".e,kind=data`},
		{`topic=a+"#1"+ b.c ,receive=r:auto,kind=200`, `receive=r,topic=a+"#1"+b.c,kind=200`},
		{"time=t:iso", "time=t:iso,kind=data"},
	} {
		m, err := Grammar{Format: "x"}.Parse(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if m.String() != tt.want {
			t.Errorf("%s: %s", tt.text, m)
		}
		again, err := Grammar{Format: "x"}.Parse(m.String())
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Errorf("%s: read again: %+v, %v", tt.text, again, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "expected key=column"},
		{"time", "expected key=column"},
		{"=a", "expected key=column"},
		{"time=a,time=b", "given twice"},
		{"topic=a", "names no time"},
		{"time=a:min", `unknown unit "min" (s, ms, us, ns, iso)`},
		{"time=#0", "counted from #1"},
		{"time=#1.a", "counted from #1"},
		{"time=a.#1", "counted from #1"},
		{"time=a.", "expected a column"},
		{"time=,topic=a", "expected a column"},
		{`time="a`, "not closed"},
		{`time="a"b`, "expected a comma"},
		{"time=a=b", "expected a column"},
		{"time=a,kind=cheese", `unknown kind "cheese"`},
		{"when=a", `unknown key "when"`},
		{"time=a,", "expected key=column"},
	} {
		_, err := Grammar{Format: "fmt", Example: "time=x"}.Parse(tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.want) ||
			!strings.HasPrefix(err.Error(), "fmt: --columns: ") || !strings.HasSuffix(err.Error(), "; an example: time=x") {
			t.Errorf("%q: error %v, want %q", tt.text, err, tt.want)
		}
	}
}

func TestParseTime(t *testing.T) {
	for _, tt := range []struct {
		unit Unit
		text string
		want wire.Nanos
		err  error
	}{
		{Auto, "1723161256299", 1723161256299e6, nil},
		{Auto, "1723161256299000", 1723161256299e6, nil},
		{Auto, "1723161256299000001", 1723161256299000001, nil},
		{Auto, "1723161256.25", 1723161256250e6, nil},
		{Auto, "17", 0, ErrUnit},
		{Auto, "-1723161256", 0, nil},
		{Auto, "2024-08-08T23:54:16.299Z", 1723161256299e6, nil},
		{S, "-1.5", -15e8, nil},
		{S, "1.", 0, ErrNumber},
		{S, ".5", 0, ErrNumber},
		{S, "1e9", 0, ErrNumber},
		{S, "", 0, ErrNumber},
		{S, "1.1234567891", 1123456789, nil},
		{Ms, "9223372036854775", 0, ErrRange},
		{Ns, "9223372036854775807", wire.NanosMax, nil},
		{Ns, "9223372036854775808", 0, ErrRange},
		{Ns, "99999999999999999999", 0, ErrRange},
		{Ns, "12.9", 12, nil},
		{ISO, "2024-08-08", 1723075200e9, nil},
		{ISO, "2024-08-08 00:00:01", 1723075201e9, nil},
		{ISO, "2024-08-08 00:00:01+01:00", 1723071601e9, nil},
		{ISO, "2024-08-08T00:00:01.5", 17230752015e8, nil},
		{ISO, "2024-13-08", 0, ErrDateTime},
		{ISO, "1500-01-01", 0, ErrRange},
		{ISO, "x", 0, ErrDateTime},
	} {
		want := tt.want
		if tt.unit == Auto && tt.text[0] == '-' {
			want = -1723161256e9 // by its size, whatever its sign
		}
		got, err := tt.unit.ParseTime([]byte(tt.text))
		if err != tt.err || err == nil && got != want {
			t.Errorf("%s %q: %d, %v; want %d, %v", tt.unit, tt.text, got, err, want, tt.err)
		}
	}
}

func TestScale(t *testing.T) {
	for _, tt := range []struct {
		unit  Unit
		count int64
		want  wire.Nanos
		err   error
	}{
		{Us, -3, -3000, nil}, {Auto, 1723161256, 1723161256e9, nil}, {Auto, 5, 0, ErrUnit}, {S, 1 << 60, 0, ErrRange}, {S, -1 << 60, 0, ErrRange},
	} {
		if got, err := tt.unit.Scale(tt.count); got != tt.want || err != tt.err {
			t.Errorf("%s %d: %d, %v", tt.unit, tt.count, got, err)
		}
	}
}

func TestNames(t *testing.T) {
	n := Names{"Time Stamp_ms", "ts_init", "ts_event", "Venue", "instrument_id", "bid_price", "ask_price"}
	if i, u := n.Time(); i != 2 || u != Auto {
		t.Errorf("time %d %s", i, u)
	}
	if i, u := n[:2].Time(); i != 0 || u != Ms {
		t.Errorf("time %d %s", i, u)
	}
	if i, _ := n.Receive(); i != 1 {
		t.Errorf("receive %d", i)
	}
	if got := n.Topic(); !reflect.DeepEqual(got, []int{3, 4}) {
		t.Errorf("topic %v", got)
	}
	if n.Kind() != wire.KindQuote || n[:3].Kind() != wire.KindData || n[:3].Topic() != nil {
		t.Error("kind or topic")
	}
	for _, name := range []string{"price", "times", "dates", "s"} {
		if i, u := (Names{name}).Time(); i != -1 {
			t.Errorf("%s is a time in %s", name, u)
		}
	}
	for _, name := range []string{"time_s", "Time s", "ts.s"} {
		if i, u := (Names{name}).Time(); i != 0 || u != S {
			t.Errorf("%s: time %d in %s", name, i, u)
		}
	}
}

func TestParseTimeAllocs(t *testing.T) {
	count, iso := []byte("1723161256299"), []byte("2024-08-08T23:54:16.299Z")
	if n := testing.AllocsPerRun(100, func() {
		_, _ = Auto.ParseTime(count)
		_, _ = Auto.ParseTime(iso)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("receive=#1:ns,time=data.T:ms,topic=stream+\"a\"\"b\".c,kind=trade", false)
	f.Add("time=day+a.b:tod-ms,topic=\"#1\"+#2", true)
	f.Fuzz(func(t *testing.T, text string, rows bool) {
		g := Grammar{Format: "x", Flat: rows, Days: rows}
		m, err := g.Parse(text)
		if err != nil {
			return
		}
		again, err := g.Parse(m.String())
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("%q: %s, read again: %+v, %v", text, m, again, err)
		}
	})
}

// TestParseRows: maps of rows without values within values, and with times of day.
func TestParseRows(t *testing.T) {
	g := Grammar{Format: "x", Flat: true, Days: true}
	m, err := g.Parse(`time=the.day+#2:tod-us,receive="a,b":iso,topic=x.y+z`)
	must(t, err)
	want := Map{
		Time:    Time{Date: Path{Names: []string{"the.day"}}, Path: Path{Place: 2}, Unit: TodUs},
		Receive: Time{Path: Path{Names: []string{"a,b"}}, Unit: ISO},
		Topic:   []Path{{Names: []string{"x.y"}}, {Names: []string{"z"}}},
	}
	if !reflect.DeepEqual(*m, want) {
		t.Errorf("%+v, want %+v", *m, want)
	}
	for text, want := range map[string]string{
		"time=a+b+c":  "one column, or one of dates",
		"time=a+b:ms": "behind a column of dates",
		"time=a:min":  "(s, ms, us, ns, iso, tod-s, tod-ms, tod-us, tod-ns, tod)",
	} {
		if _, err := g.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"time=a+b":     "time takes one column",
		"time=a:tod-s": `unknown unit "tod-s" (s, ms, us, ns, iso)`,
	} {
		if _, err := (Grammar{Format: "x"}).Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}
