package pcap

import (
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
	return testdata.Manifest[fact](t, func(file string) bool { return strings.Contains(file, ".pcap") })
}
