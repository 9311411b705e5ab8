package export

import (
	"bytes"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/internal/testdata"
)

// sameFile imports a file, exports it and compares the content.
func sameFile(t *testing.T, path, target string, opts feed.Options) {
	t.Helper()
	m := importFile(t, path, opts)
	got, rep := write(t, target, m.config())
	want := content(t, path)
	if !bytes.Equal(got, want) {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		t.Fatalf("%d bytes where the file has %d; they differ from byte %d on; notes: %v", len(got), len(want), at, rep.Notes)
	}
	if rep.Records != uint64(m.count) || rep.Content != uint64(len(got)) || len(rep.Notes) > 0 {
		t.Errorf("report %+v; there are %d records and %d bytes", rep, m.count, len(got))
	}
}

// Every DBN file, fragments and files without records included, comes back byte
// for byte.
func TestDBNFiles(t *testing.T) {
	files := 0
	err := filepath.WalkDir(testdata.Path(t, "dbn"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		t.Run(filepath.Base(path), func(t *testing.T) {
			sameFile(t, path, "dbn", feed.Options{})
			sameFile(t, path, "original", feed.Options{})
		})
		return nil
	})
	if err != nil || files == 0 {
		t.Fatalf("%d files: %v", files, err)
	}
}

func TestCSVFiles(t *testing.T) {
	for name, opts := range map[string]feed.Options{
		"lean-equity-tick-aig-20131007_quote.zip": {Preset: "lean-quotes"},
		"lean-equity-tick-spy-20131008_trade.csv": {Preset: "lean-trades"},
		"lean-equity-tick-spy-20131008_trade.zip": {Preset: "lean-trades"},
		"questdb-nasdaq_trades.csv":               {},
		"tardis-quotes.csv":                       {},
		"tardis-trades.csv":                       {},
	} {
		t.Run(name, func(t *testing.T) {
			path := testdata.Path(t, "csv/"+name)
			sameFile(t, path, "csv", opts)
			sameFile(t, path, "original", opts)
		})
	}
}

func TestOtherFiles(t *testing.T) {
	t.Run("binance", func(t *testing.T) {
		sameFile(t, testdata.Path(t, "jsonl-binance/usdm-btcusdt_20240808.gz"), "original", feed.Options{})
	})
	t.Run("itch", func(t *testing.T) {
		sameFile(t, testdata.Path(t, "itch/nasdaq-20200130-aapl-10k.itch"), "original", feed.Options{})
	})
}
