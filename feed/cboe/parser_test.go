package cboe

import (
	"encoding/json"
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

// status is a trading status of a symbol.
func status(ns uint32, symbol string) []byte {
	return encode(0x31, append(append(le.AppendUint32(nil, ns), symbol...), "  T0  "...)...)
}

func TestRecords(t *testing.T) {
	const ns = 5_000_000
	definition := make([]byte, 39)
	le.PutUint32(definition, 9)
	copy(definition[4:], "00033A")
	le.PutUint32(definition[10:], now-1000)
	definition[37] = 41
	type want struct {
		name    string
		message []byte
		topic   string
		kind    wire.Kind
		event   wire.Nanos
		flags   wire.RecordFlags
	}
	messages := []want{
		{"before any time", status(ns, "00033A"), "x.V.00033A", wire.KindStatus, sent, wire.FlagNoEventTime},
		{"definition", encode(typeDefinition, definition...), "x.V.00033A", wire.KindDefinition, (now-1000)*second + 9, 0},
		{"time", timeMessage(now), "x.V.@7", wire.KindSystem, now * second, 0},
		{"order", add(ns, 1, "00033A"), "x.V.00033A", wire.KindOrder, now*second + ns, 0},
		{"another", add(ns, 2, "0002aV"), "x.V.0002aV", wire.KindOrder, now*second + ns, 0},
		{"padded symbol", add(ns, 3, "VX    "), "x.V.VX", wire.KindOrder, now*second + ns, 0},
		{"not printable", add(ns, 4, "\x01     "), "x.V.@7", wire.KindOrder, now*second + ns, 0},
		{"modified", change(0x28, ns, 1, 4), "x.V.00033A", wire.KindOrder, now*second + ns, 0},
		{"executed", change(0x23, ns, 2, 13), "x.V.0002aV", wire.KindOrder, now*second + ns, 0},
		{"reduced", change(0x26, ns, 3, 2), "x.V.VX", wire.KindOrder, now*second + ns, 0},
		{"of no symbol", change(0x26, ns, 4, 2), "x.V.@7", wire.KindOrder, now*second + ns, 0},
		{"deleted", change(0x29, ns, 1, 0), "x.V.00033A", wire.KindOrder, now*second + ns, 0},
		{"deleted before", change(0x29, ns, 1, 0), "x.V.@7", wire.KindOrder, now*second + ns, 0},
		{"never added", change(0x28, ns, 99, 4), "x.V.@7", wire.KindOrder, now*second + ns, 0},
		{"next second", timeMessage(now + 1), "x.V.@7", wire.KindSystem, (now + 1) * second, 0},
		{"trade", append([]byte{34, 0x2b}, append(change(0, 7, 5, 3)[2:], append([]byte("0002aV"), make([]byte, 11)...)...)...), "x.V.0002aV", wire.KindTrade, (now+1)*second + 7, 0},
		{"unknown", encode(0x01, 1, 2, 3, 4), "x.V.@7", wire.KindData, sent, wire.FlagNoEventTime},
	}
	var all [][]byte
	for _, tt := range messages {
		all = append(all, tt.message)
	}
	recs, src := read(t, feed.Options{Topic: "x.", Dataset: "V"}, at(132, 30001, packet(7, 5, all...)))
	for i, tt := range messages {
		r := recs[i]
		got := want{tt.name, []byte(r.Body), r.Topic, r.Kind, r.Event, r.Flags}
		if d := cmp.Diff(tt, got, cmp.AllowUnexported(want{})); d != "" {
			t.Error(d)
		}
	}
	const notes = "messages of unknown types: 1; messages about orders whose adding the capture does not have: 3"
	if got := pcaptest.Notes(src); got != notes {
		t.Errorf("notes %q, want %q", got, notes)
	}
}

// TestClocks holds that each unit has a clock, and each line if both are kept.
func TestClocks(t *testing.T) {
	packets := []pcaptest.Datagram{
		at(1, 30001, packet(1, 1, timeMessage(now))), at(2, 30001, packet(1, 1, timeMessage(now))),
		at(1, 30001, packet(1, 2, status(1, "AAAAAA"))), at(1, 30001, packet(1, 3, timeMessage(now+1))),
		at(2, 30001, packet(1, 2, status(1, "AAAAAA"))), at(2, 30002, packet(2, 1, status(1, "AAAAAA"))),
	}
	var got []wire.Nanos
	recs, _ := read(t, feed.Options{}, packets...)
	for _, r := range recs {
		got = append(got, r.Event)
	}
	if want := []wire.Nanos{now * second, now * second, now*second + 1, (now + 1) * second, now*second + 1, sent}; !slices.Equal(got, want) {
		t.Errorf("event times %d, want %d", got, want)
	}
	if recs, _ := read(t, feed.Options{AB: "merge"}, packets...); len(recs) != 4 {
		t.Errorf("%d merged", len(recs))
	}
}

// TestClockWithoutDate is for the exchanges whose time message has no date.
func TestClockWithoutDate(t *testing.T) {
	const midnight = now - 3600
	ref := encode(typeReference, le.AppendUint32(le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, midnight), 10), 11), 20231114)...)
	short := encode(typeTime, le.AppendUint32(nil, 20)...)
	recs, _ := read(t, feed.Options{}, at(1, 1, packet(1, 1, short, status(1, "AAAAAA"), ref, status(2, "AAAAAA"), short, status(3, "AAAAAA"))))
	want := []wire.Nanos{sent, sent, (midnight+10)*second + 11, (midnight+10)*second + 2, (midnight + 20) * second, (midnight+20)*second + 3}
	for i, r := range recs {
		if flagged := r.Flags == wire.FlagNoEventTime; r.Event != want[i] || flagged != (i < 2) {
			t.Errorf("message %d: event %d, want %d, flags %v", i, r.Event, want[i], r.Flags)
		}
	}
}

