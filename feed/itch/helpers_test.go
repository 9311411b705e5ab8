package itch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/internal/testdata"
	"github.com/tapedeck/tapedeck/wire"
)

// content returns the unpacked content of a data file, or skips the test.
func content(t testing.TB, rel string) []byte {
	t.Helper()
	in, err := feed.OpenInput(t.Context(), testdata.Path(t, rel))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	b, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// input wraps content as feed opens it.
func input(b []byte, name string) *feed.Input {
	return &feed.Input{Reader: bytes.NewReader(b), Name: name, Head: b[:min(len(b), feed.HeadSize)]}
}

func mustOpen(t testing.TB, b []byte, name string, opts feed.Options) feed.Source {
	t.Helper()
	src, err := Format.Open(t.Context(), input(b, name), opts)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// owned is a record whose bytes are copied.
type owned struct {
	feed.Record
	topic string
	body  string
}

// readAll reads a source to its end. It returns the bad records and the final
// error beside the records, each of which wire can store.
func readAll(t testing.TB, src feed.Source) (recs []owned, bad []error, final error) {
	t.Helper()
	var store []byte
	for {
		r, err := src.Next()
		var b *feed.BadRecord
		switch {
		case errors.As(err, &b):
			bad = append(bad, err)
			continue
		case err != nil:
			return recs, bad, err
		}
		if store, err = wire.AppendRecord(store[:0], &wire.Fields{Topic: r.Topic, Body: r.Body,
			Event: r.Event, Receive: r.Receive, Kind: r.Kind, Flags: r.Flags}); err != nil {
			t.Fatalf("record %d: %v", len(recs), err)
		}
		recs = append(recs, owned{*r, string(r.Topic), string(r.Body)})
	}
}

// fact is what the manifest says about one ITCH file or capture.
type fact struct {
	File  string
	Facts struct {
		CapFirst wire.Nanos     `json:"cap_first_ns"`
		CapLast  wire.Nanos     `json:"cap_last_ns"`
		Sessions map[string]int `json:"mold_sessions"`
		Seqs     [][2]int64
		Messages int
		Types    map[string]int
		First    wire.Nanos // since midnight
		Last     wire.Nanos
		Locates  int      `json:"stock_locates"`
		SymList  []string `json:"sym_list"`
	}
}

// facts returns what the manifest says about the ITCH files, or skips the test.
func facts(t testing.TB) []fact {
	t.Helper()
	b, err := os.ReadFile(testdata.Path(t, "MANIFEST.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	var out []fact
	for _, raw := range all {
		var name struct{ File string }
		if err := json.Unmarshal(raw, &name); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(name.File, "itch") {
			continue
		}
		var f fact
		if err := json.Unmarshal(raw, &f); err != nil {
			t.Fatalf("%s: %v", name.File, err)
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		t.Fatal("the manifest names no ITCH files")
	}
	return out
}
