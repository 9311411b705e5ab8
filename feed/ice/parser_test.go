package ice

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/wire"
)

func TestRecords(t *testing.T) {
	messages := []struct {
		name    string
		message []byte
		topic   string
		kind    wire.Kind
		flags   wire.RecordFlags
	}{
		{"order", about('E', 5, 46), "x.IFEU.5", wire.KindOrder, 0},
		{"the same market", about('F', 5, 20), "x.IFEU.5", wire.KindOrder, 0},
		{"another", about('G', -6, 42), "x.IFEU.-6", wire.KindTrade, 0},
		{"bundle marker", encode('T', []byte("S")), "x.IFEU.@20100", wire.KindSystem, 0},
		{"back to the market", about('G', -6, 42), "x.IFEU.-6", wire.KindTrade, 0},
		{"snapshot", about('C', 7, 120), "x.IFEU.7", wire.KindStatistic, wire.FlagSnapshot},
		{"snapshot of an order", about('D', 7, 41), "x.IFEU.7", wire.KindOrder, wire.FlagSnapshot},
		{"state", about('K', 7, 9), "x.IFEU.7", wire.KindStatus, 0},
		{"option of an underlying", about('W', 8, 90), "x.IFEU.8", wire.KindTrade, 0},
		{"expiry", about('R', 9, 10), "x.IFEU.9", wire.KindDefinition, 0},
		{"text", encode('L', make([]byte, 1008)), "x.IFEU.@20100", wire.KindSystem, 0},
		{"unknown", about('?', 9, 10), "x.IFEU.@20100", wire.KindData, 0},
		{"unknown and empty", encode(0xff, nil), "x.IFEU.@20100", wire.KindData, 0},
	}
	var all [][]byte
	for _, tt := range messages {
		all = append(all, tt.message)
	}
	recs, src := read(t, feed.Options{Topic: "x.", Dataset: "IFEU"}, at(1, 20100, packet(5, all...)))
	for i, tt := range messages {
		r := recs[i]
		if r.Topic != tt.topic || r.Kind != tt.kind || r.Flags != tt.flags || r.Event != sent || r.Receive != sent+1000 || r.Body != string(tt.message) {
			t.Errorf("%s: topic %s, kind %v, flags %v, event %d, receive %d", tt.name, r.Topic, r.Kind, r.Flags, r.Event, r.Receive)
		}
	}
	if notes := pcaptest.Notes(src); notes != "messages of unknown types: 2" {
		t.Errorf("notes %q", notes)
	}
}

func TestLines(t *testing.T) {
	m := about('F', 5, 20)
	recs, src := read(t, feed.Options{AB: "merge"}, at(1, 20100, packet(5, m, m)), at(2, 20100, packet(5, m, m, m)),
		at(1, 20101, packet(5, m)), at(1, 20100, packet(9)), at(2, 20100, packet(9, m)))
	const want = "sequence numbers of messages: 1 missing in 1 gap, 2 repeated; session 77 on port 20100: 8 to 8 missing; heartbeats: 1"
	if notes := pcaptest.Notes(src); len(recs) != 5 || notes != want {
		t.Errorf("%d records, notes %q, want %q", len(recs), notes, want)
	}
}

func TestBadDatagrams(t *testing.T) {
	good := about('F', 5, 20)
	set := func(b []byte, off int, v byte) []byte {
		b = slices.Clone(b)
		b[off] = v
		return b
	}
	for _, tt := range []struct {
		name    string
		payload []byte
		want    error
	}{
		{"message too long", packet(1, good, set(good, 2, 25)), ErrLength},
		{"more bytes than messages", set(packet(1, good, good), countOff+1, 1), ErrLength},
		{"more messages than bytes", set(packet(1, good), countOff+1, 2), ErrLength},
		{"no market", packet(1, good, encode('E', []byte("abc"))), ErrShort},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := pcaptest.Open(t, Format, pcaptest.Capture(at(1, 1, tt.payload)), feed.Options{})
			recs, bad, err := pcaptest.ReadAll(t, src)
			if err != io.EOF || len(recs) != 1 || len(bad) != 1 || !errors.Is(bad[0], tt.want) {
				t.Errorf("%d records, bad %v, error %v", len(recs), bad, err)
			}
		})
	}
	for name, payload := range map[string][]byte{
		"empty": nil, "text": []byte("GET / HTTP/1.1\r\n\r\n"), "zeros": make([]byte, 40),
		"heartbeat with a count": set(packet(1), countOff, 1), "no message": set(packet(1, good), packetHeadSize+1, 1),
	} {
		src := pcaptest.Open(t, Format, pcaptest.Capture(at(1, 1, payload)), feed.Options{})
		if _, _, err := pcaptest.ReadAll(t, src); !errors.Is(err, pcap.ErrNone) {
			t.Errorf("%s: error %v", name, err)
		}
		if sure := detect(payload); sure != 0 {
			t.Errorf("%s: detect = %d", name, sure)
		}
	}
}

func TestOptions(t *testing.T) {
	capture := pcaptest.Capture(at(1, 1, packet(1)))
	for _, opts := range []feed.Options{{Topic: strings.Repeat("x", 244)}, {Dataset: strings.Repeat("x", 250)}, {Date: "2024-01-02"}} {
		if _, err := Format.Open(t.Context(), pcaptest.Input(capture), opts); err == nil {
			t.Errorf("%+v is taken", opts)
		}
	}
}