func TestSequence(t *testing.T) {
	m := encode(0x01)
	recs, src := read(t, feed.Options{AB: "merge"}, at(1, 1, packet(1, 0, m)), at(1, 1, packet(1, 0, m)), at(1, 1, packet(1, 5, m)),
		at(1, 1, packet(1, 5, m)), at(1, 1, packet(2, 5, m)), at(1, 2, packet(1, 5, m)), at(1, 1, packet(1, 8)), at(1, 1, packet(1, 0)))
	const notes = "sequence numbers of messages: 2 missing in 1 gap, 1 repeated; unit 1 on port 1: 6 to 7 missing; heartbeats: 2; messages of unknown types: 5"
	if got := pcaptest.Notes(src); len(recs) != 5 || got != notes {
		t.Errorf("%d records, notes %q, want %q", len(recs), got, notes)
	}
}

// TestOrders holds that the orders are bounded and that the latest are remembered.
func TestOrders(t *testing.T) {
	const most = 10
	o := newOrders(most)
	topic := []byte("t")
	for id := range uint64(95) {
		o.add(orderKey{id: id}, topic)
		if len(o.young)+len(o.old) > 2*most {
			t.Fatalf("%d orders", len(o.young)+len(o.old))
		}
		for back := range min(id, most) {
			if o.find(orderKey{id: id - back}) == nil {
				t.Fatalf("order %d is forgotten at %d", id-back, id)
			}
		}
	}
	if o.find(orderKey{id: 3}) != nil || o.find(orderKey{id: 94, port: 1}) != nil {
		t.Error("an order that is not there is found")
	}
	o.forget(orderKey{id: 94})
	o.forget(orderKey{id: 85})
	if o.find(orderKey{id: 94}) != nil || o.find(orderKey{id: 85}) != nil {
		t.Error("a deleted order is found")
	}
}

