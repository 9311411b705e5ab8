package iex

import (
	"encoding/binary"
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

const (
	lineA = "233.215.21.3:10377"
	lineB = "233.215.21.131:10377"
)

// segment is an IEX-TP segment with messages.
func segment(protocol uint16, session uint32, seq uint64, messages ...[]byte) []byte {
	b := make([]byte, headSize)
	b[versionOff] = transportVersion
	binary.LittleEndian.PutUint16(b[protocolOff:], protocol)
	binary.LittleEndian.PutUint32(b[channelOff:], 1)
	binary.LittleEndian.PutUint32(b[sessionOff:], session)
	binary.LittleEndian.PutUint16(b[countOff:], uint16(len(messages)))
	binary.LittleEndian.PutUint64(b[sequenceOff:], seq)
	for _, m := range messages {
		b = append(binary.LittleEndian.AppendUint16(b, uint16(len(m))), m...)
	}
	binary.LittleEndian.PutUint16(b[lengthOff:], uint16(len(b)-headSize))
	return b
}

// of is a message of a type, with zeros in the fields that are not given.
func of(typ byte, time int64, symbol string) []byte {
	b := make([]byte, max(messages[typ].size, 1))
	b[0] = typ
	if len(b) >= systemSize {
		binary.LittleEndian.PutUint64(b[timeOff:], uint64(time))
	}
	if len(b) >= symbolOff+symbolSize {
		copy(b[symbolOff:], symbol+"        "[min(len(symbol), 8):])
	}
	return b
}

// captureOf is a capture of segments on line A, a second apart.
func captureOf(segments ...[]byte) []byte {
	var f pcaptest.File
	for i, s := range segments {
		f.UDP(int64(i+1)*1e9, lineA, s)
	}
	return f.Bytes()
}

func TestMessages(t *testing.T) {
	grown := append(of('T', 77, "GROWN"), 1, 2, 3)
	b := captureOf(
		segment(protocolTOPS, 9, 1, of('S', 5, ""), of('Q', 6, "AAPL"), of('T', 7, "BRK.A")),
		segment(protocolDEEPPlus, 9, 1, of('a', 8, "ABCDEFGH"), of('z', 0, ""), of('8', 9, "A\x01"), grown),
	)
	src := pcaptest.Open(t, Format, b, feed.Options{Topic: "x/"})
	recs, bad, err := pcaptest.ReadAll(t, src)
	if err != io.EOF || len(bad) > 0 {
		t.Fatal(bad, err)
	}
	type row struct {
		Topic          string
		Event, Receive wire.Nanos
		Kind           wire.Kind
		Flags          wire.RecordFlags
	}
	var got []row
	for _, r := range recs {
		got = append(got, row{r.Topic, r.Event, r.Receive, r.Kind, r.Flags})
	}
	want := []row{
		{"x/IEXG.@system", 5, 1e9, wire.KindSystem, 0},
		{"x/IEXG.AAPL", 6, 1e9, wire.KindQuote, 0},
		{"x/IEXG.BRK.A", 7, 1e9, wire.KindTrade, 0},
		{"x/IEXG.ABCDEFGH", 8, 2e9, wire.KindOrder, 0},
		{"x/IEXG.@other", 2e9, 2e9, wire.KindData, wire.FlagNoEventTime},
		{"x/IEXG.@other", 9, 2e9, wire.KindQuote, 0},
		{"x/IEXG.GROWN", 77, 2e9, wire.KindTrade, 0},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got := src.Encoding(); got.Format != Name || got.Detail["protocol"] != "TOPS,DEEP+" {
		t.Errorf("encoding %v", got)
	}
	if notes := src.(feed.Noter).Notes(); !slices.Equal(notes, []string{"messages of unknown types: 1"}) {
		t.Errorf("notes %q", notes)
	}
	if recs[6].Body != string(grown) {
		t.Errorf("body %x", recs[6].Body)
	}
}

// TestMerge holds that lines A and B of one session give each message once, and
// that a restart does not hide the messages behind it.
func TestMerge(t *testing.T) {
	var f pcaptest.File
	send := func(line string, seq uint64, symbols ...string) {
		var list [][]byte
		for _, s := range symbols {
			list = append(list, of('E', 1, s))
		}
		f.UDP(1e9, line, segment(protocolTOPS, 9, seq, list...))
	}
	send(lineA, 1, "A", "B")
	send(lineB, 1, "A", "B", "C") // cut otherwise
	send(lineB, 4, "D")           // A lost C and D
	send(lineA, 5, "E")
	send(lineA, 6)
	send(lineA, 1, "F")
	send(lineB, 5, "E")
	send(lineB, 1, "F")
	send(lineB, 4, "G")
	src := pcaptest.Open(t, Format, f.Bytes(), feed.Options{AB: "merge"})
	recs, bad, err := pcaptest.ReadAll(t, src)
	if err != io.EOF || len(bad) > 0 {
		t.Fatal(bad, err)
	}
	got := ""
	for _, r := range recs {
		got += strings.TrimPrefix(r.Topic, "IEXG.")
	}
	want := []string{
		"sequence numbers of messages: 2 missing in 1 gap, 4 repeated, numbering started again 2 times",
		"TOPS channel 1 session 9: 2 to 3 missing", "heartbeats: 1",
	}
	if notes := src.(feed.Noter).Notes(); got != "ABCDEFG" || !slices.Equal(notes, want) {
		t.Errorf("got %s, notes %q, want %q", got, notes, want)
	}
}

// TestBad holds what is said of segments that are not sound, and that reading goes
// on behind them.
func TestBad(t *testing.T) {
	good := segment(protocolDEEP, 1, 1, of('E', 1, "A"))
	edit := func(off int, v byte) []byte {
		b := segment(protocolDEEP, 1, 2, of('E', 1, "B"), of('E', 1, "C"))
		b[off] = v
		return b
	}
	short := of('Q', 1, "B")
	for _, tt := range []struct {
		name    string
		segment []byte
		before  int // messages delivered before the bad place
		want    error
	}{
		{"payload length", edit(lengthOff, 1), 0, ErrLength},
		{"cut", edit(0, 1)[:60], 0, ErrLength},
		{"head cut", edit(0, 1)[:39], 0, pcap.ErrForeign},
		{"version", edit(0, 2), 0, pcap.ErrForeign},
		{"protocol", edit(protocolOff, 9), 0, pcap.ErrForeign},
		{"count too high", edit(countOff, 3), 2, ErrLength},
		{"count too low", edit(countOff, 1), 1, ErrLength},
		{"message too long", edit(headSize+lengthSize+18, 19), 1, ErrLength},
		{"message empty", edit(headSize+lengthSize+18, 0), 1, ErrLength},
		{"message short", segment(protocolDEEP, 1, 2, of('E', 1, "B"), short[:41]), 1, ErrShort},
	} {
		t.Run(tt.name, func(t *testing.T) {
			recs, bad, err := pcaptest.ReadAll(t, pcaptest.Open(t, Format, captureOf(good, tt.segment, good), feed.Options{}))
			if err != io.EOF || len(recs) != 2+tt.before || len(bad) != 1 || !errors.Is(bad[0], tt.want) {
				t.Errorf("%d records, bad %v, %v, want %d and %v", len(recs), bad, err, 2+tt.before, tt.want)
			}
		})
	}
}

func TestDetect(t *testing.T) {
	good := segment(protocolDEEP, 1, 1, of('E', 1, "A"))
	for _, tt := range []struct {
		name    string
		payload []byte
		want    int
	}{
		{"good", good, 95}, {"heartbeat", segment(protocolDEEPPlus, 1, 1), 95}, {"cut", good[:50], 60},
		{"head cut", good[:39], 0}, {"text", []byte(strings.Repeat("x", 60)), 0}, {"empty", nil, 0},
	} {
		if got := detect(tt.payload); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestOptions(t *testing.T) {
	b := captureOf()
	for _, opts := range []feed.Options{{Date: "2024-01-01"}, {Topic: strings.Repeat("x", 243)}, {AB: "x"}} {
		if _, err := Format.Open(t.Context(), pcaptest.Input(b), opts); err == nil {
			t.Errorf("%+v: opened", opts)
		}
	}
	pcaptest.Open(t, Format, b, feed.Options{Topic: strings.Repeat("x", 242)})
}

func TestNextAllocs(t *testing.T) {
	file := content(t, deepFile)
	whole := newRepeated(file, 0)
	pcaptest.NoAllocs(t, Format, slices.Concat(file[:24], whole.packets), feed.Options{})
}

// FuzzSource holds for any capture: nothing panics, each record is one that wire
// can store and decodes, the source ends.
func FuzzSource(f *testing.F) {
	f.Add(captureOf(segment(protocolTOPS, 9, 1, of('S', 5, ""), of('Q', 6, "AAPL")), segment(protocolDEEP, 9, 3)), "merge")
	f.Add(captureOf(segment(protocolDEEPPlus, 9, 1, of('a', 8, "ABCDEFGH"), of('z', 0, ""))), "keep")
	f.Fuzz(func(t *testing.T, in []byte, ab string) {
		pcaptest.Hold(t, Format, in, feed.Options{AB: ab}, nil)
	})
}
