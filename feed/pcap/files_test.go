package pcap

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
)

// TestFiles reads every real capture and holds what comes out against the facts
// that an independent reader found.
func TestFiles(t *testing.T) {
	for _, f := range facts(t) {
		t.Run(f.File, func(t *testing.T) {
			b := content(t, f.File)
			if got := Format.Detect(b[:min(len(b), feed.HeadSize)]); got != sureCapture {
				t.Errorf("Detect = %d", got)
			}
			src := mustOpen(t, generic, b, feed.Options{})
			recs, bad, err := pcaptest.ReadAll(t, src)
			if err != io.EOF {
				t.Fatal(err)
			}
			if cut := strings.Contains(f.File, "DEEP10"); len(bad) == 1 != cut || cut && !errors.Is(bad[0], ErrTruncated) {
				t.Errorf("bad records %v", bad)
			}
			want := f.Facts.Packets - f.Facts.NonUDP
			if len(recs) != want {
				t.Fatalf("%d records, want %d", len(recs), want)
			}
			checkRecords(t, f, recs)
			notes := strings.Join(src.(feed.Noter).Notes(), "; ")
			if f.Facts.NonUDP == 1 != (notes == "1 packet is not UDP") {
				t.Errorf("notes %q", notes)
			}
		})
	}
}

func checkRecords(t *testing.T, f fact, recs []pcaptest.Record) {
	t.Helper()
	channels := map[string]int{}
	for _, r := range recs {
		channels["udp:"+r.Topic]++
		if r.Event != r.Receive || r.Flags != 0 {
			t.Fatalf("event %v, receive %v, flags %v", r.Event, r.Receive, r.Flags)
		}
	}
	for name, n := range f.Facts.Channels {
		if strings.HasPrefix(name, "udp:") && channels[name] != n {
			t.Errorf("%d datagrams to %s, want %d", channels[name], name, n)
		}
	}
	// The packet that is not UDP may be the first or the last one.
	if f.Facts.NonUDP == 0 && (int64(recs[0].Event) != f.Facts.CapFirst || int64(recs[len(recs)-1].Event) != f.Facts.CapLast) {
		t.Errorf("times %d to %d, want %d to %d", recs[0].Event, recs[len(recs)-1].Event, f.Facts.CapFirst, f.Facts.CapLast)
	}
}
