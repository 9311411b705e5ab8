package dbn

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/window"
	"github.com/tapedeck/tapedeck/wire"
)

func TestTimes(t *testing.T) {
	const big = math.MaxInt64 + 1
	snapshot := trade(7, day0+5, day0+6)
	snapshot[30] = 0x20 | 0x80
	tests := []struct {
		name           string
		rec            []byte
		event, receive wire.Nanos
		flags          wire.RecordFlags
	}{
		{"neither at first", trade(7, undefinedTime, undefinedTime), day0, day0, wire.FlagNoEventTime | wire.FlagNoReceiveTime},
		{"both", trade(7, day0+1, day0+2), day0 + 1, day0 + 2, 0},
		{"no event time", trade(7, undefinedTime, day0+3), day0 + 3, day0 + 3, wire.FlagNoEventTime},
		{"no receive time", trade(7, day0+4, undefinedTime), day0 + 4, day0 + 4, wire.FlagNoReceiveTime},
		{"kind without", blank(rtypeOHLCV1s, 56, 7, day0+4), day0 + 4, day0 + 4, wire.FlagNoReceiveTime},
		{"neither", trade(7, undefinedTime, undefinedTime), day0 + 4, day0 + 4, wire.FlagNoEventTime | wire.FlagNoReceiveTime},
		{"snapshot", snapshot, day0 + 5, day0 + 6, wire.FlagSnapshot},
		{"event too late", trade(7, big, day0+7), day0 + 7, day0 + 7, wire.FlagNoEventTime},
		{"receipt too late", trade(7, math.MaxInt64, big), math.MaxInt64, math.MaxInt64, wire.FlagNoReceiveTime},
		{"zero", trade(7, 0, 0), 0, 0, 0},
	}
	b := symbolHead()
	for _, tt := range tests {
		b = append(b, tt.rec...)
	}
	for i, r := range readAll(t, mustOpen(t, b, feed.Options{})) {
		tt := tests[i]
		if r.Event != tt.event || r.Receive != tt.receive || r.Flags != tt.flags {
			t.Errorf("%s: event %d, receive %d, flags %#x, want %d, %d, %#x",
				tt.name, r.Event, r.Receive, r.Flags, tt.event, tt.receive, tt.flags)
		}
	}
}

func TestKinds(t *testing.T) {
	want := map[uint8]wire.Kind{
		0x00: wire.KindTrade, 0x01: wire.KindQuote, 0x0a: wire.KindQuote, 0x11: wire.KindBar,
		0x12: wire.KindStatus, 0x13: wire.KindDefinition, 0x14: wire.KindImbalance,
		0x15: wire.KindSystem, 0x16: wire.KindSystem, 0x17: wire.KindSystem, 0x18: wire.KindStatistic,
		0x20: wire.KindBar, 0x21: wire.KindBar, 0x22: wire.KindBar, 0x23: wire.KindBar, 0x24: wire.KindBar,
		0xa0: wire.KindOrder, 0xb1: wire.KindQuote, 0xc0: wire.KindQuote, 0xc1: wire.KindQuote,
		0xc2: wire.KindTrade, 0xc3: wire.KindQuote, 0xc4: wire.KindQuote,
		0x42: wire.KindData, 0xff: wire.KindData,
	}
	for rtype, kind := range want {
		list := sizes[rtype]
		if list == nil {
			list = []int{16, 24, 1020}
		}
		for _, size := range list {
			for _, h := range [][]byte{nil, symbolHead()} {
				recs := readAll(t, mustOpen(t, append(h, blank(rtype, size, 1, day0)...), feed.Options{}))
				if recs[0].Kind != kind || len(recs[0].body) != size {
					t.Errorf("type %#x: kind %v, %d bytes, want %v, %d", rtype, recs[0].Kind, len(recs[0].body), kind, size)
				}
			}
		}
	}
	tbbo := head{version: 1, dataset: "D", schema: schemaTBBO}.bytes()
	if recs := readAll(t, mustOpen(t, append(tbbo, blank(rtypeMBP1, 80, 1, day0)...), feed.Options{})); recs[0].Kind != wire.KindTrade {
		t.Errorf("mbp-1 in a tbbo file: kind %v, want trade", recs[0].Kind)
	}
}

