package cme

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/internal/testdata"
	"github.com/tapedeck/tapedeck/wire"
)

// fact is what the manifest says about one file. It counts both lines.
type fact struct {
	Messages    int
	Templates   map[string]int
	SecurityIDs int       `json:"security_ids"` // in templates 32, 42, 46, 48
	First       time.Time `json:"sending_first"`
	Last        time.Time `json:"sending_last"`
}

// merged is how many messages each file has once, as the data's description says.
var merged = map[string]int{oldFile: 10_273, newFile: 102}

// TestFiles holds what comes out of the real captures against the facts that an
// independent reader found.
func TestFiles(t *testing.T) {
	for _, file := range []string{oldFile, newFile} {
		t.Run(file, func(t *testing.T) {
			want := testdata.Facts[fact](t, file)
			b := content(t, file)
			if sure := Format.Detect(b[:min(len(b), feed.HeadSize)]); sure < 90 {
				t.Errorf("Detect = %d", sure)
			}
			recs, _ := pcaptest.Read(t, Format, b, feed.Options{})
			checkRecords(t, want, recs)
			if recs, src := pcaptest.Read(t, Format, b, feed.Options{AB: "merge"}); len(recs) != merged[file] {
				t.Errorf("%d merged, want %d", len(recs), merged[file])
			} else if notes := pcaptest.Notes(src); !strings.Contains(notes, "repeated") || strings.Contains(notes, "missing") {
				t.Errorf("notes %q", notes)
			}
		})
	}
}

func checkRecords(t *testing.T, want fact, recs []pcaptest.Record) {
	t.Helper()
	templates, securities, topics := map[string]int{}, map[string]bool{}, map[string]bool{}
	for i := range recs {
		r := &recs[i]
		fields := pcaptest.Fields(t, Format, r)
		id := fmt.Sprint(fields["template_id"])
		templates[id]++
		ids := entryIDs(t, fields)
		if id == "32" || id == "42" || id == "46" || id == "48" {
			maps.Copy(securities, ids)
		}
		topic, channel := strings.CutPrefix(r.Topic, "GLBX.@")
		if !channel {
			topic = strings.TrimPrefix(r.Topic, "GLBX.")
			topics[topic] = true
		}
		// One security is the topic; none or several go to the channel.
		if (len(ids) == 1) == channel || !channel && !ids[topic] {
			t.Fatalf("securities %v of topic %s", ids, r.Topic)
		}
		if _, rest := fields["rest"]; rest || r.Flags != 0 || r.Kind == wire.KindData {
			t.Fatalf("flags %v, kind %v, fields %v", r.Flags, r.Kind, fields)
		}
	}
	if len(recs) != want.Messages || !maps.Equal(templates, want.Templates) {
		t.Errorf("%d messages of templates %v, want %d, %v", len(recs), templates, want.Messages, want.Templates)
	}
	// Securities that come only beside others have no topic of their own.
	if len(securities) != want.SecurityIDs || len(topics) > want.SecurityIDs {
		t.Errorf("%d security ids, %d topics, want %d", len(securities), len(topics), want.SecurityIDs)
	}
	first, last := recs[0].Event, recs[len(recs)-1].Event
	if int64(first) != want.First.UnixNano() || int64(last) != want.Last.UnixNano() {
		t.Errorf("event times %d to %d, want %v to %v", first, last, want.First, want.Last)
	}
}

// entryIDs returns the securities of a message's first group.
func entryIDs(t *testing.T, fields map[string]any) map[string]bool {
	t.Helper()
	raw, ok := fields["md_entries"].(json.RawMessage)
	if !ok {
		return nil
	}
	var list []struct {
		ID json.Number `json:"security_id"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	ids := map[string]bool{}
	for _, e := range list {
		ids[string(e.ID)] = true
	}
	return ids
}

// TestBodies holds that the bodies of a datagram are its bytes behind the head.
func TestBodies(t *testing.T) {
	a, b := book(7, 8), encode(12, nil)
	recs, _ := read(t, feed.Options{}, at(14310, packet(1, a, b)))
	if len(recs) != 2 || recs[0].Body+recs[1].Body != string(a)+string(b) {
		t.Errorf("bodies %x", recs)
	}
}

// TestDecodeReal decodes the first trade of a real capture; the values were read
// from its bytes by a reader of its own.
func TestDecodeReal(t *testing.T) {
	recs, _ := pcaptest.Read(t, Format, content(t, newFile), feed.Options{})
	for i := range recs {
		fields := pcaptest.Fields(t, Format, &recs[i])
		if fields["template_id"] != uint64(48) {
			continue
		}
		const entries = `[{"md_entry_px":"12952","md_entry_size":2,"security_id":170506,"rpt_seq":20185,` +
			`"number_of_orders":3,"aggressor_side":2,"md_update_action":0,"md_trade_entry_id":341412}]`
		const orders = `[{"order_id":88463941745,"last_qty":2},{"order_id":88463939692,"last_qty":1},` +
			`{"order_id":88463940665,"last_qty":1}]`
		if string(fields["md_entries"].(json.RawMessage)) != entries || string(fields["order_id_entries"].(json.RawMessage)) != orders {
			t.Errorf("%s %s", fields["md_entries"], fields["order_id_entries"])
		}
		if fields["message"] != "md_incremental_refresh_trade_summary" || fields["transact_time"] != int64(1536760535670166278) {
			t.Errorf("%v", fields)
		}
		return
	}
	t.Error("no trade summary")
}
