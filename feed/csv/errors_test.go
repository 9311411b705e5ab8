package csv

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tapedeck/tapedeck/feed"
)

func TestOpenErrors(t *testing.T) {
	const plainText = "time,symbol\n1723109400000,A\n"
	for _, tt := range []struct {
		name, text, file string
		opts             feed.Options
		want             []string
	}{
		{name: "no time", text: "foo,bar\n1,2\n", want: []string{"cannot tell which column is the time", "the columns are foo, bar", "--columns", "time=foo:ms,topic=bar"}},
		{name: "no time, no header", text: "1,2\n3,4\n", want: []string{"#1 to #2", "no header", "1, 2", "time=#1:ms"}},
		{name: "unknown column", text: plainText, opts: feed.Options{Columns: "time=tmie:ms"}, want: []string{`no column "tmie"`, "time, symbol"}},
		{name: "unknown place", text: plainText, opts: feed.Options{Columns: "time=#3:ms"}, want: []string{"no column #3", "time, symbol"}},
		{name: "names without header", text: plainText, opts: feed.Options{Columns: "time=time:ms", Header: "no"}, want: []string{"no header", "#1"}},
		{name: "name occurs twice", text: "time,a,A,a\n1723109400000,1,2,3\n", opts: feed.Options{Columns: "time=time,topic=a"}, want: []string{`two columns are called "a"`, "#2 or #4"}},
		{name: "no topic", text: "time,price\n1723109400000,1\n", want: []string{"--topic", "topic=", "time, price"}},
		{name: "topic too long", text: "time,price\n1723109400000,1\n", opts: feed.Options{Topic: strings.Repeat("x", 256)}, want: []string{"255"}},
		{name: "unit too small", text: "time,symbol\n1500,A\n", want: []string{"1500", "unit", "time=time:ms"}},
		{name: "odd time", text: "time,symbol\nyesterday,A\n", want: []string{`"yesterday"`, "column time"}},
		{name: "no value of time", text: "time,symbol\n,A\n", want: []string{"no value"}},
		{name: "count behind a date", text: "date,tod,symbol\n2024-08-08,5,A\n", opts: feed.Options{Columns: "time=date+tod,topic=symbol"}, want: []string{"unit"}},
		{name: "no date", text: "time,symbol\n09:30:00,A\n", file: "x.csv", want: []string{"--date", "YYYYMMDD"}},
		{name: "two dates", text: "time,symbol\n09:30:00,A\n", file: "x_20240808_20240809.csv", want: []string{"2024-08-08", "2024-08-09", "--date"}},
		{name: "odd date", text: "time,symbol\n09:30:00,A\n", opts: feed.Options{Date: "08/08/2024"}, want: []string{"08/08/2024", "YYYY-MM-DD"}},
		{name: "date of no use", text: plainText, opts: feed.Options{Date: "2024-08-08"}, want: []string{"--date"}},
		{name: "zone of no use", text: plainText, opts: feed.Options{Zone: "Europe/Berlin"}, want: []string{"--zone"}},
		{name: "odd zone", text: "time,symbol\n2024-08-08,A\n", opts: feed.Options{Zone: "Mars/Base"}, want: []string{"Mars/Base"}},
		{name: "local zone", text: "time,symbol\n2024-08-08,A\n", opts: feed.Options{Zone: "Local"}, want: []string{"Europe/Berlin"}},
		{name: "odd unit", text: plainText, opts: feed.Options{TimeUnit: "hours"}, want: []string{`"hours"`, "ms"}},
		{name: "odd header", text: plainText, opts: feed.Options{Header: "perhaps"}, want: []string{`"perhaps"`}},
		{name: "dataset", text: plainText, opts: feed.Options{Dataset: "X"}, want: []string{"--dataset"}},
		{name: "preset and columns", text: plainText, opts: feed.Options{Preset: "x", Columns: "time=#1"}, want: []string{"exclude"}},
		{name: "unknown preset", text: plainText, opts: feed.Options{Preset: "x"}, want: []string{`"x"`, "tardis-trades, tardis-quotes, lean-trades, lean-quotes, binance-trades"}},
		{name: "preset that does not fit", text: plainText, opts: feed.Options{Preset: "tardis-trades"}, want: []string{"tardis-trades", `"timestamp"`, "time, symbol"}},
		{name: "binance that is not", text: plainText, opts: feed.Options{Preset: "binance-trades"}, want: []string{"binance-trades", "time, symbol"}},
		{name: "binary", text: "a,b\x00\n", want: []string{"not text"}},
		{name: "utf-16", text: "\xff\xfea\x00,\x00", want: []string{"UTF-16"}},
		{name: "a line without end", text: strings.Repeat("x", feed.HeadSize+1), want: []string{"64 KiB"}},
		{name: "map: key", text: plainText, opts: feed.Options{Columns: "tiem=#1"}, want: []string{`"tiem"`, "time, receive, topic, kind", columnsExample}},
		{name: "map: no time", text: plainText, opts: feed.Options{Columns: "topic=#1"}, want: []string{"no time", columnsExample}},
		{name: "map: twice", text: plainText, opts: feed.Options{Columns: "time=#1,time=#2"}, want: []string{"twice"}},
		{name: "map: unit", text: plainText, opts: feed.Options{Columns: "time=#1:min"}, want: []string{`"min"`, "tod-ms"}},
		{name: "map: kind", text: plainText, opts: feed.Options{Columns: "time=#1,kind=tick"}, want: []string{`"tick"`}},
		{name: "map: place", text: plainText, opts: feed.Options{Columns: "time=#0"}, want: []string{`"#0"`}},
		{name: "map: nothing", text: plainText, opts: feed.Options{Columns: ","}, want: []string{"key=column"}},
		{name: "map: no column", text: plainText, opts: feed.Options{Columns: "time="}, want: []string{"column"}},
		{name: "map: open quote", text: plainText, opts: feed.Options{Columns: `time="x`}, want: []string{"quote"}},
		{name: "map: too many", text: plainText, opts: feed.Options{Columns: "time=#1+#2+#3"}, want: []string{"one column"}},
		{name: "map: unit behind a date", text: plainText, opts: feed.Options{Columns: "time=#1+#2:ms"}, want: []string{"times of day"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(t.Context(), input(t, tt.text, tt.file), tt.opts)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not contain %q", err, want)
				}
			}
		})
	}
}

