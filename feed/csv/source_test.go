package csv

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

// input makes an input of text; name may be "path!member".
func input(t testing.TB, text, name string) *feed.Input {
	t.Helper()
	path, inner, _ := strings.Cut(name, "!")
	in, err := feed.NewInput(t.Context(), strings.NewReader(text), path)
	must(t, err)
	in.Inner = inner
	return in
}

// line is a record in short: topic, times, body.
type line struct {
	topic, event, receive, body string
}

func readAll(t testing.TB, src feed.Source) (list []line, bad []string) {
	t.Helper()
	for {
		r, err := src.Next()
		var record *feed.BadRecord
		switch {
		case err == io.EOF:
			return list, bad
		case errors.As(err, &record):
			bad = append(bad, record.Error())
			continue
		case err != nil:
			t.Fatal(err)
		}
		l := line{topic: string(r.Topic), event: rfc(r.Event), receive: rfc(r.Receive), body: string(r.Body)}
		if r.Flags&wire.FlagNoEventTime != 0 {
			l.event = ""
		}
		if r.Flags&wire.FlagNoReceiveTime != 0 {
			l.receive = ""
		}
		list = append(list, l)
	}
}

func rfc(at wire.Nanos) string { return time.Unix(0, int64(at)).UTC().Format(time.RFC3339Nano) }

