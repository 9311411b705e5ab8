package csv

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/internal/testdata"
	"github.com/tapedeck/tapedeck/wire"
)

// fact is what the data's manifest says of one file.
type fact struct {
	File  string
	Facts struct {
		Rows         int
		Header       []string
		FinalNewline bool   `json:"ends_with_newline"`
		CRLF         int    `json:"crlf_lines"`
		First        string `json:"first_row"`
		Last         string `json:"last_row"`
		Uncompressed int
		Symbols      []string
		TsFirst      string `json:"ts_first"`
		TsLast       string `json:"ts_last"`
	}
}

func facts(t *testing.T) map[string]fact {
	t.Helper()
	list := map[string]fact{}
	for _, f := range testdata.Manifest[fact](t, func(file string) bool { return path.Dir(file) == "csv" }) {
		list[f.File] = f
	}
	return list
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestFiles imports every real file without a flag and holds it to the manifest.
func TestFiles(t *testing.T) {
	newYork := func(day string, clock time.Duration) wire.Nanos {
		loc, err := time.LoadLocation("America/New_York")
		must(t, err)
		d, err := time.ParseInLocation("2006-01-02", day, loc)
		must(t, err)
		return wire.Nanos(d.Add(clock).UnixNano()) // no change of clocks on these days
	}
	iso := func(text string) wire.Nanos {
		at, err := time.Parse(time.RFC3339Nano, text)
		must(t, err)
		return wire.Nanos(at.UnixNano())
	}
	tests := []struct {
		file, preset       string
		kind               wire.Kind
		topics             []string
		first, last        wire.Nanos // of the column that the manifest has
		receive            bool       // and that is the time of receipt
		delim, finalNL, le string
	}{
		{"csv/tardis-trades.csv", "tardis-trades", wire.KindTrade, []string{"binance-futures.BTCUSDT"},
			1582329602418379000, 1582337147852384000, true, ",", "yes", "lf"},
		{"csv/tardis-quotes.csv", "tardis-quotes", wire.KindQuote, []string{"binance-futures.BTCUSDT"},
			1582329603502092000, 1582329827181582000, true, ",", "yes", "lf"},
		{"csv/lean-equity-tick-spy-20131008_trade.csv", "lean-trades", wire.KindTrade, []string{"SPY"},
			newYork("2013-10-08", 14417034*time.Millisecond), newYork("2013-10-08", 71998962*time.Millisecond), false, ",", "no", "lf"},
		{"csv/lean-equity-tick-spy-20131008_trade.zip", "lean-trades", wire.KindTrade, []string{"SPY"},
			newYork("2013-10-08", 14417034*time.Millisecond), newYork("2013-10-08", 71998962*time.Millisecond), false, ",", "no", "lf"},
		{"csv/lean-equity-tick-aig-20131007_quote.zip", "lean-quotes", wire.KindQuote, []string{"AIG"},
			newYork("2013-10-07", 14400152*time.Millisecond), newYork("2013-10-07", 72000248*time.Millisecond), false, ",", "no", "lf"},
		{"csv/questdb-nasdaq_trades.csv", "", wire.KindData,
			[]string{"NMS.AAPL", "NMS.AMD", "NMS.AMZN", "NMS.AVGO", "NMS.GOOGL", "NMS.META", "NMS.MSFT", "NMS.NVDA", "NMS.TSLA"},
			iso("2023-09-05T16:00:00.000000Z"), iso("2023-09-05T16:59:59.000000Z"), false, ",", "yes", "crlf"},
	}
	all := facts(t)
	if len(all) != len(tests) {
		t.Errorf("the manifest has %d files, this test %d", len(all), len(tests))
	}
	for _, tt := range tests {
		t.Run(path.Base(tt.file), func(t *testing.T) {
			fact := all[tt.file].Facts
			in, err := feed.OpenInput(t.Context(), testdata.Path(t, tt.file))
			must(t, err)
			defer func() { must(t, in.Close()) }()
			if c := Detect(in.Head); c != sureOfTimes {
				t.Errorf("certainty %d", c)
			}
			src, err := Open(t.Context(), in, feed.Options{})
			must(t, err)
			var first, last feed.Record
			var firstBody, lastBody string
			topics, records, back := map[string]int{}, 0, 0
			size := 0
			for {
				r, err := src.Next()
				if err == io.EOF {
					break
				}
				must(t, err)
				if records == 0 {
					first, firstBody = *r, string(r.Body)
				}
				if r.Receive < last.Receive {
					back++
				}
				if r.Kind != tt.kind {
					t.Fatalf("kind %v", r.Kind)
				}
				last, lastBody = *r, string(r.Body)
				topics[string(r.Topic)]++
				size += len(r.Body)
				records++
			}
			if records != fact.Rows || back != 0 {
				t.Errorf("%d records, want %d; %d times go back", records, fact.Rows, back)
			}
			if firstBody != fact.First || lastBody != fact.Last {
				t.Errorf("first %q\nlast  %q", firstBody, lastBody)
			}
			if first.Receive != tt.first || last.Receive != tt.last {
				t.Errorf("times %d to %d, want %d to %d", first.Receive, last.Receive, tt.first, tt.last)
			}
			if got := first.Flags&wire.FlagNoReceiveTime == 0; got != tt.receive {
				t.Errorf("has a time of receipt: %v", got)
			}
			if len(topics) != len(tt.topics) {
				t.Errorf("topics %v", topics)
			}
			for _, topic := range tt.topics {
				if topics[topic] == 0 {
					t.Errorf("no topic %s", topic)
				}
			}
			d := src.Encoding().Detail
			if d["preset"] != tt.preset || d["delimiter"] != tt.delim || d["final_newline"] != tt.finalNL || d["line_end"] != tt.le || d["bom"] != "no" || d["blank_lines"] != "" {
				t.Errorf("detail %v", d)
			}
			wantHeader := ""
			if fact.Header != nil {
				var columns []string
				must(t, json.Unmarshal([]byte(d["columns"]), &columns))
				if want, got := len(fact.Header), len(columns); want != got || columns[0] != fact.Header[0] {
					t.Errorf("columns %q", columns)
				}
				wantHeader = d["header"]
			}
			// Nothing is lost: the bodies and the line ends are the file.
			end := 1
			if d["line_end"] == "crlf" {
				end = 2
			}
			lines := records
			if wantHeader != "" {
				lines++
			}
			if d["final_newline"] == "no" {
				lines--
			}
			if total := size + len(wantHeader) + lines*end; total != fact.Uncompressed {
				t.Errorf("bodies and line ends are %d bytes, the file has %d", total, fact.Uncompressed)
			}
			if in.Consumed() != in.Size() {
				t.Errorf("consumed %d of %d", in.Consumed(), in.Size())
			}
		})
	}
}

// TestEventAndReceive: in Tardis files timestamp is the event, local_timestamp
// the receipt.
func TestEventAndReceive(t *testing.T) {
	in, err := feed.OpenInput(t.Context(), testdata.Path(t, "csv/tardis-trades.csv"))
	must(t, err)
	defer func() { must(t, in.Close()) }()
	src, err := Open(t.Context(), in, feed.Options{})
	must(t, err)
	r, err := src.Next()
	must(t, err)
	if r.Event != 1582329602111000000 || r.Receive != 1582329602418379000 || r.Flags != 0 {
		t.Errorf("event %d, receive %d, flags %d", r.Event, r.Receive, r.Flags)
	}
}

func BenchmarkNext(b *testing.B) {
	for _, bench := range []struct{ name, file string }{
		{"lean-trades", "csv/lean-equity-tick-spy-20131008_trade.csv"},
		{"tardis-trades", "csv/tardis-trades.csv"},
		{"questdb", "csv/questdb-nasdaq_trades.csv"},
	} {
		b.Run("file="+bench.name, func(b *testing.B) {
			path := testdata.Path(b, bench.file)
			content, err := os.ReadFile(path)
			must(b, err)
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			records := 0
			for b.Loop() {
				in := &feed.Input{Reader: bytes.NewReader(content), Name: path, Head: content[:feed.HeadSize]}
				src, err := Open(b.Context(), in, feed.Options{})
				must(b, err)
				for {
					if _, err = src.Next(); err != nil {
						break
					}
					records++
				}
				if err != io.EOF {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