func TestBadDatagrams(t *testing.T) {
	good := encode(0x01)
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
		{"message too long", packet(1, 1, good, set(good, 0, 3)), ErrLength},
		{"message too short", packet(1, 1, good, set(good, 0, 1)), ErrLength},
		{"more bytes than messages", set(packet(1, 1, good, good), countOff, 1), ErrLength},
		{"more messages than bytes", set(packet(1, 1, good), countOff, 2), ErrLength},
		{"no symbol", packet(1, 1, good, encode(0x31, 0, 0, 0, 0, 'A')), ErrShort},
		{"no order", packet(1, 1, good, encode(0x29, 0, 0, 0, 0, 1)), ErrShort},
		{"no time", packet(1, 1, good, encode(typeTime, 1)), ErrShort},
		{"nanoseconds", packet(1, 1, good, status(second, "AAAAAA")), ErrTime},
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
		"empty": nil, "text": []byte("GET / HTTP/1.1\r\n\r\n"), "zeros": make([]byte, 40), "one more": append(packet(1, 1, good), 0),
		"heartbeat with a count": set(packet(1, 1), countOff, 1), "no message": set(packet(1, 1, good), packetHeadSize, 9),
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
	capture := pcaptest.Capture(at(1, 1, packet(1, 1)))
	for _, opts := range []feed.Options{{Topic: strings.Repeat("x", 248)}, {Dataset: strings.Repeat("x", 250)}, {Date: "2024-01-02"}} {
		if _, err := Format.Open(t.Context(), pcaptest.Input(capture), opts); err == nil {
			t.Errorf("%+v is taken", opts)
		}
	}
}

// TestDecodeReal decodes messages of the real capture; the values were read from its
// bytes by a reader of its own.
func TestDecodeReal(t *testing.T) {
	recs, _ := pcaptest.Read(t, Format, content(t), feed.Options{})
	seen := map[string]map[string]any{}
	for i := range recs {
		fields := pcaptest.Fields(t, Format, &recs[i])
		key := fields["type"].(string)
		if key == "0xbb" {
			if raw, ok := fields["legs"].(json.RawMessage); ok {
				fields["legs"] = string(raw)
				key += " legs"
			} else if fields["variance_block_offset"] != uint64(0) {
				key += " variance"
			}
		}
		if seen[key] == nil {
			seen[key] = fields
		}
	}
	for key, want := range map[string]map[string]any{
		"0x20": {"message": "time", "type": "0x20", "time": uint64(60302), "epoch": uint64(1556747102)},
		"0x22": {"message": "add_order_short", "type": "0x22", "time_offset": uint64(982873000), "order_id": uint64(153037166714629354),
			"side_indicator": "B", "quantity": uint64(1), "symbol": "0002aV", "price": "15.2"},
		"0x28": {"message": "modify_order_short", "type": "0x28", "time_offset": uint64(982744000), "order_id": uint64(152812866342825192),
			"quantity": uint64(35), "price": "16.75"},
		"0x29": {"message": "delete_order", "type": "0x29", "time_offset": uint64(982893000), "order_id": uint64(152966797970438926)},
		"0x31": {"message": "trading_status", "type": "0x31", "time_offset": uint64(614249000), "symbol": "00033A", "trading_status": "Q"},
		"0xbb legs": {"message": "futures_instrument_definition", "type": "0xbb", "time_offset": uint64(580879000), "symbol": "0002Tl",
			"unit_timestamp": uint64(1556745005), "report_symbol": "ZVA", "futures_flags": uint64(0), "expiration_date": uint64(20200619),
			"contract_size": uint64(1), "listing_state": "T", "price_increment": "0.01", "leg_count": uint64(2), "leg_offset": uint64(41),
			"variance_block_offset": uint64(0), "legs": `[{"leg_ratio":-1,"leg_symbol":"0002Th"},{"leg_ratio":1,"leg_symbol":"0001pf"}]`},
		"0xbb variance": {"message": "futures_instrument_definition", "type": "0xbb", "time_offset": uint64(670024000), "symbol": "0002wc",
			"unit_timestamp": uint64(1556745543), "report_symbol": "VA", "futures_flags": uint64(1), "expiration_date": uint64(20211217),
			"contract_size": uint64(1), "listing_state": "A", "price_increment": "0.05", "leg_count": uint64(0), "leg_offset": uint64(0),
			"variance_block_offset": uint64(41), "realized_variance": int64(5193564215), "num_expected_prices": uint64(752),
			"num_elapsed_returns": uint64(87), "previous_settlement": uint64(8461691), "discount_factor": int64(9459264632159000),
			"initial_strike": uint64(5290000), "previous_armvm": int64(-993908), "fed_funds_rate": int64(24500)},
	} {
		if d := cmp.Diff(want, seen[key]); d != "" {
			t.Errorf("%s: %s", key, d)
		}
	}
}

