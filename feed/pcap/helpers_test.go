package pcap

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
func input(b []byte) *feed.Input {
	return &feed.Input{Reader: bytes.NewReader(b), Name: "test", Head: b[:min(len(b), feed.HeadSize)]}
}

// owned is a record whose bytes are copied.
type owned struct {
	feed.Record
	topic string
	body  string
}

// readAll reads a source to its end. It returns the bad records and the final
// error beside the records.
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

func mustOpen(t testing.TB, p *Protocol, b []byte, opts feed.Options) feed.Source {
	t.Helper()
	src, err := p.Open(t.Context(), input(b), opts)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// fact is what the manifest says about one capture.
type fact struct {
	File  string
	Facts struct {
		Container string
		Packets   int
		NoPayload int `json:"no_payload"`
		NonUDP    int `json:"non_udp"`
		Channels  map[string]int
		CapFirst  int64 `json:"cap_first_ns"`
		CapLast   int64 `json:"cap_last_ns"`
		Messages  int
		Uncompr   int `json:"uncompressed"`
	}
}

// facts returns what the manifest says about the captures, or skips the test.
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
		if !strings.Contains(name.File, ".pcap") {
			continue
		}
		var f fact
		if err := json.Unmarshal(raw, &f); err != nil {
			t.Fatalf("%s: %v", name.File, err)
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		t.Fatal("the manifest names no captures")
	}
	return out
}
