package dbn

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/internal/testdata"
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

func mustOpen(t testing.TB, b []byte, opts feed.Options) feed.Source {
	t.Helper()
	src, err := Format.Open(t.Context(), input(b), opts)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// owned is a record whose bytes are copied.
type owned struct {
	feed.Record
	topic string
	body  []byte
}

// readAll reads a source to its end; an error fails the test.
func readAll(t testing.TB, src feed.Source) []owned {
	t.Helper()
	var out []owned
	for {
		r, err := src.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatalf("record %d: %v", len(out), err)
		}
		out = append(out, owned{*r, string(r.Topic), bytes.Clone(r.Body)})
	}
}

// fact is what the manifest says about one DBN file.
type fact struct {
	File  string
	Facts struct {
		Version     json.RawMessage
		Dataset     string
		Schema      string
		Start, End  uint64
		Symbols     []string
		Mappings    int
		Records     int
		Rtypes      map[string]int
		Reclens     map[string]int
		Instruments int
		Publishers  []uint16
		Uncompr     int    `json:"uncompressed"`
		First       *int64 // ts_event
		Last        *int64
		Min         *int64
		Max         *int64
		RecvFirst   *int64 `json:"recv_first"`
		RecvLast    *int64 `json:"recv_last"`
		RecvMin     *int64 `json:"recv_min"`
		RecvMax     *int64 `json:"recv_max"`
	}
}

// facts returns what the manifest says about the DBN files, or skips the test.
func facts(t testing.TB) []fact {
	t.Helper()
	return testdata.Manifest[fact](t, func(file string) bool { return strings.HasPrefix(file, "dbn/") })
}
