package nyse

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

const source0 = 1_600_000_000

func TestRecords(t *testing.T) {
	orderRest := strings.Repeat("\x00", 30)
	var all [][]byte
	for _, tt := range []struct {
		name    string
		message []byte
		topic   string
		kind    wire.Kind
		event   wire.Nanos
	}{
		{"reset", encode(1, "\x01\x02", source0, 5), "x.ARCX.@system", wire.KindSystem, source0*second + 5},
		{"time reference", encode(2, "", 7, 1, source0), "x.ARCX.@system", wire.KindSystem, sent},
		{"mapping", mapping(7, "IBM"), "x.ARCX.IBM", wire.KindDefinition, sent},
		{"mapping changed", mapping(7, "GE"), "x.ARCX.GE", wire.KindDefinition, sent},
		{"mapping of a symbol with a blank", mapping(8, "AHL PRC"), "x.ARCX.AHL PRC", wire.KindDefinition, sent},
		{"mapping without symbol", mapping(7, "A\x01"), "x.ARCX.GE", wire.KindDefinition, sent},
		{"mapping cut short", encode(3, "", 9), "x.ARCX.9", wire.KindDefinition, sent},
		{"status", encode(34, orderRest, source0, 6, 7), "x.ARCX.GE", wire.KindStatus, source0*second + 6},
		{"imbalance of no mapping", encode(105, orderRest, source0, 7, 88), "x.ARCX.88", wire.KindImbalance, source0*second + 7},
		{"again", encode(105, orderRest, source0, 8, 88), "x.ARCX.88", wire.KindImbalance, source0*second + 8},
		{"its mapping", mapping(88, "BRK.A"), "x.ARCX.BRK.A", wire.KindDefinition, sent},
		{"imbalance", encode(105, orderRest, source0, 8, 88), "x.ARCX.BRK.A", wire.KindImbalance, source0*second + 8},
		{"order in this second", encode(100, orderRest, 90_000_000, 7), "x.ARCX.GE", wire.KindOrder, sentSeconds*second + 90_000_000},
		{"order in the second before", encode(103, orderRest, 990_000_000, 7), "x.ARCX.GE", wire.KindOrder, (sentSeconds-1)*second + 990_000_000},
		{"trade", encode(110, orderRest, 0, 7), "x.ARCX.GE", wire.KindTrade, sentSeconds * second},
		{"request", encode(10, "source    \x01\x02", 3, 4), "x.ARCX.@system", wire.KindSystem, sent},
		{"unknown", encode(99, "?"), "x.ARCX.@other", wire.KindData, sent},
		{"type beyond the table", encode(4000, "?"), "x.ARCX.@other", wire.KindData, sent},
	} {
		// The datagram has all messages up to this one, since mappings last.
		t.Run(tt.name, func(t *testing.T) {
			all = append(all, tt.message)
			recs, _ := read(t, feed.Options{Topic: "x.", Dataset: "ARCX"}, at(1, packet(deliveryOriginal, 1, all...)))
			r := recs[len(recs)-1]
			if r.Topic != tt.topic || r.Kind != tt.kind || r.Event != tt.event || r.Receive != sent+1000 || r.Flags != 0 {
				t.Errorf("topic %s, kind %v, event %d, receive %d, flags %v", r.Topic, r.Kind, r.Event, r.Receive, r.Flags)
			}
			if r.Body != string(tt.message) {
				t.Errorf("body %x", r.Body)
			}
		})
	}
}

func TestNearest(t *testing.T) {
	for _, tt := range []struct {
		to   wire.Nanos
		ns   uint32
		want wire.Nanos
	}{
		{10*second + 100, 50, 10*second + 50}, {10*second + 100, 900_000_000, 9*second + 900_000_000},
		{10*second + 900_000_000, 100, 11*second + 100}, {10 * second, 0, 10 * second},
	} {
		if got := nearest(tt.to, tt.ns); got != tt.want {
			t.Errorf("nearest(%d, %d) = %d, want %d", tt.to, tt.ns, got, tt.want)
		}
	}
}

func TestLines(t *testing.T) {
	m := encode(99, "?")
	a, b := at(1, packet(deliveryOriginal, 5, m)), at(2, packet(deliveryOriginal, 5, m, m))
	for _, tt := range []struct {
		name string
		opts feed.Options
		want int
	}{
		{"kept", feed.Options{}, 3},
		{"a channel each", feed.Options{AB: "merge"}, 3},
		{"A and B", feed.Options{AB: "merge", Groups: []string{"224.0.59.1:11001", "224.0.59.2:11002"}}, 2},
		{"all of one prefix", feed.Options{AB: "merge", Groups: []string{"224.0.59.0/24"}}, 3},
	} {
		if recs, _ := read(t, tt.opts, a, b); len(recs) != tt.want {
			t.Errorf("%s: %d records, want %d", tt.name, len(recs), tt.want)
		}
	}
}

