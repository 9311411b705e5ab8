package iex

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/internal/testdata"
	"github.com/tapedeck/tapedeck/wire"
)

// content returns the unpacked content of a data file, or skips the test.
func content(t testing.TB, rel string) []byte {
	t.Helper()
	return pcaptest.Content(t, testdata.Path(t, rel))
}

// fact is what the manifest says about one IEX file.
type fact struct {
	File  string
	Facts struct {
		Packets    int
		CapFirst   wire.Nanos `json:"cap_first_ns"`
		CapLast    wire.Nanos `json:"cap_last_ns"`
		Heartbeats int        `json:"heartbeat_segments"`
		SeqBreaks  int        `json:"seq_breaks"`
		Messages   int
		Types      map[string]int
		Symbols    int
		SymList    []string    `json:"sym_list"`
		First      *wire.Nanos `json:"msg_first_ns"`
		Last       *wire.Nanos `json:"msg_last_ns"`
		Min        *wire.Nanos `json:"msg_min_ns"`
		Max        *wire.Nanos `json:"msg_max_ns"`
	}
}

// facts returns what the manifest says about the IEX files, or skips the test.
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
		if !strings.HasPrefix(name.File, "iex-pcap/") {
			continue
		}
		var f fact
		if err := json.Unmarshal(raw, &f); err != nil {
			t.Fatalf("%s: %v", name.File, err)
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		t.Fatal("the manifest names no IEX files")
	}
	return out
}
