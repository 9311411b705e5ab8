package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// entry is one file of the manifest.
type entry struct {
	File  string
	Note  string
	Facts json.RawMessage
}

func readManifest(t *testing.T, dir string) []entry {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "MANIFEST.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []entry
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 {
		t.Fatal("the manifest is empty")
	}
	return list
}

// cutOff reports whether the manifest says that the file is no whole one.
func (e *entry) cutOff() bool {
	return strings.Contains(e.Note, "ends in the middle of its last packet")
}

// expectation is what info should say of a tape, by key.
type expectation map[string]int64

func (x expectation) events(first, last int64) {
	x["first_event_time"], x["last_event_time"] = first, last
}

func (x expectation) receipts(first, last int64) {
	x["first_receive_time"], x["last_receive_time"] = first, last
}

// expect says what the manifest's facts are in the terms of info. The facts have
// other names and forms for each format. No records have no times.
func (e *entry) expect(t *testing.T) expectation {
	t.Helper()
	folder, _, _ := strings.Cut(e.File, "/")
	of, ok := factsOf[folder]
	if !ok {
		t.Fatalf("no test knows the facts of the folder %s", folder)
	}
	want := of(t, e)
	if want["records"] == 0 {
		want.events(0, 0)
		want.receipts(0, 0)
	}
	return want
}

var factsOf = map[string]func(*testing.T, *entry) expectation{
	"dbn":                 dbnFacts,
	"itch":                itchFacts,
	"itch-moldudp64-pcap": itchFacts,
	"iex-pcap":            iexFacts,
	"cme-mdp3-pcap":       cmeFacts,
	"nyse-xdp-pcap":       nyseFacts,
	"ice-impact-pcap":     iceFacts,
	"cboe-pitch-pcap":     cboeFacts,
	"csv":                 csvFacts,
	"jsonl-binance":       jsonlFacts,
	"parquet":             parquetFacts,
}

// read unmarshals the facts.
func (e *entry) read(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(e.Facts, v); err != nil {
		t.Fatal(err)
	}
}

// captureFacts are those of all captures.
type captureFacts struct {
	Messages int64
	First    int64 `json:"cap_first_ns"`
	Last     int64 `json:"cap_last_ns"`
}

func (e *entry) capture(t *testing.T) expectation {
	var f captureFacts
	e.read(t, &f)
	want := expectation{"records": f.Messages}
	want.receipts(f.First, f.Last)
	return want
}

func dbnFacts(t *testing.T, e *entry) expectation {
	var f struct {
		Records, Instruments, First, Last int64
		RecvFirst                         *int64 `json:"recv_first"` // null for bars, which have none
		RecvLast                          *int64 `json:"recv_last"`
	}
	e.read(t, &f)
	want := expectation{"records": f.Records, "topics": f.Instruments}
	want.events(f.First, f.Last)
	if f.RecvFirst != nil && f.RecvLast != nil {
		want.receipts(*f.RecvFirst, *f.RecvLast)
	}
	return want
}

// itchFacts are of ITCH, in files and in captures: times of day in New York, the
// date from the file's name or of the capture.
func itchFacts(t *testing.T, e *entry) expectation {
	var f struct {
		captureFacts
		First, Last int64 // ns since midnight
		Locates     int64 `json:"stock_locates"`
	}
	e.read(t, &f)
	want := expectation{"records": f.Messages}
	var midnight time.Time
	if f.captureFacts.First == 0 {
		midnight = nameDay(t, e.File)
	} else {
		want.receipts(f.captureFacts.First, f.captureFacts.Last)
		midnight = midnightOf(t, time.Unix(0, f.captureFacts.First))
	}
	want["topics"] = f.Locates
	want.events(midnight.UnixNano()+f.First, midnight.UnixNano()+f.Last)
	return want
}

func iexFacts(t *testing.T, e *entry) expectation {
	var f struct {
		Symbols int64
		First   int64 `json:"msg_first_ns"`
		Last    int64 `json:"msg_last_ns"`
	}
	e.read(t, &f)
	want := e.capture(t)
	want["topics"] = f.Symbols
	want.events(f.First, f.Last)
	return want
}

func cmeFacts(t *testing.T, e *entry) expectation {
	var f struct {
		IDs   int64     `json:"security_ids"`
		First time.Time `json:"sending_first"`
		Last  time.Time `json:"sending_last"`
	}
	e.read(t, &f)
	want := e.capture(t)
	want["topics"] = f.IDs
	want.events(f.First.UnixNano(), f.Last.UnixNano())
	return want
}