func TestOpenForms(t *testing.T) {
	const (
		t0 = "2024-08-08T09:30:00Z"
		t1 = "2024-08-08T09:30:01.5Z"
		ny = "2024-08-08T13:30:00Z"
	)
	tests := []struct {
		name, text, file string
		opts             feed.Options
		want             []line
		kind             wire.Kind
		layout           string
	}{
		{
			name: "header, ms", text: "time,symbol,price\n1723109400000,A,1\n1723109401500,B,2\n",
			want:   []line{{"A", t0, "", "1723109400000,A,1"}, {"B", t1, "", "1723109401500,B,2"}},
			layout: "time=time:ms,topic=symbol,kind=data",
		},
		{
			name: "seconds with a fraction, semicolons, crlf, bom", text: "\xef\xbb\xbfTimestamp;Ticker\r\n1723109400;A\r\n1723109401.5;B\r\n",
			want: []line{{"A", t0, "", "1723109400;A"}, {"B", t1, "", "1723109401.5;B"}}, layout: "time=Timestamp:s,topic=Ticker,kind=data",
		},
		{
			name: "us, tabs, no last line end", text: "ts\tvenue\tpair\n1723109400000000\tX\tA-B\n1723109401500000\tY\tC-D",
			want: []line{{"X.A-B", t0, "", "1723109400000000\tX\tA-B"}, {"Y.C-D", t1, "", "1723109401500000\tY\tC-D"}}, layout: "time=ts:us,topic=venue+pair,kind=data",
		},
		{
			name: "ns, bars", text: "ts_event|ts_recv|instrument\n1723109400000000000|1723109401500000000|A\n",
			want: []line{{"A", t0, t1, "1723109400000000000|1723109401500000000|A"}}, layout: "time=ts_event:ns,receive=ts_recv:ns,topic=instrument,kind=data",
		},
		{
			name: "iso, quotes, a line end in a field", text: "\"datetime\",\"symbol\",\"note\"\r\n\"2024-08-08 09:30:00\",\"A\",\"two\r\nlines, \"\"quoted\"\"\"\r\n\"2024-08-08 09:30:01.5\",\"B\",\"\"\r\n",
			want: []line{{"A", t0, "", "\"2024-08-08 09:30:00\",\"A\",\"two\r\nlines, \"\"quoted\"\"\""}, {"B", t1, "", "\"2024-08-08 09:30:01.5\",\"B\",\"\""}}, layout: "time=datetime:iso,topic=symbol,kind=data",
		},
		{
			name: "iso in a zone", text: "time,symbol\n2024-08-08T09:30:00,A\n2024-08-08T09:30:00Z,B\n", opts: feed.Options{Zone: "America/New_York"},
			want: []line{{"A", ny, "", "2024-08-08T09:30:00,A"}, {"B", t0, "", "2024-08-08T09:30:00Z,B"}},
		},
		{
			name: "date and time", text: "<TICKER>,<DATE>,<TIME>,<CLOSE>\nA,20240808,093000,1.5\n", opts: feed.Options{Columns: `time=<DATE>+<TIME>:tod,topic=<TICKER>`},
			want: []line{{"A", t0, "", "A,20240808,093000,1.5"}}, layout: "time=<DATE>+<TIME>:tod,topic=<TICKER>,kind=data",
		},
		{
			name: "date and time by their names", text: "Date,Time,Symbol\n2024-08-08,09:30:00,A\n2024-08-08,09:30:01.5,B\n", opts: feed.Options{Zone: "UTC"},
			want: []line{{"A", t0, "", "2024-08-08,09:30:00,A"}, {"B", t1, "", "2024-08-08,09:30:01.5,B"}}, layout: "time=Date+Time:tod,topic=Symbol,kind=data",
		},
		{
			name: "dates alone, bars", text: "Date,Open,High,Low,Close\n2024-08-08,1,2,3,4\n", opts: feed.Options{Topic: "SPY"},
			want: []line{{"SPY", "2024-08-08T00:00:00Z", "", "2024-08-08,1,2,3,4"}}, kind: wire.KindBar, layout: "time=Date:iso,kind=bar",
		},
		{
			name: "time of day, date from the option", text: "time,symbol\n09:30:00,A\n", opts: feed.Options{Date: "2024-08-08", Zone: "America/New_York"},
			want: []line{{"A", ny, "", "09:30:00,A"}},
		},
		{
			name: "time of day, date from the name", text: "time,symbol\n09:30:00,A\n", file: "/data/x_08082024.csv.gz",
			want: []line{{"A", t0, "", "09:30:00,A"}},
		},
		{
			name: "time of day, date from the member", text: "time,symbol\n09:30:00,A\n", file: "x_20200101.zip!2024-08-08/day-2024-08-08.csv",
			want: []line{{"A", t0, "", "09:30:00,A"}},
		},
		{
			name: "unit in the name of the column", text: "time_us,symbol\n1723109400000000,A\n",
			want: []line{{"A", t0, "", "1723109400000000,A"}}, layout: "time=time_us:us,topic=symbol,kind=data",
		},
		{
			name: "unit by the option", text: "time,symbol\n1500,A\n", opts: feed.Options{TimeUnit: "ms"},
			want: []line{{"A", "1970-01-01T00:00:01.5Z", "", "1500,A"}},
		},
		{
			name: "no header, map by place", text: "A,x,1723109400000\nB,y,1723109401500\n", opts: feed.Options{Columns: "time=#3:ms,topic=#2+#1,kind=quote"},
			want: []line{{"x.A", t0, "", "A,x,1723109400000"}, {"y.B", t1, "", "B,y,1723109401500"}}, kind: wire.KindQuote, layout: "time=#3:ms,topic=#2+#1,kind=quote",
		},
		{
			name: "no header, the time shows itself", text: "5,2024-08-08T09:30:00Z\n7,2024-08-08T09:30:01.5Z\n", opts: feed.Options{Topic: "T"},
			want: []line{{"T", t0, "", "5,2024-08-08T09:30:00Z"}, {"T", t1, "", "7,2024-08-08T09:30:01.5Z"}}, layout: "time=#2:iso,kind=data",
		},
		{
			name: "header that does not look so", text: "1,2\n1723109400000,A\n", opts: feed.Options{Header: "yes", Columns: "time=1:ms,topic=2"},
			want: []line{{"A", t0, "", "1723109400000,A"}},
		},
		{
			name: "no header though it looks so", text: "x,y\n", opts: feed.Options{Header: "no", Columns: "time=#1:ms,topic=#2"},
			want: nil,
		},
		{
			name: "odd names in quotes", text: "a+b,\"c,\"\"d\"\"\"\n1723109400000,A\n", opts: feed.Options{Columns: `time="a+b":ms,topic="c,""d"""`},
			want: []line{{"A", t0, "", "1723109400000,A"}}, layout: `time="a+b":ms,topic="c,""d""",kind=data`,
		},
		{
			name: "names without regard to case and blanks", text: "Time, Symbol\n1723109400000, A\n", opts: feed.Options{Columns: "time=time:ms, topic=SYMBOL, kind=trade"},
			want: []line{{"A", t0, "", "1723109400000, A"}}, kind: wire.KindTrade,
		},
		{
			name: "prefix", text: "time,symbol\n1723109400000,A\n", opts: feed.Options{Topic: "test"},
			want: []line{{"test.A", t0, "", "1723109400000,A"}},
		},
		{
			name: "prefix with its own end", text: "time,symbol\n1723109400000,A\n", opts: feed.Options{Topic: "test/"},
			want: []line{{"test/A", t0, "", "1723109400000,A"}},
		},
		{
			name: "a part of the topic is empty", text: "time,exchange,symbol\n1723109400000,,A\n1723109400000,X,\n",
			want: []line{{"A", t0, "", "1723109400000,,A"}, {"X", t0, "", "1723109400000,X,"}},
		},
		{
			name: "one of two times is empty", text: "exchange,symbol,timestamp,local_timestamp\nX,A,,1723109401500000\nX,A,1723109400000000,\n",
			want: []line{{"X.A", "", t1, "X,A,,1723109401500000"}, {"X.A", t0, "", "X,A,1723109400000000,"}},
		},
		{
			name: "receive alone", text: "local_timestamp,symbol\n1723109400000,A\n",
			want: []line{{"A", "", t0, "1723109400000,A"}}, layout: "receive=local_timestamp:ms,topic=symbol,kind=data",
		},
		{
			name: "out of order", text: "time,symbol\n1723109401500,A\n1723109400000,A\n",
			want: []line{{"A", t1, "", "1723109401500,A"}, {"A", t0, "", "1723109400000,A"}},
		},
		{name: "header alone", text: "time,symbol\n", want: nil},
		{
			name: "lean trades, other names", text: "34200000,1674200,210,Q,2000,0\n", file: "/x/Data/equity/usa/tick/brk.b/20240808_trade.zip!20240808_brk.b_Trade_Tick.csv",
			want: []line{{"BRK.B", ny, "", "34200000,1674200,210,Q,2000,0"}}, kind: wire.KindTrade, layout: "time=#1:tod-ms,kind=trade",
		},
		{
			name: "lean trades, symbol from the folder", text: "34200000,1674200,210,Q,2000,0\n", file: "/x/spy/20240808_trade.csv",
			want: []line{{"SPY", ny, "", "34200000,1674200,210,Q,2000,0"}}, kind: wire.KindTrade,
		},
		{
			name: "lean trades, by preset, of three columns", text: "34200000,1674200,210\n", file: "btcusd-20240808.csv", opts: feed.Options{Preset: "lean-trades", Zone: "UTC", Topic: "gdax"},
			want: []line{{"gdax.BTCUSD", t0, "", "34200000,1674200,210"}}, kind: wire.KindTrade,
		},
		{
			name: "binance spot trades", text: "1,60000.1,0.5,30000.05,1723109400000,True,True\n", file: "BTCUSDT-trades-2024-08-08.csv",
			want: []line{{"BTCUSDT", t0, "", "1,60000.1,0.5,30000.05,1723109400000,True,True"}}, kind: wire.KindTrade, layout: "time=#5:ms,kind=trade",
		},
		{
			name: "binance spot trades in us", text: "1,60000.1,0.5,30000.05,1723109400000000,True,True\n", file: "d/BTCUSDT-trades-2025-08.zip!BTCUSDT-trades-2025-08.csv",
			want: []line{{"BTCUSDT", t0, "", "1,60000.1,0.5,30000.05,1723109400000000,True,True"}}, kind: wire.KindTrade, layout: "time=#5:us,kind=trade",
		},
		{
			name: "binance spot aggTrades", text: "1,60000.1,0.5,7,8,1723109400000,True,True\n", file: "BTCUSDT-aggTrades-2024-08-08.csv",
			want: []line{{"BTCUSDT", t0, "", "1,60000.1,0.5,7,8,1723109400000,True,True"}}, kind: wire.KindTrade, layout: "time=#6:ms,kind=trade",
		},
		{
			name: "binance futures trades with header", text: "id,price,qty,quote_qty,time,is_buyer_maker\n1,60000.1,0.5,30000.05,1723109400000,true\n", file: "BTCUSD_PERP-trades-2024-08-08.csv",
			want: []line{{"BTCUSD_PERP", t0, "", "1,60000.1,0.5,30000.05,1723109400000,true"}}, kind: wire.KindTrade, layout: "time=time:ms,kind=trade",
		},
		{
			name: "binance futures aggTrades with header", text: "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n1,60000.1,0.5,7,8,1723109400000,false\n", file: "BTCUSDT-aggTrades-2024-08-08.csv", opts: feed.Options{Topic: "binance-futures"},
			want: []line{{"binance-futures.BTCUSDT", t0, "", "1,60000.1,0.5,7,8,1723109400000,false"}}, kind: wire.KindTrade, layout: "time=transact_time:ms,kind=trade",
		},
		{
			name: "binance futures aggTrades without header", text: "1,60000.1,0.5,7,8,1723109400000,false\n", file: "x.csv", opts: feed.Options{Topic: "whole"},
			want: []line{{"whole", t0, "", "1,60000.1,0.5,7,8,1723109400000,false"}}, kind: wire.KindTrade, layout: "time=#6:ms,kind=trade",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := input(t, tt.text, tt.file)
			src, err := Open(t.Context(), in, tt.opts)
			must(t, err)
			r := src.(*source).record
			if r.Kind != tt.kind {
				t.Errorf("kind %v, want %v", r.Kind, tt.kind)
			}
			got, bad := readAll(t, src)
			if tt.name == "no header though it looks so" {
				if len(bad) != 1 || !strings.HasPrefix(bad[0], `line 1: time in column #1: "x"`) {
					t.Errorf("bad %q", bad)
				}
				bad = nil
			}
			if len(bad) != 0 || fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("records %q\nwant    %q\nbad %q", got, tt.want, bad)
			}
			d := src.Encoding().Detail
			if tt.layout != "" && d["layout"] != tt.layout {
				t.Errorf("layout %q, want %q", d["layout"], tt.layout)
			}
			if made := remake(t, d, got); made != tt.text && len(got) > 0 {
				t.Errorf("the file made again is %q, want %q", made, tt.text)
			}
			again(t, tt.text, tt.file, d, got)
		})
	}
}

