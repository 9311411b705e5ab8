package ice

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/internal/testdata"
	"github.com/tapedeck/tapedeck/wire"
)

// fact is what the manifest says about the file. Its times are those of all
// datagrams, those without messages included.
type fact struct {
	Packets  int
	Messages int
	Types    map[string]int
	Markets  int   `json:"ids"`
	First    int64 `json:"sent_first_ms"`
	Last     int64 `json:"sent_last_ms"`
}

// TestFile holds what comes out of the real capture against the facts that an
// independent reader found. Our first event time is that of the first datagram with
// messages; the first of all is a heartbeat.
func TestFile(t *testing.T) {
	want := testdata.Facts[fact](t, file)
	b := content(t)
	if sure := Format.Detect(b[:min(len(b), feed.HeadSize)]); sure < 75 {
		t.Errorf("Detect = %d", sure)
	}
	recs, src := pcaptest.Read(t, Format, b, feed.Options{})
	types, markets := map[string]int{}, map[string]bool{}
	for i := range recs {
		r := &recs[i]
		fields := pcaptest.Fields(t, Format, r)
		types[fields["type"].(string)]++
		topic := "@20100"
		if id, ok := fields["market_id"]; ok {
			topic = fmt.Sprint(id)
			markets[topic] = true
		}
		if _, rest := fields["rest"]; r.Topic != "ICE."+topic || rest || r.Flags != 0 || r.Kind == wire.KindData {
			t.Fatalf("topic %s, flags %v, kind %v: %v", r.Topic, r.Flags, r.Kind, fields)
		}
		// What the feed says of an order's own time is near the datagram's.
		if ns, ok := fields["modification_timestamp"].(int64); ok && (ns-int64(r.Event) > 1e9 || int64(r.Event)-ns > 1e9) {
			t.Fatalf("event %d, order modified %d", r.Event, ns)
		}
	}
	if len(recs) != want.Messages || !maps.Equal(types, want.Types) || len(markets) != want.Markets {
		t.Errorf("%d messages of types %v, %d markets, want %d, %v, %d", len(recs), types, len(markets), want.Messages, want.Types, want.Markets)
	}
	checkDatagrams(t, b, want, recs, pcaptest.Notes(src))
}

// checkDatagrams reads the datagrams on their own.
func checkDatagrams(t *testing.T, b []byte, want fact, recs []pcaptest.Record, notes string) {
	t.Helper()
	datagrams, _ := pcaptest.Read(t, pcap.Format, b, feed.Options{})
	var messages, times []int64
	var bodies strings.Builder
	for _, d := range datagrams {
		ms := int64(be.Uint64([]byte(d.Body[timeOff:])))
		times = append(times, ms)
		if be.Uint16([]byte(d.Body[countOff:])) > 0 {
			messages = append(messages, ms)
			bodies.WriteString(d.Body[packetHeadSize:])
		}
	}
	if len(times) != want.Packets || times[0] != want.First || times[len(times)-1] != want.Last {
		t.Errorf("%d datagrams, sent %d to %d, want %d, %d to %d", len(times), times[0], times[len(times)-1], want.Packets, want.First, want.Last)
	}
	if heartbeats := fmt.Sprintf("heartbeats: %d", len(times)-len(messages)); notes != heartbeats {
		t.Errorf("notes %q, want %q", notes, heartbeats)
	}
	if first, last := recs[0].Event, recs[len(recs)-1].Event; int64(first) != messages[0]*1e6 || int64(last) != messages[len(messages)-1]*1e6 {
		t.Errorf("event times %d to %d, want %d to %d ms", first, last, messages[0], messages[len(messages)-1])
	}
	var all strings.Builder
	for i := range recs {
		all.WriteString(recs[i].Body)
	}
	if all.String() != bodies.String() {
		t.Error("the bodies are not what the datagrams have behind their heads")
	}
}
