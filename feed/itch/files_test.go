package itch

import (
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/wire"
)

// TestFiles reads every real file and holds what comes out against the facts
// that an independent reader found.
func TestFiles(t *testing.T) {
	newYork, err := time.LoadLocation(defaultZone)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range facts(t) {
		t.Run(f.File, func(t *testing.T) {
			b := content(t, f.File)
			if sure := Format.Detect(b[:min(len(b), feed.HeadSize)]); sure < 90 {
				t.Errorf("Detect = %d", sure)
			}
			src := mustOpen(t, b, f.File, feed.Options{})
			recs, bad, err := pcaptest.ReadAll(t, src)
			if err != io.EOF || len(bad) > 0 {
				t.Fatal(err, bad)
			}
			midnight := wire.NanosOf(time.Date(2020, 1, 30, 0, 0, 0, 0, newYork))
			inFile := strings.HasPrefix(f.File, "itch/")
			if !inFile {
				midnight = wire.NanosOf(time.Date(2023, 8, 22, 0, 0, 0, 0, newYork))
			}
			checkRecords(t, f, recs, midnight)
			checkReceived(t, f, recs, inFile)
			checkTopics(t, f, recs)
			checkDecodes(t, src.Encoding(), recs, midnight)
			if notes := src.(feed.Noter).Notes(); len(notes) > 0 != (len(f.Facts.Seqs) > 1) {
				t.Errorf("notes %q", notes)
			}
		})
	}
}

func checkRecords(t *testing.T, f fact, recs []pcaptest.Record, midnight wire.Nanos) {
	t.Helper()
	types := map[string]int{}
	for _, r := range recs {
		types[r.Body[:1]]++
	}
	x := f.Facts
	if len(recs) != x.Messages || !maps.Equal(types, x.Types) {
		t.Fatalf("%d messages of types %v, want %d, %v", len(recs), types, x.Messages, x.Types)
	}
	got := [2]wire.Nanos{recs[0].Event - midnight, recs[len(recs)-1].Event - midnight}
	if want := [2]wire.Nanos{x.First, x.Last}; got != want {
		t.Errorf("event times since midnight %v, want %v", got, want)
	}
}

func checkReceived(t *testing.T, f fact, recs []pcaptest.Record, inFile bool) {
	t.Helper()
	for i, r := range recs {
		if inFile != (r.Flags == wire.FlagNoReceiveTime) || inFile && r.Receive != r.Event {
			t.Fatalf("flags %v, receive %v, event %v", r.Flags, r.Receive, r.Event)
		}
		if !inFile && (r.Receive < f.Facts.CapFirst || r.Receive > f.Facts.CapLast || i == 0 && r.Receive != f.Facts.CapFirst) {
			t.Fatalf("receive %d, captured %d to %d", r.Receive, f.Facts.CapFirst, f.Facts.CapLast)
		}
		if late := r.Receive - r.Event; late < 0 || late > 1e6 {
			t.Fatalf("received %d ns after the event", late)
		}
	}
}

// checkTopics holds that topics are the symbols that messages name, or locate
// codes where none does.
func checkTopics(t *testing.T, f fact, recs []pcaptest.Record) {
	t.Helper()
	venue := "XNAS."
	if strings.Contains(f.File, "/bx-") {
		venue = "XBOS."
	}
	topics := map[string]bool{}
	for _, r := range recs {
		symbol, ok := strings.CutPrefix(r.Topic, venue)
		if !ok || symbol == "" {
			t.Fatalf("topic %q", r.Topic)
		}
		topics[symbol] = true
	}
	for _, s := range f.Facts.SymList {
		if !topics[s] {
			t.Errorf("no topic of %s in %v", s, slices.Collect(maps.Keys(topics)))
		}
	}
	if len(topics) != f.Facts.Locates {
		t.Errorf("%d topics, want %d: %v", len(topics), f.Facts.Locates, slices.Collect(maps.Keys(topics)))
	}
}

// checkDecodes holds that every message decodes, with the time of its record.
func checkDecodes(t *testing.T, enc feed.Encoding, recs []pcaptest.Record, midnight wire.Nanos) {
	t.Helper()
	for _, r := range recs {
		fields, err := Format.Decode(nil, enc, r.Kind, []byte(r.Body))
		if err != nil {
			t.Fatal(err)
		}
		if at := fields[3]; at.Name != "timestamp" || at.Value != uint64(r.Event-midnight) {
			t.Fatalf("event %d: %v", r.Event, fields)
		}
	}
}