func TestRefreshHeartbeatsGaps(t *testing.T) {
	m := encode(99, "?")
	recs, src := read(t, feed.Options{}, at(1, packet(deliveryOriginal, 10, m)), at(1, packet(deliveryRefreshOne, 3, m)),
		at(1, packet(deliveryHeartbeat, 13)), at(1, packet(deliveryOriginal, 13, m)))
	if len(recs) != 3 || recs[0].Flags != 0 || recs[1].Flags != wire.FlagSnapshot {
		t.Errorf("%d records: %v", len(recs), recs)
	}
	const want = "sequence numbers of messages: 2 missing in 1 gap; 224.0.59.1:11001, the channel: 11 to 12 missing; heartbeats: 1; messages of unknown types: 3"
	if got := pcaptest.Notes(src); got != want {
		t.Errorf("notes %q, want %q", got, want)
	}
}

func TestBadDatagrams(t *testing.T) {
	good := encode(99, "?")
	set := func(b []byte, off int, v byte) []byte {
		b = slices.Clone(b)
		b[off] = v
		return b
	}
	for _, tt := range []struct {
		name    string
		payload []byte
		records int
		want    error
	}{
		{"size of a message", packet(deliveryOriginal, 1, good, set(good, 0, 3)), 1, ErrSize},
		{"message too long", packet(deliveryOriginal, 1, good, set(good, 0, 200)), 1, ErrSize},
		{"more bytes than messages", set(packet(deliveryOriginal, 1, good, good), countOff, 1), 1, ErrSize},
		{"more messages than bytes", set(packet(deliveryOriginal, 1, good), countOff, 2), 1, ErrSize},
		{"short status", packet(deliveryOriginal, 1, good, encode(34, "", 1, 2)), 1, ErrShort},
		{"nanoseconds", packet(deliveryOriginal, 1, good, encode(34, "", 1, second, 3)), 1, ErrTime},
		{"nanoseconds of an order", packet(deliveryOriginal, 1, good, encode(100, "", second, 3)), 1, ErrTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := pcaptest.Open(t, Format, pcaptest.Capture(at(1, tt.payload)), feed.Options{})
			recs, bad, err := pcaptest.ReadAll(t, src)
			if err != io.EOF || len(recs) != tt.records || len(bad) != 1 || !errors.Is(bad[0], tt.want) {
				t.Errorf("%d records, bad %v, error %v", len(recs), bad, err)
			}
		})
	}
	for name, payload := range map[string][]byte{
		"empty": nil, "text": []byte("GET / HTTP/1.1\r\n\r\n"), "zeros": make([]byte, 40),
		"size of the datagram": set(packet(deliveryOriginal, 1, good), packetSizeOff, 99),
		"no message":           set(packet(deliveryOriginal, 1, good), packetHeadSize, 99),
		"no delivery flag":     set(packet(deliveryOriginal, 1, good), deliveryOff, 14),
	} {
		src := pcaptest.Open(t, Format, pcaptest.Capture(at(1, payload)), feed.Options{})
		if _, _, err := pcaptest.ReadAll(t, src); !errors.Is(err, pcap.ErrNone) {
			t.Errorf("%s: error %v", name, err)
		}
		if sure := detect(payload); sure != 0 {
			t.Errorf("%s: detect = %d", name, sure)
		}
	}
}

func TestOptions(t *testing.T) {
	capture := pcaptest.Capture(at(1, packet(deliveryHeartbeat, 1)))
	for _, opts := range []feed.Options{{Topic: strings.Repeat("x", 240)}, {Dataset: strings.Repeat("x", 250)}, {Date: "2024-01-02"}} {
		if _, err := Format.Open(t.Context(), pcaptest.Input(capture), opts); err == nil {
			t.Errorf("%+v is taken", opts)
		}
	}
}

