package dbn

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

// TestFiles reads every real file and holds what comes out against the facts
// that an independent reader found.
func TestFiles(t *testing.T) {
	for _, f := range facts(t) {
		t.Run(f.File, func(t *testing.T) {
			b := content(t, f.File)
			src := mustOpen(t, b, feed.Options{})
			recs := readAll(t, src)
			checkDetected(t, f, b)
			checkRecords(t, f, recs)
			checkTimes(t, f, recs)
			checkTopics(t, f, recs)
			checkEncoding(t, f, src.Encoding())
			checkExport(t, b, src.Encoding(), recs)
			checkDecodes(t, src.Encoding(), recs)
		})
	}
}

func isFragment(f fact) bool { return strings.Contains(f.File, ".frag") }

func checkDetected(t *testing.T, f fact, b []byte) {
	t.Helper()
	sure := Format.Detect(b[:min(len(b), feed.HeadSize)])
	if isFragment(f) == (sure == sureMagic) || sure < sureOne {
		t.Errorf("Detect = %d", sure)
	}
}

func checkRecords(t *testing.T, f fact, recs []owned) {
	t.Helper()
	rtypes, lens, instruments := map[string]int{}, map[string]int{}, map[string]bool{}
	for _, r := range recs {
		rtypes[fmt.Sprintf("%#x", r.body[1])]++
		lens[strconv.Itoa(len(r.body))]++
		instruments[string(r.body[4:8])] = true
	}
	if len(recs) != f.Facts.Records || len(instruments) != f.Facts.Instruments {
		t.Errorf("%d records of %d instruments, want %d of %d",
			len(recs), len(instruments), f.Facts.Records, f.Facts.Instruments)
	}
	if !maps.Equal(rtypes, f.Facts.Rtypes) || !maps.Equal(lens, f.Facts.Reclens) {
		t.Errorf("rtypes %v, lengths %v, want %v, %v", rtypes, lens, f.Facts.Rtypes, f.Facts.Reclens)
	}
}

// checkTimes compares first, last, lowest and highest times; records without the
// time are left out, as in the facts.
func checkTimes(t *testing.T, f fact, recs []owned) {
	t.Helper()
	var events, recvs []int64
	for _, r := range recs {
		if r.Flags&wire.FlagNoEventTime == 0 {
			events = append(events, int64(r.Event))
		}
		if r.Flags&wire.FlagNoReceiveTime == 0 {
			recvs = append(recvs, int64(r.Receive))
		} else if r.Receive != r.Event {
			t.Errorf("receive time %d of a record without one, event time %d", r.Receive, r.Event)
		}
	}
	x := f.Facts
	compareTimes(t, "event", events, x.First, x.Last, x.Min, x.Max)
	compareTimes(t, "receive", recvs, x.RecvFirst, x.RecvLast, x.RecvMin, x.RecvMax)
}

func compareTimes(t *testing.T, name string, got []int64, first, last, low, high *int64) {
	t.Helper()
	if len(got) == 0 || first == nil {
		if (len(got) == 0) != (first == nil) {
			t.Errorf("%d %s times, want some: %v", len(got), name, first != nil)
		}
		return
	}
	lo, hi := got[0], got[0]
	for _, v := range got {
		lo, hi = min(lo, v), max(hi, v)
	}
	have := [4]int64{got[0], got[len(got)-1], lo, hi}
	if want := [4]int64{*first, *last, *low, *high}; have != want {
		t.Errorf("%s times first, last, min, max %d, want %d", name, have, want)
	}
}

// checkTopics holds that each topic is the dataset and one of the symbols that
// were asked for, where the file has mappings.
func checkTopics(t *testing.T, f fact, recs []owned) {
	t.Helper()
	dataset := f.Facts.Dataset
	if isFragment(f) {
		dataset = "GLBX.MDP3" // publisher 1
	}
	distinct := map[string]bool{}
	defer func() {
		want := f.Facts.Instruments
		if len(f.Facts.Symbols) == 1 {
			want = min(want, 1) // XNAS gives a symbol another instrument id each day
		}
		if len(distinct) != want {
			t.Errorf("%d topics, want %d", len(distinct), want)
		}
	}()
	for _, r := range recs {
		distinct[r.topic] = true
		symbol, ok := strings.CutPrefix(r.topic, dataset+".")
		if !ok || symbol == "" {
			t.Fatalf("topic %q, dataset %q", r.topic, dataset)
		}
		if f.Facts.Mappings == 1 && len(f.Facts.Symbols) == 1 && symbol != f.Facts.Symbols[0] {
			if id, _ := parseID([]byte(symbol)); id != uint32(r.body[4])|uint32(r.body[5])<<8|uint32(r.body[6])<<16|uint32(r.body[7])<<24 {
				t.Fatalf("topic %q, want symbol %v", r.topic, f.Facts.Symbols)
			}
			t.Errorf("instrument %s is not mapped", symbol)
		}
	}
}

func checkEncoding(t *testing.T, f fact, enc feed.Encoding) {
	t.Helper()
	d := enc.Detail
	if isFragment(f) {
		if d[keyFragment] != "true" || d[keyHead] != "" {
			t.Errorf("encoding of a fragment: %v", d)
		}
		return
	}
	var version int
	if err := json.Unmarshal(f.Facts.Version, &version); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		keyVersion: strconv.Itoa(version), keyDataset: f.Facts.Dataset, keySchema: f.Facts.Schema,
		keyStart: strconv.FormatUint(f.Facts.Start, 10), keySymbols: strconv.Itoa(len(f.Facts.Symbols)),
		keyMappings: strconv.Itoa(f.Facts.Mappings), keyTsOut: "false", keyStypeOut: "instrument_id",
	} {
		if d[key] != want {
			t.Errorf("encoding %s = %q, want %q", key, d[key], want)
		}
	}
}

// checkExport holds that head and bodies are the whole content.
func checkExport(t *testing.T, b []byte, enc feed.Encoding, recs []owned) {
	t.Helper()
	out, err := Head(enc)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range recs {
		out = append(out, r.body...)
	}
	if !bytes.Equal(out, b) {
		t.Errorf("head and bodies are %d bytes and not the content of %d", len(out), len(b))
	}
}

func checkDecodes(t *testing.T, enc feed.Encoding, recs []owned) {
	t.Helper()
	for _, r := range recs {
		if _, err := Format.Decode(nil, enc, r.Kind, r.body); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSnapshotRecords counts the records with which the day file begins.
func TestSnapshotRecords(t *testing.T) {
	recs := readAll(t, mustOpen(t, content(t, "dbn/esh4-glbx-mdp3-20231225.mbo.dbn.zst"), feed.Options{}))
	n := 0
	for _, r := range recs {
		if r.Flags&wire.FlagSnapshot != 0 {
			n++
		}
		if r.topic != "GLBX.MDP3.ESH4" || r.Kind != wire.KindOrder {
			t.Fatalf("topic %q, kind %v", r.topic, r.Kind)
		}
	}
	if n != 8725 {
		t.Errorf("%d snapshot records, want 8725", n)
	}
}
