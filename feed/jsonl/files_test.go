package jsonl

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"path"
	"strconv"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/internal/testdata"
	"github.com/tapedeck/tapedeck/wire"
)

const binanceFile = "jsonl-binance/usdm-btcusdt_20240808.gz"

// fact is what the data's manifest says of one file.
type fact struct {
	File  string
	Facts struct {
		Lines        int
		Streams      map[string]int
		Symbols      []string
		First        wire.Nanos `json:"local_first"`
		Last         wire.Nanos `json:"local_last"`
		Uncompressed int
	}
}

func facts(t *testing.T) fact {
	t.Helper()
	found := testdata.Manifest[fact](t, func(file string) bool { return path.Dir(file) == "jsonl-binance" })
	if len(found) > 1 {
		t.Fatal("the manifest has more files than this test")
	}
	return found[0]
}

func content(t testing.TB) []byte {
	t.Helper()
	in, err := feed.OpenInput(context.Background(), testdata.Path(t, binanceFile))
	must(t, err)
	defer func() { must(t, in.Close()) }()
	text, err := io.ReadAll(in)
	must(t, err)
	return text
}

// TestFiles imports the real file without a flag and holds it to the manifest.
func TestFiles(t *testing.T) {
	fact := facts(t).Facts
	text := content(t)
	if len(text) != fact.Uncompressed {
		t.Fatalf("%d bytes, want %d", len(text), fact.Uncompressed)
	}
	if got := Format.Detect(text[:feed.HeadSize]); got != sureOfLines {
		t.Errorf("certainty %d", got)
	}
	in, err := feed.NewInput(t.Context(), bytes.NewReader(text), "x")
	must(t, err)
	src, err := Format.Open(t.Context(), in, feed.Options{})
	must(t, err)
	list := rows(t, src)
	if len(list) != fact.Lines {
		t.Fatalf("%d records, want %d", len(list), fact.Lines)
	}
	if first, last := list[0].receive, list[len(list)-1].receive; first != fact.First || last != fact.Last {
		t.Errorf("received %d to %d, want %d to %d", first, last, fact.First, fact.Last)
	}
	got := map[string]int{}
	for _, r := range list {
		if r.bad != "" {
			t.Fatal(r.bad)
		}
		got[r.topic]++
		checkAgainstJSON(t, r)
	}
	want := map[string]int{}
	for stream, n := range fact.Streams {
		if stream == "(no stream)" {
			stream = "depthSnapshot" // our name for it
		}
		want["BINANCE."+fact.Symbols[0]+"@"+stream] = n
	}
	if !maps.Equal(got, want) {
		t.Errorf("topics %v, want %v", got, want)
	}
	if remake(list, src.Encoding().Detail) != string(text) {
		t.Error("the file cannot be made again")
	}
}

// checkAgainstJSON holds a record's times and kind to what encoding/json reads,
// into maps, since it takes t for T in structs.
func checkAgainstJSON(t *testing.T, r row) {
	t.Helper()
	var m map[string]json.RawMessage
	must(t, json.Unmarshal([]byte(r.body), &m))
	want := row{kind: wire.KindQuote}
	if data, ok := m["data"]; ok {
		m = nil
		must(t, json.Unmarshal(data, &m))
		if string(m["e"]) == `"trade"` {
			want.kind = wire.KindTrade
		}
	} else {
		want.flags = wire.FlagSnapshot
	}
	ms, err := strconv.ParseInt(string(m["T"]), 10, 64)
	must(t, err)
	want.event = wire.Nanos(ms) * 1e6
	if r.event != want.event || r.kind != want.kind || r.flags != want.flags {
		t.Fatalf("%+v, want event %d, kind %s, flags %d", r, want.event, want.kind, want.flags)
	}
}