// remake makes the file again from its encoding and its bodies.
func remake(t *testing.T, d map[string]string, records []line) string {
	t.Helper()
	text := ""
	end := map[string]string{"lf": "\n", "crlf": "\r\n"}[d["line_end"]]
	if header, ok := d["header"]; ok {
		text += header + end
	}
	for _, r := range records {
		text += r.body + end
	}
	if d["final_newline"] == "no" {
		text = strings.TrimSuffix(text, end)
	}
	if d["bom"] == "yes" {
		text = string(byteOrderMark) + text
	}
	return text
}

// again reads the text with the layout that the encoding tells: it must be a
// column map that gives the same.
func again(t *testing.T, text, file string, d map[string]string, want []line) {
	t.Helper()
	opts := feed.Options{Columns: d["layout"], Date: d["date"], Topic: d["topic"], Header: "no"}
	if strings.Contains(d["layout"], "iso") || strings.Contains(d["layout"], "tod") {
		opts.Zone = d["zone"]
	}
	if _, ok := d["header"]; ok {
		opts.Header = "yes"
	}
	src, err := Open(t.Context(), input(t, text, file), opts)
	must(t, err)
	if got, _ := readAll(t, src); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("with the encoding's layout %q: %q", d["layout"], got)
	}
}

// TestNextAllocatesNothing: a hundred records or a hundred thousand cost the
// same allocations.
func TestNextAllocatesNothing(t *testing.T) {
	for _, tt := range []struct {
		name, head string
		record     func(i int) string
	}{
		{"tardis", "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n", func(i int) string {
			return fmt.Sprintf("binance-futures,S%d,1582329602111%03d,1582329602418%03d,1,buy,9682,0.132\n", i%7, i%1000, i%1000)
		}},
		{"lean", "", func(i int) string { return fmt.Sprintf("144170%02d,1674200,210,Q,2000,0\n", i%100) }},
		{"quoted", "timestamp,symbol\n", func(i int) string {
			return fmt.Sprintf("\"2023-09-05T16:00:00.%03dZ\",\"S\"\"%d\"\n", i%1000, i%7)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var text strings.Builder
			text.WriteString(tt.head)
			for i := range 30_000 {
				text.WriteString(tt.record(i))
			}
			src, err := Open(t.Context(), input(t, text.String(), "20131008_spy_Trade_Tick.csv"), feed.Options{})
			must(t, err)
			allocs := testing.AllocsPerRun(20_000, func() {
				if _, err := src.Next(); err != nil {
					t.Fatal(err)
				}
			})
			if allocs != 0 {
				t.Errorf("%v allocations a record", allocs)
			}
		})
	}
}
