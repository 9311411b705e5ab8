package cme

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/wire"
)

func TestTopics(t *testing.T) {
	status := make([]byte, 30)
	binary.LittleEndian.PutUint32(status[statusIDOff:], 4711)
	group := slices.Clone(status)
	binary.LittleEndian.PutUint32(group[statusIDOff:], noID)
	long := slices.Concat(make([]byte, 60), []byte("later")) // a later version's longer block
	binary.LittleEndian.PutUint32(long[snapshotIDOff:], 99)
	for _, tt := range []struct {
		name    string
		message []byte
		topic   string
		kind    wire.Kind
		flags   wire.RecordFlags
	}{
		{"one security", book(5), "x.GLBX.5", wire.KindQuote, 0},
		{"the same twice", book(5, 5), "x.GLBX.5", wire.KindQuote, 0},
		{"two securities", book(5, 6), "x.GLBX.@310", wire.KindQuote, 0},
		{"none", book(), "x.GLBX.@310", wire.KindQuote, 0},
		{"negative", book(-5), "x.GLBX.-5", wire.KindQuote, 0},
		{"heartbeat", encode(12, nil), "x.GLBX.@310", wire.KindSystem, 0},
		{"status of a security", encode(30, status), "x.GLBX.4711", wire.KindStatus, 0},
		{"status of a group", encode(30, group), "x.GLBX.@310", wire.KindStatus, 0},
		{"snapshot", encode(52, long, entries(false, 22)), "x.GLBX.99", wire.KindQuote, wire.FlagSnapshot},
		{"block too short for the id", encode(52, long[:9]), "x.GLBX.@310", wire.KindQuote, wire.FlagSnapshot},
		{"group cut off", encode(46, make([]byte, 11), []byte{32, 0, 1, 7}), "x.GLBX.@310", wire.KindQuote, 0},
		{"unknown template", encode(60, status), "x.GLBX.@310", wire.KindData, 0},
		{"template beyond the table", encode(60000, status), "x.GLBX.@310", wire.KindData, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			recs, _ := read(t, feed.Options{Topic: "x."}, at(14310, packet(3, tt.message)))
			r := recs[0]
			if r.Topic != tt.topic || r.Kind != tt.kind || r.Flags != tt.flags || r.Event != sent+3 || r.Receive != sent+1000 {
				t.Errorf("topic %s, kind %v, flags %v, event %d, receive %d", r.Topic, r.Kind, r.Flags, r.Event, r.Receive)
			}
		})
	}
}

// TestStreams holds which datagrams fill each other's gaps and which do not.
func TestStreams(t *testing.T) {
	future := func(reports uint32) []byte {
		b := make([]byte, 216)
		binary.LittleEndian.PutUint32(b[1:], reports)
		return encode(54, b)
	}
	merge := feed.Options{AB: "merge"}
	for _, tt := range []struct {
		name    string
		packets []pcaptest.Datagram
		want    int
	}{
		{"lines A and B", []pcaptest.Datagram{at(14310, packet(1, book(1))), at(15310, packet(1, book(1))), at(15310, packet(2, book(1)))}, 2},
		{"two channels", []pcaptest.Datagram{at(14310, packet(1, book(1))), at(14311, packet(1, book(1)))}, 2},
		{"two pairs of ports", []pcaptest.Datagram{at(14310, packet(1, book(1))), at(16310, packet(1, book(1)))}, 2},
		{"snapshots beside increments", []pcaptest.Datagram{at(14310, packet(1, book(1))), at(14310, packet(1, encode(52, make([]byte, 59)))),
			at(14310, packet(1, encode(53, make([]byte, 28))))}, 3},
		{"replay of definitions", []pcaptest.Datagram{at(14310, packet(1, book(1))), at(14310, packet(1, future(20)))}, 2},
		{"definition among increments", []pcaptest.Datagram{at(14310, packet(1, future(noReports))), at(15310, packet(1, future(noReports)))}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if recs, _ := read(t, merge, tt.packets...); len(recs) != tt.want {
				t.Errorf("%d records, want %d", len(recs), tt.want)
			}
		})
	}
}

const noReports = 1<<32 - 1

