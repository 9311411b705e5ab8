package nyse

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/internal/testdata"
	"github.com/tapedeck/tapedeck/wire"
)

// fact is what the manifest says about the file. Its times are send times.
type fact struct {
	Messages int
	Types    map[string]int
	Indexes  int       `json:"symbol_indexes"`
	First    time.Time `json:"send_first"`
	Last     time.Time `json:"send_last"`
}

// TestFile holds what comes out of the real capture against the facts that an
// independent reader found. Our event times are source times where there are any:
// this capture replays a day 22 days before it was sent.
func TestFile(t *testing.T) {
	want := testdata.Facts[fact](t, file)
	b := content(t)
	if sure := Format.Detect(b[:min(len(b), feed.HeadSize)]); sure < 90 {
		t.Errorf("Detect = %d", sure)
	}
	recs, src := pcaptest.Read(t, Format, b, feed.Options{})
	datagrams, _ := pcaptest.Read(t, pcap.Format, b, feed.Options{})
	if len(recs) != want.Messages || len(datagrams) != len(recs) {
		t.Fatalf("%d messages in %d datagrams, want %d", len(recs), len(datagrams), want.Messages)
	}
	if notes := pcaptest.Notes(src); notes != "" {
		t.Errorf("notes %q", notes)
	}
	types, topics := map[string]int{}, map[string]bool{}
	for i := range recs {
		r := &recs[i]
		fields := pcaptest.Fields(t, Format, r)
		id := fmt.Sprint(fields["type"])
		types[id]++
		if id != "1" {
			topics[r.Topic] = true
		} else if r.Topic != "XNYS.@system" {
			t.Errorf("reset of topic %s", r.Topic)
		}
		if symbol, ok := fields["symbol"]; ok && r.Topic != "XNYS."+symbol.(string) {
			t.Fatalf("topic %s, symbol %s", r.Topic, symbol)
		}
		sent, _ := timeAt([]byte(datagrams[i].Body[sendTimeOff:]))
		event := sent
		if s, ok := fields["source_time"]; ok {
			event = wire.Nanos(int64(s.(uint64))*second + int64(fields["source_time_ns"].(uint64)))
		}
		if _, rest := fields["rest"]; r.Event != event || r.Flags != 0 || r.Kind == wire.KindData || rest {
			t.Fatalf("message %d: event %d, want %d; flags %v, kind %v, %v", i, r.Event, event, r.Flags, r.Kind, fields)
		}
		if i == 0 && int64(sent) != want.First.UnixNano() || i == len(recs)-1 && int64(sent) != want.Last.UnixNano() {
			t.Errorf("sent %d, want %v to %v", sent, want.First, want.Last)
		}
	}
	if !maps.Equal(types, want.Types) || len(topics) != want.Indexes {
		t.Errorf("types %v, %d symbols, want %v, %d", types, len(topics), want.Types, want.Indexes)
	}
	for topic := range topics {
		if strings.Trim(strings.TrimPrefix(topic, "XNYS."), "0123456789") == "" {
			t.Errorf("topic %s is an index", topic)
		}
	}
}
