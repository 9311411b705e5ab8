package jsonl

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

const (
	noEvent   = wire.FlagNoEventTime
	noReceive = wire.FlagNoReceiveTime
)

func TestSource(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		opts       feed.Options
		want       []row
		detail     map[string]string
	}{
		{
			"prefix and paths",
			"1723161255000000001 {\"stream\":\"a\",\"data\":{\"T\":1723161256000}}\n1723161255000000002 {\"data\":{\"T\":\"1723161256001\"},\"stream\":\"b\"}\n",
			feed.Options{Columns: "receive=#1:ns,time=data.T:ms,topic=stream,kind=trade"},
			[]row{
				{"a", `{"stream":"a","data":{"T":1723161256000}}`, 1723161256000e6, 1723161255000000001, wire.KindTrade, 0, ""},
				{"b", `{"data":{"T":"1723161256001"},"stream":"b"}`, 1723161256001e6, 1723161255000000002, wire.KindTrade, 0, ""},
			},
			map[string]string{"prefix": "receive", "prefix_unit": "ns", "separator": " ", "bom": "no", "line_end": "lf", "final_newline": "yes", "layout": "time=data.T:ms,receive=#1:ns,topic=stream,kind=trade"},
		},
		{
			"guessed names, two levels, crlf, bom, blank lines",
			"\xef\xbb\xbf\r\n{\"ts\":\"2024-08-08T23:54:16Z\",\"data\":{\"instId\":\"BTC-USDT\",\"px\":1}}\r\n \r\n{\"ts\":1723161257,\"data\":{\"instId\":7}}",
			feed.Options{Topic: "OKX"},
			[]row{
				{"OKX.BTC-USDT", `{"ts":"2024-08-08T23:54:16Z","data":{"instId":"BTC-USDT","px":1}}`, 1723161256e9, 1723161256e9, 0, noReceive, ""},
				{"OKX.7", `{"ts":1723161257,"data":{"instId":7}}`, 1723161257e9, 1723161257e9, 0, noReceive, ""},
			},
			map[string]string{"prefix": "none", "bom": "yes", "line_end": "crlf", "final_newline": "no", "blank_lines": "2", "topic": "OKX.", "layout": "time=ts,topic=data.instId,kind=data"},
		},
		{
			"prefix is the event time, one topic, arrays",
			"1723161255000000\t[1,[\"x\"]]\n01723161255000001 [2]\n",
			feed.Options{Columns: "time=#1", Topic: "T"},
			[]row{
				{"T", `[1,["x"]]`, 1723161255000000e3, 1723161255000000e3, 0, noReceive, ""},
				{"T", `[2]`, 1723161255000001e3, 1723161255000001e3, 0, noReceive, ""},
			},
			map[string]string{"prefix": "time", "prefix_unit": "us", "separator": "\t", "prefix_odd": "1", "topic": "T"},
		},
		{
			"prefix has no use",
			"7 {\"t\":1,\"r\":2}\n",
			feed.Options{Columns: "time=t,receive=r", Topic: "T", TimeUnit: "s"},
			[]row{{"T", `{"t":1,"r":2}`, 1e9, 2e9, 0, 0, ""}},
			map[string]string{"prefix": "lost"},
		},
		{
			"times that some lines have not",
			"{\"t\":1,\"r\":2,\"n\":\"x\"}\n{\"t\":null,\"r\":3,\"n\":true}\n{\"t\":4,\"n\":\"\\u0041\"}\n{\"n\":1}\n{\"t\":1}\n{\"t\":{},\"n\":1}\n{\"t\":1,\"n\":[1]}\n{\"t\":\"soon\",\"n\":1}\n",
			feed.Options{Columns: "time=t:s,receive=r:s,topic=n+n"},
			[]row{
				{"x.x", `{"t":1,"r":2,"n":"x"}`, 1e9, 2e9, 0, 0, ""},
				{"true.true", `{"t":null,"r":3,"n":true}`, 3e9, 3e9, 0, noEvent, ""},
				{"A.A", `{"t":4,"n":"\u0041"}`, 4e9, 4e9, 0, noReceive, ""},
				{bad: "line 4: the record has no time"},
				{bad: "line 5: the columns of the topic are empty"},
				{bad: "line 6: time at t is an object or array"},
				{bad: "line 7: topic at n is an object or array"},
				{bad: `line 8: time at t: "soon": not a number`},
			},
			nil,
		},
		{
			"bad lines",
			"1 {\"n\":\"a\"}\n{\"n\":\"a\"}\n2 \n3\n4 {\"n\":\n5 {\"n\":\"a\"}}\nx\n6 7\n-x {\"n\":1}\n8 {\"n\":\"" + strings.Repeat("n", 256) + "\"}\n9 {\"n\":\"b\"}\n",
			feed.Options{Columns: "receive=#1:s,topic=n"},
			[]row{
				{"a", `{"n":"a"}`, 1e9, 1e9, 0, noEvent, ""},
				{bad: "line 2: there is no time before the JSON, as on the first line"},
				{bad: "line 3: not JSON: it ends too soon, after 0 bytes"},
				{bad: "line 4: there is no JSON object or array behind the time"},
				{bad: "line 5: not JSON: it ends too soon, after 5 bytes"},
				{bad: "line 6: not JSON at byte 9 of the JSON text"},
				{bad: "line 7: there is no time before the JSON, as on the first line"},
				{bad: "line 8: not JSON at byte 0 of the JSON text"},
				{bad: `line 9: time before the JSON: "-x": not a number`},
				{bad: "line 10: the topic has 256 bytes, 255 are allowed"},
				{"b", `{"n":"b"}`, 9e9, 9e9, 0, noEvent, ""},
			},
			nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src, err := openText(t, tt.text, tt.opts)
			must(t, err)
			got := rows(t, src)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
			enc := src.Encoding()
			if enc.Format != "jsonl" {
				t.Errorf("format %q", enc.Format)
			}
			for key, want := range tt.detail {
				if enc.Detail[key] != want {
					t.Errorf("detail %s is %q, want %q", key, enc.Detail[key], want)
				}
			}
		})
	}
}

