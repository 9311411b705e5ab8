package cboe

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

// fact is what the manifest says about the file. Its times are capture times, those
// of datagrams without messages included.
type fact struct {
	Packets    int
	Messages   int
	Types      map[string]int
	Heartbeats int        `json:"heartbeat_packets"`
	CapFirst   wire.Nanos `json:"cap_first_ns"`
	CapLast    wire.Nanos `json:"cap_last_ns"`
}

// TestFile holds what comes out of the real capture against the facts that an
// independent reader found. Our event times are the feed's own: those of definitions
// lie minutes before their capture, the others milliseconds.
func TestFile(t *testing.T) {
	want := testdata.Facts[fact](t, file)
	b := content(t)
	if sure := Format.Detect(b[:min(len(b), feed.HeadSize)]); sure < 85 {
		t.Errorf("Detect = %d", sure)
	}
	recs, src := pcaptest.Read(t, Format, b, feed.Options{})
	types, defined, topics := map[string]int{}, map[string]bool{}, map[string]bool{}
	for i := range recs {
		r := &recs[i]
		fields := pcaptest.Fields(t, Format, r)
		id := fields["type"].(string)
		types[id]++
		if symbol, ok := fields["symbol"]; ok && r.Topic != "XCBF."+symbol.(string) {
			t.Fatalf("topic %s: %v", r.Topic, fields)
		}
		topics[r.Topic] = true
		if id == "0xbb" {
			defined[r.Topic] = true
			if late := r.Receive - r.Event; late < 0 || late > 3600*second {
				t.Fatalf("definition of %d captured at %d", r.Event, r.Receive)
			}
		} else if late := r.Receive - r.Event; late < -2*second || late > 2*second {
			t.Fatalf("message of %d captured at %d: %v", r.Event, r.Receive, fields)
		}
		if _, rest := fields["rest"]; rest || r.Flags != 0 || r.Kind == wire.KindData {
			t.Fatalf("flags %v, kind %v: %v", r.Flags, r.Kind, fields)
		}
	}
	if len(recs) != want.Messages || !maps.Equal(types, want.Types) {
		t.Errorf("%d messages of types %v, want %d, %v", len(recs), types, want.Messages, want.Types)
	}
	// Some definitions come more than once; orders and status are of symbols that
	// were not all defined in these seconds.
	if n := want.Types["0xbb"]; len(defined) == 0 || len(defined) > n || !topics["XCBF.@1"] || !topics["XCBF.@2"] {
		t.Errorf("%d symbols of %d definitions, topics %v", len(defined), n, topics)
	}
	checkDatagrams(t, b, want, recs, pcaptest.Notes(src))
}

// strangers counts the messages about orders that were not added before, without
// regard to bounds.
func strangers(recs []pcaptest.Record) int {
	added, n := map[string]bool{}, 0
	for i := range recs {
		b := recs[i].Body
		switch b[typeOff] {
		case 0x21, 0x22:
			added[b[orderOff:][:orderSize]] = true
		case 0x23, 0x25, 0x26, 0x27, 0x28, 0x29:
			if !added[b[orderOff:][:orderSize]] {
				n++
			}
			if b[typeOff] == 0x29 {
				delete(added, b[orderOff:][:orderSize])
			}
		}
	}
	return n
}

// checkDatagrams reads the datagrams on their own.
func checkDatagrams(t *testing.T, b []byte, want fact, recs []pcaptest.Record, notes string) {
	t.Helper()
	datagrams, _ := pcaptest.Read(t, pcap.Format, b, feed.Options{})
	var messages []wire.Nanos
	var bodies, all strings.Builder
	for _, d := range datagrams {
		if d.Body[countOff] > 0 {
			messages = append(messages, d.Receive)
			bodies.WriteString(d.Body[packetHeadSize:])
		}
	}
	if len(datagrams)-len(messages) != want.Heartbeats || notes != fmt.Sprintf("heartbeats: %d; %s: %d", want.Heartbeats,
		"messages about orders whose adding the capture does not have", strangers(recs)) {
		t.Errorf("%d of %d datagrams without messages, notes %q", len(datagrams)-len(messages), len(datagrams), notes)
	}
	if len(datagrams) != want.Packets || datagrams[0].Receive != want.CapFirst || datagrams[len(datagrams)-1].Receive != want.CapLast {
		t.Errorf("%d datagrams, captured %d to %d", len(datagrams), datagrams[0].Receive, datagrams[len(datagrams)-1].Receive)
	}
	if first, last := recs[0].Receive, recs[len(recs)-1].Receive; first != messages[0] || last != messages[len(messages)-1] {
		t.Errorf("receive times %d to %d, want %d to %d", first, last, messages[0], messages[len(messages)-1])
	}
	for i := range recs {
		all.WriteString(recs[i].Body)
	}
	if all.String() != bodies.String() {
		t.Error("the bodies are not what the datagrams have behind their heads")
	}
}