func TestNotes(t *testing.T) {
	_, src := read(t, feed.Options{}, at(14310, packet(1, book(1))), at(14310, packet(4, encode(63, nil))))
	const want = "sequence numbers of packets: 2 missing in 1 gap; 233.0.0.1:14310, channel 310: 2 to 3 missing; messages of unknown templates: 1"
	if got := pcaptest.Notes(src); got != want {
		t.Errorf("notes %q, want %q", got, want)
	}
	if got := (&parser{}).Describe(pcap.Stream{54, 1, 7, byte(replay)}); got != "channel 310 definitions" {
		t.Errorf("Describe = %q", got)
	}
}

func TestBadDatagrams(t *testing.T) {
	good := book(1)
	short := slices.Clone(good)
	binary.LittleEndian.PutUint16(short, headSize-1)
	block := slices.Clone(good)
	binary.LittleEndian.PutUint16(block[blockOff:], uint16(len(good)))
	for name, payload := range map[string][]byte{
		"size too small":  packet(1, good, short),
		"block too long":  packet(1, good, block),
		"message cut off": packet(1, good, good[:len(good)-1]),
		"head cut off":    packet(1, good, good[:3]),
	} {
		t.Run(name, func(t *testing.T) {
			src := pcaptest.Open(t, Format, pcaptest.Capture(at(14310, payload), at(14310, packet(2, good))), feed.Options{})
			recs, bad, err := pcaptest.ReadAll(t, src)
			if err != io.EOF || len(recs) != 2 || len(bad) != 1 || !errors.Is(bad[0], ErrSize) {
				t.Errorf("%d records, bad %v, error %v", len(recs), bad, err)
			}
		})
	}
	for name, payload := range map[string][]byte{
		"empty": nil, "text": []byte("GET / HTTP/1.1\r\n\r\n, and more of the like"),
		"no time": make([]byte, 40), "other schema": slices.Replace(packet(1, good), packetHeadSize+schemaOff, packetHeadSize+schemaOff+1, 9),
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
	capture := pcaptest.Capture(at(14310, packet(1, book(1))))
	for _, opts := range []feed.Options{{Topic: strings.Repeat("x", 240)}, {Date: "2024-01-02"}, {AB: "both"}} {
		if _, err := Format.Open(t.Context(), pcaptest.Input(capture), opts); err == nil {
			t.Errorf("%+v is taken", opts)
		}
	}
}

func TestDecodeFuture(t *testing.T) {
	b := make([]byte, 0, 256)
	b = append(b, 0x80)
	b = binary.LittleEndian.AppendUint32(b, noReports)
	b = append(b, 'A')
	b = binary.LittleEndian.AppendUint64(b, 1_500_000_000_000_000_000)
	b = append(b, 17, 54, 1, 64, 2)
	for _, f := range []struct {
		text string
		size int
	}{{"XCME", 4}, {"ES", 6}, {"ES", 6}, {"ESH4", 20}} {
		b = append(b, f.text...)
		b = append(b, make([]byte, f.size-len(f.text))...)
	}
	b = binary.LittleEndian.AppendUint32(b, 17077)
	b = append(b, "FUT\x00\x00\x00FFIXSX"...)
	b = binary.LittleEndian.AppendUint16(b, 2024)
	b = append(b, 3, 255, 255)
	b = append(b, make([]byte, 216-len(b))...)
	m := encode(54, b, entries(false, 9, append([]byte{5}, make([]byte, 8)...)), entries(false, 4, []byte("GBX\x0a")),
		entries(false, 4), entries(false, 5, []byte{2, 0x10, 0x27, 0, 0}), []byte{1, 2})
	recs, _ := read(t, feed.Options{}, at(14310, packet(1, m)))
	if recs[0].Topic != "GLBX.17077" {
		t.Errorf("topic %s", recs[0].Topic)
	}
	got := pcaptest.Fields(t, Format, &recs[0])
	for name, want := range map[string]any{
		"message": "md_instrument_definition_future", "tot_num_reports": nil, "security_update_action": "A", "appl_id": int64(310),
		"security_exchange": "XCME", "symbol": "ESH4", "security_id": int64(17077), "security_type": "FUT", "cfi_code": "FFIXSX",
		"maturity_year": uint64(2024), "maturity_day": nil, "trading_reference_date": uint64(0), "rest": "0102",
	} {
		if got[name] != want {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
	for name, want := range map[string]string{
		"events":        `[{"event_type":5,"event_time":0}]`,
		"md_feed_types": `[{"md_feed_type":"GBX","market_depth":10}]`, "inst_attrib": `[]`,
		"lot_type_rules": `[{"lot_type":2,"min_lot_size":"1"}]`,
	} {
		if raw, _ := got[name].(json.RawMessage); string(raw) != want {
			t.Errorf("%s = %s, want %s", name, raw, want)
		}
	}
}

// TestLayouts holds the sizes that the schema gives blocks and entries against
// those of the layouts, reserved bytes at their ends left out.
func TestLayouts(t *testing.T) {
	for id, want := range map[int][]int{
		30: {30}, 32: {9, 27, 22}, 46: {9, 27, 22}, 47: {9, 34}, 48: {9, 30, 12}, 42: {9, 30, 12}, 49: {9, 25}, 50: {9, 32},
		51: {9, 23}, 35: {9, 19}, 37: {9, 13}, 38: {59, 22}, 52: {59, 22}, 53: {28, 29}, 39: {32, 30}, 54: {216, 9, 4, 4, 5},
		27: {216, 9, 4, 4, 5}, 4: {9, 2}, 16: {180},
	} {
		l := &templates[id]
		last := l.block[len(l.block)-1]
		got := []int{last.Off + last.Size - headSize}
		for _, g := range l.groups {
			last := g.fields[len(g.fields)-1]
			got = append(got, last.Off+last.Size)
			for _, f := range g.fields {
				if f.Name == "security_id" && f.Off != l.idOff {
					t.Errorf("template %d: security id at %d, not %d", id, f.Off, l.idOff)
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("template %d: sizes %v, want %v", id, got, want)
		}
		for _, f := range l.block {
			if f.Name == "security_id" && f.Off-headSize != l.idOff {
				t.Errorf("template %d: security id at %d, not %d", id, f.Off-headSize, l.idOff)
			}
		}
	}
}

func TestDamage(t *testing.T) {
	pcaptest.Damage(t, Format, pcaptest.Capture(at(14310, packet(1, book(1, 2), encode(12, nil))), at(15310, packet(1, book(1, 2), encode(12, nil))),
		at(14310, packet(2, encode(52, make([]byte, 59), entries(false, 22, make([]byte, 22)))))), ErrBody)
	pcaptest.Cut(t, Format, string(book(1, 2)), ErrBody)
}

func TestNextAllocs(t *testing.T) {
	pcaptest.NoAllocs(t, Format, content(t, oldFile), feed.Options{})
}

func FuzzSource(f *testing.F) {
	f.Add(pcaptest.Capture(at(14310, packet(1, book(1, 2), encode(12, nil)))), false)
	f.Add(pcaptest.Capture(at(14310, packet(1, encode(54, make([]byte, 216), entries(false, 9))))), true)
	f.Fuzz(func(t *testing.T, in []byte, merge bool) {
		opts := feed.Options{}
		if merge {
			opts.AB = "merge"
		}
		pcaptest.Hold(t, Format, in, opts, ErrBody)
	})
}

// FuzzDatagram fuzzes what is in the datagram; FuzzSource seldom gets there.
func FuzzDatagram(f *testing.F) {
	f.Add(packet(1, book(1, 2), encode(12, nil)))
	f.Add(packet(1, encode(54, make([]byte, 216), entries(false, 9))))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) < 60000 {
			pcaptest.Hold(t, Format, pcaptest.Capture(at(14310, payload)), feed.Options{}, ErrBody)
		}
	})
}

// FuzzDecode holds that any body decodes or is refused with ErrBody.
func FuzzDecode(f *testing.F) {
	f.Add(book(1, 2))
	f.Add(encode(54, make([]byte, 216), entries(false, 9)))
	f.Fuzz(func(t *testing.T, body []byte) { pcaptest.HoldBody(t, Format, body, ErrBody) })
}

func BenchmarkNext(b *testing.B) {
	b.Run("ab=keep", func(b *testing.B) {
		pcaptest.Benchmark(b, Format, content(b, oldFile), 50, 20_546, feed.Options{})
	})
	b.Run("ab=merge", func(b *testing.B) {
		pcaptest.Benchmark(b, Format, content(b, oldFile), 1, 10_273, feed.Options{AB: "merge"})
	})
}
