package iex

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/wire"
)

// TestFiles reads every real file and holds what comes out against the facts
// that an independent reader found.
func TestFiles(t *testing.T) {
	for _, f := range facts(t) {
		t.Run(f.File, func(t *testing.T) {
			b := content(t, f.File)
			if sure := Format.Detect(b[:min(len(b), feed.HeadSize)]); sure < 90 {
				t.Errorf("Detect = %d", sure)
			}
			src := pcaptest.Open(t, Format, b, feed.Options{})
			recs, bad, err := pcaptest.ReadAll(t, src)
			if err != io.EOF {
				t.Fatal(err)
			}
			if cut := strings.Contains(f.File, "DEEP10"); len(bad) == 1 != cut || cut && !errors.Is(bad[0], pcap.ErrTruncated) {
				t.Errorf("bad records %v", bad)
			}
			checkRecords(t, f, recs)
			checkNotes(t, f, src.(feed.Noter).Notes())
			checkDecodes(t, src.Encoding(), recs)
		})
	}
}

func checkRecords(t *testing.T, f fact, recs []pcaptest.Record) {
	t.Helper()
	types, topics := map[string]int{}, map[string]bool{}
	for _, r := range recs {
		types[r.Body[:1]]++
		topics[r.Topic] = true
		if r.Flags != 0 {
			t.Fatalf("flags %v", r.Flags)
		}
		if system := r.Topic == "IEXG.@system"; system != (r.Body[0] == 'S') || system != (r.Kind == wire.KindSystem) {
			t.Fatalf("message %c of topic %s, kind %v", r.Body[0], r.Topic, r.Kind)
		}
	}
	delete(topics, "IEXG.@system")
	x := f.Facts
	if len(recs) != x.Messages || !maps.Equal(types, x.Types) || len(topics) != x.Symbols {
		t.Fatalf("%d messages of types %v with %d symbols, want %d, %v, %d",
			len(recs), types, len(topics), x.Messages, x.Types, x.Symbols)
	}
	for _, s := range x.SymList {
		if !topics["IEXG."+s] {
			t.Errorf("no topic of %s", s)
		}
	}
	if len(recs) == 0 {
		return
	}
	lo, hi := recs[0].Event, recs[0].Event
	for _, r := range recs {
		lo, hi = min(lo, r.Event), max(hi, r.Event)
	}
	got := [4]wire.Nanos{recs[0].Event, recs[len(recs)-1].Event, lo, hi}
	if want := [4]wire.Nanos{*x.First, *x.Last, *x.Min, *x.Max}; got != want {
		t.Errorf("event times first, last, min, max %d, want %d", got, want)
	}
	if recs[0].Receive < x.CapFirst || recs[len(recs)-1].Receive > x.CapLast {
		t.Errorf("receive times %d to %d, captured %d to %d", recs[0].Receive, recs[len(recs)-1].Receive, x.CapFirst, x.CapLast)
	}
}

func checkNotes(t *testing.T, f fact, notes []string) {
	t.Helper()
	var want []string
	if n := f.Facts.SeqBreaks; n > 0 {
		want = append(want, fmt.Sprintf("sequence numbers of messages: numbering started again %d times", n))
	}
	if n := f.Facts.Heartbeats; n > 0 {
		want = append(want, fmt.Sprintf("heartbeats: %d", n))
	}
	if !slices.Equal(notes, want) {
		t.Errorf("notes %q, want %q", notes, want)
	}
}

// checkDecodes holds that every message decodes, with the symbol of its topic and
// the time of its record.
func checkDecodes(t *testing.T, enc feed.Encoding, recs []pcaptest.Record) {
	t.Helper()
	for _, r := range recs {
		fields, err := Format.Decode(nil, enc, r.Kind, []byte(r.Body))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fields {
			if f.Name == "symbol" && "IEXG."+f.Value.(string) != r.Topic || f.Name == "timestamp" && f.Value != int64(r.Event) {
				t.Fatalf("topic %s, event %d: %v", r.Topic, r.Event, fields)
			}
		}
	}
}
