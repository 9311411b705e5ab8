package formats

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/internal/testdata"
)

// packetFormats are those that captures are taken for.
var packetFormats = []string{"itch", "iex", "cme", "nyse", "ice", "cboe"}

// TestCapturesAreOneFormat holds that every real capture is surely of one packet
// format, that no other has the least claim to it, and that reading it by another's
// name fails rather than gives records.
func TestCapturesAreOneFormat(t *testing.T) {
	dir := testdata.Dir(t)
	captures := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		folder := filepath.Base(filepath.Dir(path))
		want, ok := formatOf[folder]
		if err != nil || entry.IsDir() || !ok || !slices.Contains(packetFormats, want) || folder == "itch" {
			return err
		}
		captures++
		t.Run(folder+"/"+entry.Name(), func(t *testing.T) {
			content := pcaptest.Content(t, path)
			head := content[:min(len(content), feed.HeadSize)]
			for _, name := range packetFormats {
				sure := Find(name).Detect(head)
				if name == want {
					if sure < 50 {
						t.Errorf("%s is sure by %d", name, sure)
					}
					continue
				}
				if sure != 0 {
					t.Errorf("%s is sure by %d", name, sure)
				}
				src, err := Find(name).Open(t.Context(), pcaptest.Input(content), feed.Options{})
				if err != nil {
					continue
				}
				if recs, _, _ := pcaptest.ReadAll(t, src); len(recs) > 0 {
					t.Errorf("%d records of %s", len(recs), name)
				}
			}
		})
		return nil
	})
	if err != nil || captures == 0 {
		t.Errorf("%d captures, error %v", captures, err)
	}
}

// TestCaptureOfUnknown holds that a capture of nothing known is read as datagrams.
func TestCaptureOfUnknown(t *testing.T) {
	content := pcaptest.Capture(pcaptest.Datagram{Time: 1e18, Port: 5353, Payload: []byte("some protocol or other, of which no more is known")})
	src, f, err := Open(t.Context(), pcaptest.Input(content), feed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	recs, bad, _ := pcaptest.ReadAll(t, src)
	if f.Name != "pcap" || len(recs) != 1 || len(bad) != 0 || !strings.HasSuffix(recs[0].Topic, ":5353") {
		t.Errorf("taken for %s: %v, %v", f.Name, recs, bad)
	}
}
