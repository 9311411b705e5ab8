package itch

import (
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/internal/testdata"
	"github.com/tapedeck/tapedeck/wire"
)

// content returns the unpacked content of a data file, or skips the test.
func content(t testing.TB, rel string) []byte {
	t.Helper()
	return pcaptest.Content(t, testdata.Path(t, rel))
}

// input is content as feed opens it, under a name.
func input(b []byte, name string) *feed.Input {
	in := pcaptest.Input(b)
	in.Name = name
	return in
}

func mustOpen(t testing.TB, b []byte, name string, opts feed.Options) feed.Source {
	t.Helper()
	src, err := Format.Open(t.Context(), input(b, name), opts)
	if err != nil {
		t.Fatal(err)
	}
	return src
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
	return testdata.Manifest[fact](t, func(file string) bool { return strings.HasPrefix(file, "itch") })
}
