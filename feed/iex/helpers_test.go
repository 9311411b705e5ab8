package iex

import (
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
	return testdata.Manifest[fact](t, func(file string) bool { return strings.HasPrefix(file, "iex-pcap/") })
}