// TestBadRecords: each bad place is told with its line, and what is good around
// it is read.
func TestBadRecords(t *testing.T) {
	const good = "1723109400000,A,x"
	for _, tt := range []struct{ name, bad, want string }{
		{"too few columns", "1723109400000,A", "line 3: 2 columns where there should be 3"},
		{"too many columns", "1723109400000,A,x,y", "line 3: 4 columns where there should be 3"},
		{"odd time", "soon,A,x", `line 3: time in column time: "soon": not a number`},
		{"time out of range", "99999999999999999,A,x", "line 3: time in column time:"},
		{"no time", ",A,x", "line 3: the record has no time"},
		{"no topic", "1723109400000,,x", "line 3: the columns of the topic are empty"},
		{"long topic", "1723109400000," + strings.Repeat("x", 256) + ",x", "line 3: the topic has 256 bytes"},
		{"open quote", "1723109400000,\"A,x", "line 3: a quoted field is not closed"},
		{"bare quote", "1723109400000,A\",x", "line 3: a quote"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := "time,symbol,note\n" + good + "\n" + tt.bad + "\n" + good + "\n"
			src, err := Open(t.Context(), input(t, text, "x.csv"), feed.Options{})
			must(t, err)
			got, bad := readAll(t, src)
			if len(got) != 2 || got[1].event != "2024-08-08T09:30:00Z" || len(bad) != 1 || !strings.HasPrefix(bad[0], tt.want) {
				t.Errorf("%d records, bad %q, want %q", len(got), bad, tt.want)
			}
		})
	}
}

func TestNextReadError(t *testing.T) {
	reason := errors.New("disk on fire")
	head := "time,symbol\n1723109400000,A\n"
	in := &feed.Input{Name: "x", Head: []byte(head), Reader: io.MultiReader(strings.NewReader(head), iotest.ErrReader(reason))}
	src, err := Open(t.Context(), in, feed.Options{})
	must(t, err)
	_, err = src.Next()
	must(t, err)
	if _, err := src.Next(); !errors.Is(err, reason) {
		t.Errorf("error %v", err)
	}
}