// TestTsOut holds that ts_out stays part of the body where the head announces it
// and is a bad length where it does not.
func TestTsOut(t *testing.T) {
	rec := blank(rtypeMBO, 64, 1, day0)
	binary.LittleEndian.PutUint64(rec[56:], day0+9)
	with := head{version: 2, dataset: "D", tsOut: true}.bytes()
	for _, h := range [][]byte{with, nil} {
		recs := readAll(t, mustOpen(t, append(h, rec...), feed.Options{}))
		if !bytes.Equal(recs[0].body, rec) || asMap(mustDecode(t, recs[0].body))["ts_out"] != int64(day0+9) {
			t.Errorf("body %x", recs[0].body)
		}
	}
	_, err := mustOpen(t, append(symbolHead(), rec...), feed.Options{}).Next()
	if !errors.Is(err, ErrLength) {
		t.Errorf("a ts_out that the head does not announce gives %v", err)
	}
}

// event is what a source gave: a record's instrument, or an error.
type event struct {
	id  uint32
	err string
}

// drain reads a source to its end, going on behind bad records.
func drain(t testing.TB, src feed.Source) []event {
	t.Helper()
	var out []event
	for {
		r, err := src.Next()
		var bad *feed.BadRecord
		switch {
		case err == nil:
			out = append(out, event{id: binary.LittleEndian.Uint32(r.Body[4:])})
		case errors.As(err, &bad):
			out = append(out, event{err: err.Error()})
		default:
			if _, again := src.Next(); again != err {
				t.Fatalf("a final error %v is followed by %v", err, again)
			}
			if err != io.EOF {
				out = append(out, event{err: "final: " + err.Error()})
			}
			return out
		}
	}
}

func TestBadRecords(t *testing.T) {
	a, b, c, d := trade(1, day0, day0), trade(2, day0, day0), trade(3, day0, day0), trade(4, day0, day0)
	with := func(rec []byte, off int, v byte) []byte {
		rec = bytes.Clone(rec)
		rec[off] = v
		return rec
	}
	garbage := bytes.Repeat([]byte{0}, 1000)
	tests := []struct {
		name string
		in   [][]byte
		want []event
	}{
		{"length 0", [][]byte{a, with(b, 0, 0), c, d}, []event{{id: 1},
			{err: "offset 48: dbn: bad record length: 0 bytes for type 0x00; 48 bytes skipped"}, {id: 3}, {id: 4}}},
		{"length below the head", [][]byte{a, with(b, 0, 3), c, d}, []event{{id: 1},
			{err: "offset 48: dbn: bad record length: 12 bytes for type 0x00; 48 bytes skipped"}, {id: 3}, {id: 4}}},
		{"length of no such kind", [][]byte{a, with(b, 0, 13), c, d}, []event{{id: 1},
			{err: "offset 48: dbn: bad record length: 52 bytes for type 0x00; 48 bytes skipped"}, {id: 3}, {id: 4}}},
		{"kind of another length", [][]byte{a, with(b, 1, rtypeMBO), c, d}, []event{{id: 1},
			{err: "offset 48: dbn: bad record length: 48 bytes for type 0xa0; 48 bytes skipped"}, {id: 3}, {id: 4}}},
		{"the last one", [][]byte{a, with(b, 0, 0)}, []event{{id: 1},
			{err: "offset 48: dbn: bad record length: 0 bytes for type 0x00; 48 bytes skipped"}}},
		{"the last but one", [][]byte{a, with(b, 0, 0), c}, []event{{id: 1},
			{err: "offset 48: dbn: bad record length: 0 bytes for type 0x00; 48 bytes skipped"}, {id: 3}}},
		{"garbage between", [][]byte{a, garbage, c, d}, []event{{id: 1},
			{err: "offset 48: dbn: bad record length: 0 bytes for type 0x00; 1000 bytes skipped"}, {id: 3}, {id: 4}}},
		{"a byte too much", [][]byte{a, {0}, c, d}, []event{{id: 1},
			{err: "offset 48: dbn: bad record length: 0 bytes for type 0x0c; 1 bytes skipped"}, {id: 3}, {id: 4}}},
		{"garbage only", [][]byte{garbage}, []event{
			{err: "offset 0: dbn: bad record length: 0 bytes for type 0x00; 1000 bytes skipped"}}},
		{"cut off", [][]byte{a, b[:40]}, []event{{id: 1},
			{err: "offset 48: dbn: input breaks off: only 40 bytes of a record are left"}}},
		{"cut off in its head", [][]byte{a, b[:3]}, []event{{id: 1},
			{err: "offset 48: dbn: input breaks off: only 3 bytes of a record are left"}}},
		{"second head", [][]byte{a, symbolHead(), c}, []event{{id: 1},
			{err: "final: offset 48: dbn: a second file begins here; import the files one by one"}}},
	}
	for _, tt := range tests {
		in := slices.Concat(tt.in...)
		for name, r := range map[string]io.Reader{
			"whole": bytes.NewReader(in), "byte by byte": iotest.OneByteReader(bytes.NewReader(in)),
			"data with the end": iotest.DataErrReader(bytes.NewReader(in)),
		} {
			src, err := Format.Open(t.Context(), &feed.Input{Reader: r}, feed.Options{})
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			if got := drain(t, src); !slices.Equal(got, tt.want) {
				t.Errorf("%s, %s:\n got %v\nwant %v", tt.name, name, got, tt.want)
			}
		}
	}
}