// TestLayouts holds the lengths that the specification gives the types.
func TestLayouts(t *testing.T) {
	for id, want := range map[byte]int{0x20: 10, 0x21: 33, 0x22: 25, 0x23: 27, 0x25: 18, 0x26: 16, 0x27: 26, 0x28: 18, 0x29: 14, 0x2a: 42,
		0x2b: 34, 0x2c: 14, 0x2d: 6, 0x31: 18, 0x97: 6, 0xb1: 18, 0xb9: 25, 0xba: 64, 0xbb: 41, 0xbc: 6, 0xbd: 6} {
		if got := types[id].size; got != want {
			t.Errorf("%#x has %d bytes, want %d", id, got, want)
		}
	}
	for id, want := range map[byte]int{0x21: 19, 0x22: 17, 0x2a: 19, 0x2b: 17, 0x31: 6, 0xb9: 6, 0xba: 6, 0xbb: 6, 0x28: 0} {
		if got := types[id].symbolOff; got != want {
			t.Errorf("%#x has its symbol at %d, want %d", id, got, want)
		}
	}
}

func TestDecodeRest(t *testing.T) {
	for _, tt := range []struct {
		body []byte
		want any
	}{
		{change(0x29, 1, 2, 0), nil}, {change(0x29, 1, 2, 1), "00"}, {encode(1, 7), "07"}, {encode(typeTime, 1, 2, 3, 4), nil},
		{encode(typeDefinition, append(make([]byte, 39), 9)...), "09"},
	} {
		if got := pcaptest.Fields(t, Format, &pcaptest.Record{Body: string(tt.body)}); got["rest"] != tt.want {
			t.Errorf("%x: %v", tt.body, got)
		}
	}
}

func TestDamage(t *testing.T) {
	pcaptest.Damage(t, Format, pcaptest.Capture(at(1, 1, packet(1, 1, timeMessage(now), add(1, 2, "AAAAAA"), status(1, "AAAAAA"))),
		at(2, 1, packet(1, 3, change(0x29, 1, 2, 0)))), ErrBody)
	pcaptest.Cut(t, Format, string(add(1, 2, "AAAAAA")), ErrBody)
}

func TestNextAllocs(t *testing.T) {
	pcaptest.NoAllocs(t, Format, content(t), feed.Options{})
}

func FuzzSource(f *testing.F) {
	f.Add(pcaptest.Capture(at(1, 1, packet(1, 1, timeMessage(now), add(1, 2, "AAAAAA"), change(0x29, 1, 2, 0)))), "XCBF")
	f.Fuzz(func(t *testing.T, in []byte, venue string) {
		pcaptest.Hold(t, Format, in, feed.Options{Dataset: venue, AB: "merge"}, ErrBody)
	})
}

// FuzzDatagram fuzzes what is in the datagram; FuzzSource seldom gets there.
func FuzzDatagram(f *testing.F) {
	f.Add(packet(1, 1, timeMessage(now), add(1, 2, "AAAAAA"), change(0x29, 1, 2, 0)))
	f.Add(packet(1, 0, encode(typeDefinition, make([]byte, 91)...)))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) < 60000 {
			pcaptest.Hold(t, Format, pcaptest.Capture(at(1, 1, payload)), feed.Options{}, ErrBody)
		}
	})
}

// FuzzDecode holds that any body decodes or is refused with ErrBody.
func FuzzDecode(f *testing.F) {
	f.Add(add(1, 2, "AAAAAA"))
	f.Add(encode(typeDefinition, make([]byte, 91)...))
	f.Fuzz(func(t *testing.T, body []byte) { pcaptest.HoldBody(t, Format, body, ErrBody) })
}

func BenchmarkNext(b *testing.B) {
	pcaptest.Benchmark(b, Format, content(b), 40, 15_558, feed.Options{})
}