func TestSourceLongLine(t *testing.T) {
	long := `{"ts":1723161257,"x":"` + strings.Repeat("y", wire.BodySizeMax) + `"}`
	src, err := openText(t, "{\"ts\":1723161257}\n"+long+"\n{\"ts\":1723161258}\n", feed.Options{Topic: "T"})
	must(t, err)
	got := rows(t, src)
	if len(got) != 3 || got[1].bad != "line 2: line is longer than 16777215 bytes" || got[2].body != `{"ts":1723161258}` {
		t.Errorf("%d rows", len(got))
	}
}

func TestOpenErrors(t *testing.T) {
	const good = "{\"ts\":1723161257,\"a\":{\"b\":1}}\n"
	for _, tt := range []struct {
		name, text string
		opts       feed.Options
		want       string
	}{
		{"not json", "hello\n", feed.Options{}, "jsonl: the first lines are not JSON"},
		{"no time", `{"a":1,"b":{"c":2}}`, feed.Options{Topic: "T"}, "jsonl: cannot tell which value is the time; there are a, b.c;"},
		{"no topic", good, feed.Options{}, "jsonl: nothing names the topic"},
		{"topic too long", good, feed.Options{Topic: strings.Repeat("t", 256)}, "topic must have 1 to 255 bytes"},
		{"no prefix", good, feed.Options{Columns: "time=#1", Topic: "T"}, "there is no column #1"},
		{"place 2", "1 " + good, feed.Options{Columns: "time=#2", Topic: "T"}, "there is no column #2"},
		{"twice", "1 " + good, feed.Options{Columns: "time=#1,receive=#1", Topic: "T"}, "not both"},
		{"topic of prefix", "1 " + good, feed.Options{Columns: "time=#1,topic=#1"}, "the topic is made of paths"},
		{"map", good, feed.Options{Columns: "when=x"}, "an example: " + columnsExample},
		{"preset", good, feed.Options{Preset: "kraken"}, `unknown preset "kraken"; known: binance`},
		{"both", good, feed.Options{Preset: "binance", Columns: "time=x"}, "exclude each other"},
		{"unit", good, feed.Options{TimeUnit: "iso"}, `not "iso"`},
		{"date", good, feed.Options{Date: "2024-01-01"}, "jsonl: --date has no meaning"},
		{"zone", good, feed.Options{Zone: "UTC"}, "--zone"},
		{"header", good, feed.Options{Header: "yes"}, "--header"},
		{"dataset", good, feed.Options{Dataset: "X"}, "--dataset"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := openText(t, tt.text, tt.opts)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestDetect(t *testing.T) {
	long := `{"a":"` + strings.Repeat("x", feed.HeadSize)
	for _, tt := range []struct {
		text string
		want int
	}{
		{"{\"a\":1}\n{\"a\":2}", sureOfLines},
		{"\xef\xbb\xbf\r\n17 [1]\r\n", sureOfLines},
		{long, sureOfStart}, {"17 " + long, sureOfStart}, {"{}\n" + long, sureOfLines},
		{strings.Repeat("{}\n", 20) + "oops\n", sureOfLines},
		{"{}\noops\n", 0},
		{"{\n  \"a\": 1\n}\n", 0}, {"a,b\n1,2\n", 0}, {"17 18\n", 0}, {"1,{}\n", 0}, {"", 0}, {"\n", 0}, {"\x00\x01", 0},
		{strings.Repeat("x", feed.HeadSize), 0}, {"{" + strings.Repeat("x", feed.HeadSize), 0},
	} {
		head := []byte(tt.text)
		if got := Format.Detect(head[:min(len(head), feed.HeadSize)]); got != tt.want {
			t.Errorf("%.20q: %d, want %d", tt.text, got, tt.want)
		}
	}
}

// TestRemake builds the file again from the records and the encoding's detail.
func TestRemake(t *testing.T) {
	for _, text := range []string{
		"1723161255000000001 {\"stream\":\"a\"}\r\n1723161255000000002 [1]\r\n",
		"\xef\xbb\xbf1723161255\t{\"stream\":\"a\"}\n1723161256\t{}",
		"\xef\xbb\xbf{\"ts\":1723161255}\n {\"ts\":1723161256} \n",
	} {
		src, err := openText(t, text, feed.Options{Topic: "T", Columns: map[bool]string{true: "receive=#1"}[!strings.Contains(text, "ts")]})
		must(t, err)
		got := rows(t, src)
		if made := remake(got, src.Encoding().Detail); made != text {
			t.Errorf("%q made again is %q", text, made)
		}
	}
}

func TestReadError(t *testing.T) {
	broken := errors.New("broken")
	in := &feed.Input{Reader: io.MultiReader(strings.NewReader("{\"ts\":1723161257}\n"), errReader{broken}), Name: "x", Head: []byte("{\"ts\":1723161257}\n")}
	src, err := Format.Open(t.Context(), in, feed.Options{Topic: "T"})
	must(t, err)
	if _, err := src.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := src.Next(); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }
