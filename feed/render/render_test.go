package render

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/synth"
	"github.com/tapedeck/tapedeck/wire"
)

func record(t testing.TB, f wire.Fields) wire.Record {
	t.Helper()
	b, err := wire.AppendRecord(nil, &f)
	if err != nil {
		t.Fatal(err)
	}
	return wire.Record(b)
}

func TestValues(t *testing.T) {
	for _, c := range []struct {
		v          any
		text, json string
	}{
		{nil, "", "null"},
		{true, "true", "true"},
		{int64(math.MinInt64), "-9223372036854775808", "-9223372036854775808"},
		{uint64(math.MaxUint64), "18446744073709551615", "18446744073709551615"},
		{0.1, "0.1", "0.1"},
		{0.0, "0", "0"},
		{1e20, "100000000000000000000", "100000000000000000000"},
		{1e21, "1e+21", "1e+21"},
		{-1e-7, "-1e-07", "-1e-07"},
		{math.NaN(), "NaN", `"NaN"`},
		{math.Inf(-1), "-Inf", `"-Inf"`},
		{"plain", "plain", `"plain"`},
		{"a\"b\n\xff", "a\"b\n\xff", `"a\"b\n\ufffd"`},
		{json.RawMessage(`{"a":[1]}`), `{"a":[1]}`, `{"a":[1]}`},
		{[]int{1, 2}, "[1 2]", "[1,2]"},
	} {
		if got := string(AppendValue(nil, c.v)); got != c.text {
			t.Errorf("text of %#v: %q, want %q", c.v, got, c.text)
		}
		got := AppendJSONValue(nil, c.v)
		if string(got) != c.json {
			t.Errorf("JSON of %#v: %s, want %s", c.v, got, c.json)
		}
		if !json.Valid(got) {
			t.Errorf("JSON of %#v is not JSON: %s", c.v, got)
		}
	}
}

func TestRecord(t *testing.T) {
	r := record(t, wire.Fields{
		Topic: []byte("X.A"), Body: []byte("b\x00"), Event: 1, Receive: 2, TopicSeq: 7,
		Kind: wire.KindTrade, Flags: wire.FlagNoEventTime | wire.FlagSnapshot,
	})
	fields := []feed.Field{{Name: "n", Value: nil}, {Name: "p", Value: "1.5"}}
	for _, c := range []struct {
		name, got, want string
	}{
		{"text", string(AppendText(nil, r, fields, true)),
			"1970-01-01T00:00:00.000000002Z X.A #7 trade event=1970-01-01T00:00:00.000000001Z flags=no_event_time,snapshot n=- p=1.5"},
		{"text of an unknown body", string(AppendText(nil, r, nil, false)),
			`1970-01-01T00:00:00.000000002Z X.A #7 trade event=1970-01-01T00:00:00.000000001Z flags=no_event_time,snapshot body="b\x00"`},
		{"json", string(AppendJSON(nil, r, fields, true)),
			`{"message_type":"record","topic":"X.A","topic_seq":7,"kind":"trade","event_time":1,"receive_time":2,"flags":["no_event_time","snapshot"],"body":{"n":null,"p":"1.5"}}`},
		{"json of an unknown body", string(AppendJSON(nil, r, nil, false)),
			`{"message_type":"record","topic":"X.A","topic_seq":7,"kind":"trade","event_time":1,"receive_time":2,"flags":["no_event_time","snapshot"],"body_base64":"YgA="}`},
	} {
		if c.got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, c.got, c.want)
		}
	}
}

// An encoding decodes the topics that it is for, and no others; the longest prefix
// counts, and of several encodings for it the first that fits.
func TestDecoderTopics(t *testing.T) {
	d := NewDecoder([]wire.Encoding{
		{Format: "no such format"},
		{Format: "csv", Topics: "A.", Detail: map[string]string{"columns": `["x","y"]`}},
		{Format: "lines", Topics: "B."},
		{Format: synth.Name, Topics: "C."},
		{Format: "lines", Topics: "A.L"},
		{Format: synth.Name, Topics: "A.F"},
		{Format: "csv", Topics: "A.F"},
	})
	for topic, want := range map[string][]feed.Field{
		"A.1": {{Name: "x", Value: int64(1)}, {Name: "y", Value: int64(2)}},
		"A.L": {{Name: "text", Value: "1,2"}},
		"A.F": {{Name: "column_1", Value: int64(1)}, {Name: "column_2", Value: int64(2)}},
		"B.1": {{Name: "text", Value: "1,2"}},
	} {
		got, ok := d.Decode(record(t, wire.Fields{Topic: []byte(topic), Body: []byte("1,2")}))
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Errorf("%s: %v %s", topic, ok, diff)
		}
	}
	for _, topic := range []string{"C.1", "D.1", "A"} {
		if got, ok := d.Decode(record(t, wire.Fields{Topic: []byte(topic), Body: []byte("1,2")})); ok {
			t.Errorf("%s: decoded as %v", topic, got)
		}
	}
}

// The longest prefix that a topic begins with decides, whatever the order.
func TestDecoderLongestPrefix(t *testing.T) {
	d := NewDecoder([]wire.Encoding{
		{Format: "csv", Detail: map[string]string{"columns": `["all"]`}},
		{Format: "csv", Topics: "A", Detail: map[string]string{"columns": `["a"]`}},
		{Format: "csv", Topics: "A.B", Detail: map[string]string{"columns": `["ab"]`}},
	})
	for topic, want := range map[string]string{"A.B.C": "ab", "A.B": "ab", "A.": "a", "B": "all"} {
		got, ok := d.Decode(record(t, wire.Fields{Topic: []byte(topic), Body: []byte("1")}))
		if !ok || len(got) != 1 || got[0].Name != want {
			t.Errorf("%s: %v, want the field %s", topic, got, want)
		}
	}
}
