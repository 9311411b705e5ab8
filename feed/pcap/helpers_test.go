package pcap

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/internal/testdata"
)

// content returns the unpacked content of a data file, or skips the test.
func content(t testing.TB, rel string) []byte {
	t.Helper()
	return pcaptest.Content(t, testdata.Path(t, rel))
}

func mustOpen(t testing.TB, p *Protocol, b []byte, opts feed.Options) feed.Source {
	t.Helper()
	src, err := p.Open(t.Context(), pcaptest.Input(b), opts)
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