// TestDecodeReal decodes messages of the real capture; the values were read from
// its bytes by a reader of its own.
func TestDecodeReal(t *testing.T) {
	recs, _ := pcaptest.Read(t, Format, content(t), feed.Options{})
	for _, tt := range []struct {
		index int
		want  map[string]any
	}{
		{1, map[string]any{"message": "symbol_index_mapping", "type": uint64(3), "symbol_index": uint64(4608), "symbol": "ADM",
			"market_id": uint64(1), "system_id": uint64(19), "exchange_code": "N", "price_scale_code": uint64(4), "security_type": "A",
			"lot_size": uint64(100), "prev_close_price": uint64(424000), "prev_close_volume": uint64(0), "price_resolution": uint64(0),
			"round_lot": "N", "mpv": uint64(1), "unit_of_trade": uint64(1)}},
		{443, map[string]any{"message": "imbalance", "type": uint64(105), "source_time": uint64(1504787400), "source_time_ns": uint64(455000),
			"symbol_index": uint64(4608), "symbol_seq_num": uint64(2), "reference_price": uint64(424000), "paired_qty": uint64(6000),
			"total_imbalance_qty": uint64(14700), "market_imbalance_qty": uint64(0), "auction_time": uint64(930), "auction_type": "M",
			"imbalance_side": "B", "continuous_book_clearing_price": uint64(0), "closing_only_clearing_price": uint64(0),
			"ssr_filing_price": uint64(0), "indicative_match_price": uint64(0), "upper_collar": uint64(0), "lower_collar": uint64(0),
			"auction_status": uint64(0), "freeze_status": uint64(0), "num_extensions": uint64(0)}},
	} {
		if d := cmp.Diff(tt.want, pcaptest.Fields(t, Format, &recs[tt.index])); d != "" {
			t.Error(d)
		}
	}
}

// TestLayouts holds the sizes that the specifications give the types.
func TestLayouts(t *testing.T) {
	for id, want := range map[int]int{1: 14, 2: 16, 3: 42, 10: 24, 11: 29, 12: 14, 13: 21, 15: 20, 31: 14, 32: 20, 34: 46, 35: 16,
		100: 39, 101: 35, 102: 25, 103: 42, 104: 42, 105: 67, 106: 43, 110: 33, 111: 29, 112: 20, 113: 24, 114: 17, 223: 36} {
		last := types[id].fields[len(types[id].fields)-1]
		if got := last.Off + last.Size; got != want {
			t.Errorf("type %d has %d bytes, want %d", id, got, want)
		}
	}
}

func TestDecodeRest(t *testing.T) {
	for _, tt := range []struct {
		body []byte
		want any
	}{
		{encode(12, "source    \xab"), "ab"}, {encode(12, "source    "), nil}, {encode(500, "\x01\x02"), "0102"}, {mapping(1, "A"), nil},
		{append(mapping(1, "A"), 7), "07"},
	} {
		body := slices.Clone(tt.body)
		le.PutUint16(body, uint16(len(body)))
		got := pcaptest.Fields(t, Format, &pcaptest.Record{Body: string(body)})
		if got["rest"] != tt.want {
			t.Errorf("%x: %v", body, got)
		}
	}
}

func TestDamage(t *testing.T) {
	pcaptest.Damage(t, Format, pcaptest.Capture(at(1, packet(deliveryOriginal, 1, mapping(1, "A"), encode(105, "", 1, 2, 1))),
		at(1, packet(deliveryRefreshOne, 1, encode(100, "", 1, 1)))), ErrBody)
	pcaptest.Cut(t, Format, string(mapping(1, "A")), ErrBody)
}

func TestNextAllocs(t *testing.T) {
	pcaptest.NoAllocs(t, Format, content(t), feed.Options{})
}

func FuzzSource(f *testing.F) {
	f.Add(pcaptest.Capture(at(1, packet(deliveryOriginal, 1, mapping(1, "A"), encode(105, "", 1, 2, 1)))), "XNYS")
	f.Fuzz(func(t *testing.T, in []byte, venue string) {
		pcaptest.Hold(t, Format, in, feed.Options{Dataset: venue}, ErrBody)
	})
}

// FuzzDatagram fuzzes what is in the datagram; FuzzSource seldom gets there.
func FuzzDatagram(f *testing.F) {
	f.Add(packet(deliveryOriginal, 1, mapping(1, "A"), encode(105, "", 1, 2, 1)))
	f.Add(packet(deliveryRefreshOne, 1, encode(100, "", 1, 1)))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) < 60000 {
			pcaptest.Hold(t, Format, pcaptest.Capture(at(1, payload)), feed.Options{}, ErrBody)
		}
	})
}

// FuzzDecode holds that any body decodes or is refused with ErrBody.
func FuzzDecode(f *testing.F) {
	f.Add(mapping(1, "A"))
	f.Add(encode(105, "", 1, 2, 1))
	f.Fuzz(func(t *testing.T, body []byte) { pcaptest.HoldBody(t, Format, body, ErrBody) })
}

func BenchmarkNext(b *testing.B) {
	pcaptest.Benchmark(b, Format, content(b), 50, 11_819, feed.Options{})
}
