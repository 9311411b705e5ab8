package export

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

// mixed are records in three encodings by topic, and one that none fits.
func mixed(t testing.TB) *memory {
	m := &memory{encodings: []wire.Encoding{
		{Format: "csv", Topics: "C.", Detail: map[string]string{"columns": `["price","flags","price"]`}},
		{Format: "jsonl", Topics: "J."},
	}}
	for i, b := range []struct{ topic, body string }{
		{"C.x", `1.5,2,"a ""quoted"" word"`},
		{"C.x", `3,,`},
		{"J.y", `{"price":7,"on":true,"name":"","body_flags":"x","deep":{"a":[1,2]},"price":8}`},
		{"R.z", "\x00\x01"},
		{"J.y", `{"on":false,"topic":"t","name":"line\nend"}`},
	} {
		m.add(t, wire.Fields{
			Topic: []byte(b.topic), Body: []byte(b.body), Event: wire.Nanos(i), Receive: wire.Nanos(i + 10),
			TopicSeq: uint32(i), Kind: wire.KindTrade, Flags: wire.RecordFlags(i % 4),
		})
	}
	return m
}

// Fields of any encodings go to columns, whatever their names.
func TestCSVColumns(t *testing.T) {
	want := strings.Join([]string{
		`topic,topic_seq,kind,event_time,receive_time,flags,price,body_flags,price_2,on,name,body_body_flags,deep,body_topic,body_base64`,
		`C.x,0,trade,0,10,,1.5,2,"a ""quoted"" word",,,,,,`,
		`C.x,1,trade,1,11,no_event_time,3,,,,,,,,`,
		`J.y,2,trade,2,12,no_receive_time,7,,8,true,"",x,"{""a"":[1,2]}",,`,
		`R.z,3,trade,3,13,"no_event_time,no_receive_time",,,,,,,,,AAE=`,
		`J.y,4,trade,4,14,,,,,false,"line` + "\n" + `end",,,t,`,
		``,
	}, "\n")
	got, rep := write(t, "csv", mixed(t).config())
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	if rep.Records != 5 || rep.Content != uint64(len(want)) {
		t.Errorf("report %+v", rep)
	}
}

func TestJSONLines(t *testing.T) {
	got, _ := write(t, "jsonl", mixed(t).config())
	lines := strings.Split(strings.TrimSuffix(string(got), "\n"), "\n")
	if len(lines) != 5 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	want := `{"message_type":"record","topic":"C.x","topic_seq":1,"kind":"trade","event_time":1,"receive_time":11,"flags":["no_event_time"],"body":{"price":3,"flags":null,"price":null}}`
	if lines[1] != want {
		t.Errorf("%s\nwant\n%s", lines[1], want)
	}
}

// A column has the type that holds all of its values exactly.
func TestColumnType(t *testing.T) {
	big := int64(exactMax + 1)
	for _, c := range []struct {
		name   string
		values []any
		want   columnType
	}{
		{"nothing", []any{nil}, typeText},
		{"bool", []any{true, nil, false}, typeBool},
		{"int", []any{int64(-1), uint64(1), big}, typeInt},
		{"unsigned that fits", []any{uint64(math.MaxInt64)}, typeInt},
		{"unsigned", []any{int64(1), uint64(math.MaxUint64)}, typeUint},
		{"negative and unsigned", []any{int64(-1), uint64(math.MaxUint64)}, typeText},
		{"float", []any{1.5, math.NaN()}, typeDouble},
		{"float and int", []any{1.5, int64(-exactMax), uint64(exactMax)}, typeDouble},
		{"float and wide int", []any{1.5, big}, typeText},
		{"float and wide negative", []any{1.5, -big}, typeText},
		{"float and wide unsigned", []any{1.5, uint64(big)}, typeText},
		{"bool and int", []any{true, int64(1)}, typeText},
		{"text and int", []any{"a", int64(1)}, typeText},
		{"json", []any{json.RawMessage("1.50")}, typeText},
	} {
		var k valueKind
		for _, v := range c.values {
			k |= kindOf(v)
		}
		if got := k.column(); got != c.want {
			t.Errorf("%s: type %d, want %d", c.name, got, c.want)
		}
	}
}

// The number of columns is bounded, whatever the records say.
func TestColumnsMax(t *testing.T) {
	c := newColumns()
	fields := make([]feed.Field, ColumnsMax+1)
	for i := range fields {
		fields[i].Name = strings.Repeat("x", i)
	}
	if _, err := c.of(fields[:ColumnsMax]); err != nil {
		t.Fatal(err)
	}
	if _, err := c.of(fields); err == nil {
		t.Error("one column more was accepted")
	}
	for range 3 * shapesMax {
		fields[0].Name += "y"
		if _, err := c.of(fields[1:ColumnsMax]); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.shapes) > shapesMax {
		t.Errorf("%d shapes are kept", len(c.shapes))
	}
}

// Records that a second walk has and the first had not are an error.
func TestColumnsChanged(t *testing.T) {
	m, n := mixed(t), 0
	cfg := m.config()
	cfg.Open = func() Records {
		if n++; n == 1 {
			return &walk{}
		}
		return &walk{rest: m.data}
	}
	for _, target := range []string{"csv", "parquet"} {
		n = 0
		x, err := New(target, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Write(t.Context(), &strings.Builder{}); err == nil || !strings.Contains(err.Error(), errChanged.Error()) {
			t.Errorf("%s: %v", target, err)
		}
	}
}