// TestResyncFar looks for the next record behind more garbage than the buffer.
func TestResyncFar(t *testing.T) {
	in := slices.Concat(trade(1, day0, day0), bytes.Repeat([]byte{0}, 3*window.Size+5), trade(2, day0, day0))
	want := []event{{id: 1}, {err: fmt.Sprintf(
		"offset 48: dbn: bad record length: 0 bytes for type 0x00; %d bytes skipped", 3*window.Size+5)}, {id: 2}}
	if got := drain(t, mustOpen(t, in, feed.Options{})); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestReaderErrors(t *testing.T) {
	rec := trade(1, day0, day0)
	broken := errors.New("disk on fire")
	tests := []struct {
		name string
		err  error
		want []event
	}{
		{"an error", broken, []event{{id: 1}, {err: "final: offset 48: disk on fire"}}},
		{"a frame cut off", io.ErrUnexpectedEOF, []event{{id: 1},
			{err: "offset 48: dbn: input breaks off: only 10 bytes of a record are left: unexpected EOF"}}},
		{"no progress", nil, []event{{id: 1}, {err: "final: offset 48: " + io.ErrNoProgress.Error()}}},
	}
	for _, tt := range tests {
		r := io.MultiReader(bytes.NewReader(append(bytes.Clone(rec), rec[:10]...)), readerFunc(func([]byte) (int, error) { return 0, tt.err }))
		src, err := Format.Open(t.Context(), &feed.Input{Reader: r}, feed.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := drain(t, src); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	src, err := Format.Open(ctx, &feed.Input{Reader: iotest.OneByteReader(bytes.NewReader(rec))}, feed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := src.Next(); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled import gives %v", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestBadHeads covers file heads that cannot be read, and where they say so.
func TestBadHeads(t *testing.T) {
	good := head{version: 2, dataset: "D", stypeIn: 1, mappings: []mapping{{"S", []dates{{20240101, 20240201, "7"}}}}}.bytes()
	put32 := func(off int, v uint32) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint32(b[off:], v)
		return b
	}
	put8 := func(off int, v byte) []byte {
		b := bytes.Clone(good)
		b[off] = v
		return b
	}
	const lists = preludeSize + fixedSize // schema definition, then the lists
	mapAt := lists + 4 + 4 + 71 + 4 + 4
	tests := []struct {
		name   string
		in     []byte
		want   error
		offset int64
	}{
		{"version 0", put8(3, 0), ErrVersion, 3},
		{"version 4", put8(3, 4), ErrVersion, 3},
		{"length too small", put32(4, 99), ErrMetadata, 4},
		{"length absurd", put32(4, math.MaxUint32), ErrMetadata, 4},
		{"length beyond the input", put32(4, 200<<20), ErrTruncated, int64(len(good))},
		{"length without the lists", put32(4, 100), ErrMetadata, lists},
		{"symbol length 0", slices.Concat(put8(8+16+2+24+3, 0)), ErrMetadata, lists},
		{"schema definition too long", put32(lists, 1<<31), ErrMetadata, lists + 4},
		{"too many symbols", put32(lists+4, math.MaxUint32), ErrMetadata, lists + 8},
		{"too many mappings", put32(mapAt, math.MaxUint32), ErrMetadata, int64(mapAt + 4)},
		{"too many intervals", put32(mapAt+4+71, math.MaxUint32), ErrMetadata, int64(mapAt + 4 + 71 + 4)},
		{"no date", put32(mapAt+4+71+4, 20240230), ErrMetadata, int64(mapAt + 4 + 71 + 4)},
	}
	for _, tt := range tests {
		_, err := Format.Open(t.Context(), input(tt.in), feed.Options{})
		var at *OffsetError
		if !errors.Is(err, tt.want) || !errors.As(err, &at) || at.Offset != tt.offset {
			t.Errorf("%s: %v, want %v at offset %d", tt.name, err, tt.want, tt.offset)
		}
	}
	if _, err := Format.Open(t.Context(), input(nil), feed.Options{}); !errors.Is(err, ErrEmpty) {
		t.Errorf("an empty input gives %v", err)
	}
}

// TestTruncated cuts a file at every byte: it never panics, and the end is clean
// only where the cut lies between two records.
func TestTruncated(t *testing.T) {
	h := head{version: 3, dataset: "D", stypeIn: 1, padding: 7,
		mappings: []mapping{{"S", []dates{{20240101, 20240201, "7"}}}}}.bytes()
	whole := slices.Concat(h, trade(7, day0, day0), mappingV2Record(8, 1, "A", 0, "8"), definition(520, 9, "ESH4"), trade(8, day0, day0))
	clean := map[int]int{len(h): 0, len(h) + 48: 1, len(h) + 224: 2, len(h) + 744: 3, len(whole): 4}
	for cut := range len(whole) + 1 {
		src, err := Format.Open(t.Context(), input(whole[:cut]), feed.Options{})
		if err != nil {
			if cut >= len(h) {
				t.Errorf("cut at %d: %v", cut, err)
			}
			continue
		}
		got := drain(t, src)
		n, isClean := clean[cut]
		last := len(got) > 0 && got[len(got)-1].err != ""
		if isClean == last || (isClean && len(got) != n) {
			t.Errorf("cut at %d: %v", cut, got)
		}
	}
}

func TestOptionsRefused(t *testing.T) {
	rec := trade(1, day0, day0)
	for _, o := range []feed.Options{
		{Preset: "tardis"}, {Columns: "a"}, {Date: "2024-01-01"}, {Zone: "UTC"}, {TimeUnit: "ns"}, {Header: "yes"},
		{Dataset: "a\nb"}, {Dataset: strings.Repeat("D", 300)}, {Dataset: strings.Repeat("D", 250)},
	} {
		if _, err := Format.Open(t.Context(), input(rec), o); !errors.Is(err, ErrOption) {
			t.Errorf("%+v gives %v", o, err)
		}
	}
	if _, err := Format.Open(t.Context(), input(append(symbolHead(), rec...)), feed.Options{Dataset: "OTHER"}); !errors.Is(err, ErrOption) {
		t.Errorf("another dataset than the file's gives %v", err)
	}
	if _, err := Format.Open(t.Context(), input(rec), feed.Options{Header: "auto", Format: "dbn"}); err != nil {
		t.Error(err)
	}
}

// TestLargeHead holds that a large symbol table survives the encoding, packed.
func TestLargeHead(t *testing.T) {
	h := head{version: 3, dataset: "D", stypeIn: 1}
	for i := range uint32(40_000) {
		h.mappings = append(h.mappings, mapping{"S" + idText(i), []dates{{20240101, 20240201, idText(i)}}})
	}
	raw := h.bytes()
	src := mustOpen(t, slices.Concat(raw, trade(39_999, day0, day0), trade(0, day0, day0)), feed.Options{})
	recs := readAll(t, src)
	if recs[0].topic != "D.S39999" || recs[1].topic != "D.S0" {
		t.Errorf("topics %q, %q", recs[0].topic, recs[1].topic)
	}
	enc := src.Encoding()
	got, err := Head(enc)
	if err != nil || !bytes.Equal(got, raw) {
		t.Errorf("head of %d bytes comes back as %d: %v", len(raw), len(got), err)
	}
	if n := len(enc.Detail[keyHeadZstd]); n == 0 || n > len(raw)/10 {
		t.Errorf("head of %d bytes is %d in the encoding", len(raw), n)
	}
}

func TestHeadRefuses(t *testing.T) {
	for _, d := range []map[string]string{{keyHead: "%"}, {keyHeadZstd: "%"}, {keyHeadZstd: "AAAA"}} {
		if b, err := Head(feed.Encoding{Format: Name, Detail: d}); err == nil {
			t.Errorf("%v gives %x", d, b)
		}
	}
}

func TestNextAllocs(t *testing.T) {
	h := symbolHead(mapping{"A", []dates{{20240102, 20240103, "7"}}}, mapping{"B", []dates{{20240103, 20240104, "7"}}})
	day := uint64(dayNs)
	body := slices.Concat(trade(7, day0, day0), trade(8, day0, day0), trade(7, day0, day0+day), trade(9, undefinedTime, undefinedTime),
		mappingV2Record(8, 1, "X", 0, "8"), mappingV2Record(8, 1, "Y", 0, "8"), definition(360, 10, "ESH4"),
		blank(rtypeOHLCV1s, 56, 8, day0), blank(0x77, 40, 8, day0))
	src, err := Format.Open(t.Context(), &feed.Input{Reader: newRepeated(append(h, body...), len(h), 1<<30)}, feed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	next := func() {
		if _, err := src.Next(); err != nil {
			t.Fatal(err)
		}
	}
	for range 1000 {
		next()
	}
	if n := testing.AllocsPerRun(100_000, next); n != 0 {
		t.Errorf("%v allocations a record", n)
	}
}
