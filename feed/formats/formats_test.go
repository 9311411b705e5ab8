package formats

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/internal/testdata"
)

func TestAllIsComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range All {
		if f.Name == "" || f.Title == "" || f.Detect == nil || f.Open == nil || f.Decode == nil {
			t.Errorf("format %q is not complete", f.Name)
		}
		if seen[f.Name] {
			t.Errorf("two formats are called %q", f.Name)
		}
		seen[f.Name] = true
		if Find(f.Name) == nil || Find(f.Name).Name != f.Name {
			t.Errorf("Find(%q)", f.Name)
		}
	}
	if Find("no such") != nil {
		t.Error("found what is not there")
	}
}

// formatOf is the format that the files of a data folder are to be taken for,
// where the folder is not called like it.
var formatOf = map[string]string{
	"itch-moldudp64-pcap": "itch",
	"iex-pcap":            "iex",
	"cme-mdp3-pcap":       "cme",
	"nyse-xdp-pcap":       "nyse",
	"cboe-pitch-pcap":     "cboe",
	"ice-impact-pcap":     "ice",
	"jsonl-binance":       "jsonl",
}

// noFile are the formats that no real file is taken for: those that no content is
// recognised as, and captures of protocols that are not known (captures_test.go).
var noFile = map[string]bool{"lines": true, "length-prefixed": true, "pcap": true}

// TestOpenByContent opens every real file without naming its format: those of a
// format in the table are recognised, the others refused or at least not taken
// for one of ours and then read without complaint.
func TestOpenByContent(t *testing.T) {
	dir := testdata.Dir(t)
	opened := map[string]int{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		want := strings.Split(filepath.ToSlash(rel), "/")[0]
		if name, ok := formatOf[want]; ok {
			want = name
		}
		if Find(want) == nil {
			want = ""
		}
		t.Run(rel, func(t *testing.T) {
			in, err := feed.OpenInput(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			f, err := feed.Detect(All, in, "")
			if want == "" {
				var unknown *feed.ErrNoFormat
				if !errors.As(err, &unknown) && strings.Contains(rel, "/") {
					t.Errorf("taken for %v, error %v", f, err)
				}
				return
			}
			src, f, err := Open(t.Context(), in, feed.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if f.Name != want {
				t.Errorf("taken for %s", f.Name)
			}
			if _, err := src.Next(); err != nil && err != io.EOF {
				t.Error(err)
			}
			opened[want]++
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range All {
		if opened[f.Name] == 0 && !noFile[f.Name] {
			t.Errorf("no file of format %s", f.Name)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	open := func(content, format string) error {
		in, err := feed.NewInput(t.Context(), strings.NewReader(content), "some.file")
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		_, _, err = Open(t.Context(), in, feed.Options{Format: format})
		return err
	}
	for _, tt := range []struct{ name, content, format, want string }{
		{"empty", "", "", "some.file: empty file"},
		{"unknown", "x", "xls", `unknown format "xls"; known: dbn, csv`},
		{"unlike any", "\x00\x01\x02", "", "some.file: format not recognised"},
		{"named wrongly", "\x00\x01\x02", "csv", "some.file: csv: this is not text"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := open(tt.content, tt.format)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}