func nyseFacts(t *testing.T, e *entry) expectation {
	var f struct {
		Indexes int64     `json:"symbol_indexes"`
		First   time.Time `json:"send_first"`
		Last    time.Time `json:"send_last"`
	}
	e.read(t, &f)
	want := e.capture(t)
	want["topics"] = f.Indexes
	want.events(f.First.UnixNano(), f.Last.UnixNano())
	return want
}

func iceFacts(t *testing.T, e *entry) expectation {
	var f struct {
		IDs   int64
		First time.Time `json:"sent_first"`
		Last  time.Time `json:"sent_last"`
	}
	e.read(t, &f)
	want := e.capture(t)
	want["topics"] = f.IDs
	want.events(f.First.UnixNano(), f.Last.UnixNano())
	return want
}

// cboeFacts: the manifest has capture times alone, and of the symbols only how many
// definitions there are.
func cboeFacts(t *testing.T, e *entry) expectation {
	var f struct {
		captureFacts
		Types map[string]int64
	}
	e.read(t, &f)
	want := e.capture(t)
	const definition = "0xbb"
	want["topics"] = f.Types[definition]
	want.events(f.First, f.Last)
	return want
}

// csvFacts: what ts_first and ts_last are depends on the layout. Those of Tardis
// are local times; the exchange's are in the rows.
func csvFacts(t *testing.T, e *entry) expectation {
	var f struct {
		Rows     int64
		Symbols  *int64 `json:"symbol_count"`
		Header   []string
		FirstRow string `json:"first_row"`
		LastRow  string `json:"last_row"`
		First    string `json:"ts_first"`
		Last     string `json:"ts_last"`
	}
	e.read(t, &f)
	want := expectation{"records": f.Rows, "topics": 1} // the files of Lean are of one symbol
	if f.Symbols != nil {
		want["topics"] = *f.Symbols
	}
	at := slices.Index(f.Header, "timestamp")
	switch name := filepath.Base(e.File); {
	case strings.HasPrefix(name, "lean-"):
		ns := nameDay(t, name).UnixNano()
		want.events(ns+integer(t, f.First)*1e6, ns+integer(t, f.Last)*1e6)
	case strings.HasPrefix(name, "tardis-"):
		want.receipts(integer(t, f.First)*1e3, integer(t, f.Last)*1e3)
		first, last := strings.Split(f.FirstRow, ","), strings.Split(f.LastRow, ",")
		want.events(integer(t, first[at])*1e3, integer(t, last[at])*1e3)
	default:
		want.events(isoTime(t, f.First), isoTime(t, f.Last))
	}
	return want
}

// jsonlFacts: the times of the manifest are those before each line's JSON.
func jsonlFacts(t *testing.T, e *entry) expectation {
	var f struct {
		Lines   int64
		Symbols []string
		First   int64 `json:"local_first"`
		Last    int64 `json:"local_last"`
	}
	e.read(t, &f)
	want := expectation{"records": f.Lines, "topics": int64(len(f.Symbols))}
	want.receipts(f.First, f.Last)
	want.events(f.First, f.Last)
	return want
}

// parquetTimes are in the data's README, not in its manifest.
var parquetTimes = map[string][2]int64{
	"parquet/btcusdt-trades.parquet":                  {1610064000278e6, 1610064046355e6},
	"parquet/quote_tick_usdjpy_2019_sim_rust.parquet": {1546383600071000064, 1546394443513999872},
}

func parquetFacts(t *testing.T, e *entry) expectation {
	var f struct{ Rows int64 }
	e.read(t, &f)
	times, ok := parquetTimes[e.File]
	if !ok {
		t.Fatal("the times of this file are not known")
	}
	want := expectation{"records": f.Rows, "topics": 1} // named by the file
	want.events(times[0], times[1])
	return want
}

func integer(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func isoTime(t *testing.T, s string) int64 {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return at.UnixNano()
}

var eightDigits = regexp.MustCompile(`\d{8}`)

// nameDay returns the midnight in New York of the date in a file's name.
func nameDay(t *testing.T, name string) time.Time {
	t.Helper()
	day, err := time.ParseInLocation("20060102", eightDigits.FindString(name), newYork(t))
	if err != nil {
		t.Fatal(err)
	}
	return day
}

// midnightOf returns the midnight before at in New York.
func midnightOf(t *testing.T, at time.Time) time.Time {
	t.Helper()
	y, m, d := at.In(newYork(t)).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, newYork(t))
}

func newYork(t *testing.T) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	return loc
}