// TestDecodeReal decodes messages of the real capture; the values were read from
// its bytes by a reader of its own.
func TestDecodeReal(t *testing.T) {
	recs, _ := pcaptest.Read(t, Format, content(t), feed.Options{})
	seen := map[byte]map[string]any{}
	for i := range recs {
		if c := recs[i].Body[0]; seen[c] == nil {
			seen[c] = pcaptest.Fields(t, Format, &recs[i])
		}
	}
	for id, want := range map[byte]map[string]any{
		'T': {"message": "message_bundle_marker", "type": "T", "start_or_end": "S"},
		'E': {"message": "add_or_modify_order", "type": "E", "market_id": int64(1660891), "order_id": int64(5364671), "order_sequence_id": int64(0),
			"side": "1", "price": int64(24460), "quantity": int64(15), "is_implied": "N", "is_rfq": "N",
			"order_entry_date_time": int64(1534845600696), "extra_flags": int64(0), "sequence_within_millis": int64(308003),
			"modification_timestamp": int64(1534845600696308000)},
		'F': {"message": "delete_order", "type": "F", "market_id": int64(1660891), "order_id": int64(5364459),
			"date_time": int64(1534845600696), "sequence_within_millis": int64(308002)},
		'N': {"message": "open_price", "type": "N", "market_id": int64(5303642), "open_price": int64(19425), "date_time": int64(1534846336944)},
		'M': {"message": "open_interest", "type": "M", "market_id": int64(5284480), "open_interest": int64(542), "open_interest_change": int64(2),
			"date_time": int64(1534846072240), "open_interest_date": "2018-08-20"},
	} {
		if d := cmp.Diff(want, seen[id]); d != "" {
			t.Errorf("%c: %s", id, d)
		}
	}
}

// TestLayouts holds the lengths that the specification gives the bodies.
func TestLayouts(t *testing.T) {
	for id, want := range map[byte]int{'E': 50, 'F': 24, 'G': 46, 'J': 52, 'M': 30, 'N': 20, 'T': 1, 'L': 1008, 'K': 13, 'D': 41, 'O': 37,
		't': 34, 'r': 14, 'V': 34, 'c': 20, 'k': 31, 'm': 26, 'C': 133, 'R': 503, 'l': 322, 'i': 88, 'H': 37, 'I': 36} {
		if got := types[id].size - headSize; got != want {
			t.Errorf("%c has %d bytes, want %d", id, got, want)
		}
	}
}

func TestDecodeRest(t *testing.T) {
	for _, tt := range []struct {
		body []byte
		want any
	}{
		{encode('T', []byte("S")), nil}, {encode('T', []byte("SX")), "58"}, {encode('?', []byte{1}), "01"}, {encode(0xe9, nil), nil},
		{append(about('9', 1, 85), 0xaa), "aa"},
	} {
		body := slices.Clone(tt.body)
		be.PutUint16(body[lengthOff:], uint16(len(body)-headSize))
		if got := pcaptest.Fields(t, Format, &pcaptest.Record{Body: string(body)}); got["rest"] != tt.want {
			t.Errorf("%x: %v", body, got)
		}
	}
}

func TestDamage(t *testing.T) {
	pcaptest.Damage(t, Format, pcaptest.Capture(at(1, 1, packet(1, about('E', 5, 46), encode('T', []byte("S")))), at(2, 1, packet(2, about('C', 5, 46)))), ErrBody)
	pcaptest.Cut(t, Format, string(about('E', 5, 46)), ErrBody)
}

func TestNextAllocs(t *testing.T) {
	pcaptest.NoAllocs(t, Format, content(t), feed.Options{})
}

func FuzzSource(f *testing.F) {
	f.Add(pcaptest.Capture(at(1, 1, packet(1, about('E', 5, 46), encode('T', []byte("S"))))), "IFEU")
	f.Fuzz(func(t *testing.T, in []byte, venue string) {
		pcaptest.Hold(t, Format, in, feed.Options{Dataset: venue, AB: "merge"}, ErrBody)
	})
}

// FuzzDatagram fuzzes what is in the datagram; FuzzSource seldom gets there.
func FuzzDatagram(f *testing.F) {
	f.Add(packet(1, about('E', 5, 46), encode('T', []byte("S"))))
	f.Add(packet(1, about('C', 5, 46), encode('b', []byte{1})))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) < 60000 {
			pcaptest.Hold(t, Format, pcaptest.Capture(at(1, 1, payload)), feed.Options{}, ErrBody)
		}
	})
}

// FuzzDecode holds that any body decodes or is refused with ErrBody.
func FuzzDecode(f *testing.F) {
	f.Add(about('E', 5, 46))
	f.Add(encode('T', []byte("S")))
	f.Fuzz(func(t *testing.T, body []byte) { pcaptest.HoldBody(t, Format, body, ErrBody) })
}

func BenchmarkNext(b *testing.B) {
	pcaptest.Benchmark(b, Format, content(b), 20, 31_893, feed.Options{})
}
