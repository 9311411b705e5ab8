package parquet

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	pq "github.com/parquet-go/parquet-go"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

type tick struct {
	Event   int64   `parquet:"ts_event"`
	Init    *int64  `parquet:"ts_init,optional"`
	Venue   string  `parquet:"venue"`
	Symbol  *string `parquet:"symbol,optional"`
	Price   float64 `parquet:"price"`
	Nested  nested  `parquet:"nested"`
	Levels  []int64 `parquet:"levels"`
	When    string  `parquet:"when"`
	Seconds float64 `parquet:"seconds"`
}

type nested struct {
	T int64  `parquet:"t"`
	S string `parquet:"s"`
}

const base = 1723161256000000000

func ticks(n int) []tick {
	list := make([]tick, n)
	for i := range list {
		init, symbol := int64(base+i+5), fmt.Sprint("S", i%3)
		list[i] = tick{
			Event: base + int64(i), Init: &init, Venue: "V", Symbol: &symbol, Price: float64(i),
			Nested: nested{T: int64(i), S: "n"}, When: "2024-08-08T23:54:16.5Z", Seconds: 1723161256.25,
		}
		for j := range i % 5 {
			list[i].Levels = append(list[i].Levels, int64(j))
		}
	}
	return list
}

func TestColumns(t *testing.T) {
	list := ticks(2)
	list[1].Symbol, list[1].Init = nil, nil
	file := made(t, list)
	for _, tt := range []struct {
		opts           feed.Options
		topics         [2]string
		event, receive [2]wire.Nanos
		flags          [2]wire.RecordFlags
		layout         string
	}{
		{feed.Options{}, [2]string{"V.S0", "V"}, [2]wire.Nanos{base, base + 1}, [2]wire.Nanos{base + 5, base + 1},
			[2]wire.RecordFlags{0, wire.FlagNoReceiveTime}, "time=ts_event,receive=ts_init,topic=venue+symbol,kind=data"},
		{feed.Options{Topic: "X", TimeUnit: "ns"}, [2]string{"X.V.S0", "X.V"}, [2]wire.Nanos{base, base + 1}, [2]wire.Nanos{base + 5, base + 1},
			[2]wire.RecordFlags{0, wire.FlagNoReceiveTime}, "time=ts_event:ns,receive=ts_init:ns,topic=venue+symbol,kind=data"},
		{feed.Options{Columns: "receive=nested.t:s,topic=nested.s+#1,kind=bar"}, [2]string{"n.1723161256000000000", "n.1723161256000000001"},
			[2]wire.Nanos{0, 1e9}, [2]wire.Nanos{0, 1e9}, [2]wire.RecordFlags{wire.FlagNoEventTime, wire.FlagNoEventTime}, "receive=nested.t:s,topic=nested.s+#1,kind=bar"},
		{feed.Options{Columns: "time=WHEN,receive=seconds", Topic: "T"}, [2]string{"T", "T"},
			[2]wire.Nanos{1723161256500e6, 1723161256500e6}, [2]wire.Nanos{1723161256250e6, 1723161256250e6}, [2]wire.RecordFlags{}, "time=WHEN,receive=seconds,kind=data"},
	} {
		src, err := openBytes(t, file, tt.opts)
		must(t, err)
		got := rows(t, src)
		if len(got) != 2 {
			t.Fatalf("%d rows", len(got))
		}
		for i, r := range got {
			if r.bad != "" || r.topic != tt.topics[i] || r.event != tt.event[i] || r.receive != tt.receive[i] || r.flags != tt.flags[i] {
				t.Errorf("%+v: row %d: %+v", tt.opts, i, r)
			}
		}
		if layout := src.Encoding().Detail["layout"]; layout != tt.layout {
			t.Errorf("layout %s", layout)
		}
	}
}

func TestBadRows(t *testing.T) {
	list := ticks(5)
	for i, when := range []string{"2024-08-08", "soon", "\xff", "1723161256", ""} {
		list[i].When = when
	}
	list[4].When, list[4].Symbol = "2024-08-08", nil
	src, err := openBytes(t, made(t, list), feed.Options{Columns: "time=when,topic=symbol"})
	must(t, err)
	var got []string
	for _, r := range rows(t, src) {
		got = append(got, r.topic+r.bad)
	}
	want := []string{
		"S0", "row 2: time in column when: not a number", "row 3: time in column when: not a number", "S0",
		"row 5: the columns of the topic are empty",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	list[2].When = "2024-08-08"
	list[2].Venue = "\xff"
	list[3].Init = nil
	src, err = openBytes(t, made(t, list), feed.Options{Columns: "time=ts_init", Topic: "T"})
	must(t, err)
	all := rows(t, src)
	if all[2].bad != "row 3: column venue: its text is not UTF-8" || all[3].bad != "row 4: the row has no time" || all[4].bad != "" {
		t.Errorf("%+v", all[2:])
	}
}

func TestShapes(t *testing.T) {
	for name, tt := range map[string]struct {
		rows int
		opts []pq.WriterOption
	}{
		"no rows":               {0, nil},
		"1,077 groups of a row": {1077, []pq.WriterOption{pq.MaxRowsPerRowGroup(1)}},
		"small pages":           {5000, []pq.WriterOption{pq.PageBufferSize(100), pq.Compression(&pq.Zstd)}},
		"small pages, version 1": {
			5000, []pq.WriterOption{pq.PageBufferSize(100), pq.DataPageVersion(1), pq.MaxRowsPerRowGroup(777)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			list := ticks(tt.rows)
			src, err := openBytes(t, made(t, list, tt.opts...), feed.Options{})
			must(t, err)
			got := rows(t, src)
			if len(got) != len(list) {
				t.Fatalf("%d rows, want %d", len(got), len(list))
			}
			for i, r := range got {
				levels := strings.ReplaceAll(fmt.Sprint(list[i].Levels), " ", ",")
				want := fmt.Sprintf(`{"ts_event":%d,"ts_init":%d,"venue":"V","symbol":%q,"price":%d,"nested":{"t":%d,"s":"n"},"levels":%s,"when":"2024-08-08T23:54:16.5Z","seconds":1723161256.25}`,
					list[i].Event, *list[i].Init, *list[i].Symbol, i, i, levels)
				if r.body != want || r.event != wire.Nanos(list[i].Event) {
					t.Fatalf("row %d\ngot  %s%s\nwant %s", i, r.body, r.bad, want)
				}
			}
			if _, err := src.Next(); err != io.EOF {
				t.Errorf("behind the end: %v", err)
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	file := made(t, ticks(3))
	timeless := made(t, []struct{ A, B int64 }{{1, 2}})
	ofDay := made(t, []struct {
		T int64 `parquet:"time,time(microsecond)"`
	}{{1}})
	for _, tt := range []struct {
		name string
		file []byte
		opts feed.Options
		want string
	}{
		{"empty", []byte{0}, feed.Options{}, "parquet: this is not a Parquet file"},
		{"not parquet", bytes.Repeat([]byte("x"), 100), feed.Options{}, "this is not a Parquet file"},
		{"encrypted", append([]byte("PARE"), file[4:]...), feed.Options{}, "the file is encrypted"},
		{"cut off", file[:len(file)-1], feed.Options{}, "the file is cut off"},
		{"directory too long", append(append([]byte{}, file[:len(file)-8]...), "\xff\xff\xff\xffPAR1"...), feed.Options{}, "a directory of 4294967295 bytes"},
		{"no time", timeless, feed.Options{}, "cannot tell which column is the time: the columns are A, B; say so"},
		{"time of day", ofDay, feed.Options{}, "cannot tell which column is the time"},
		{"time of day named", ofDay, feed.Options{Columns: "time=time"}, "column time is a time of day"},
		{"no column", file, feed.Options{Columns: "time=x"}, `there is no column "x"; the columns are ts_event, ts_init,`},
		{"no place", file, feed.Options{Columns: "time=#10"}, "there is no column #10"},
		{"group", file, feed.Options{Columns: "time=nested"}, "column nested is a group; its columns are named as in nested.t"},
		{"list", file, feed.Options{Columns: "time=levels"}, "column levels is a list"},
		{"topic", file, feed.Options{Columns: "time=#1,topic=x"}, `there is no column "x"`},
		{"long topic", file, feed.Options{Topic: strings.Repeat("x", 256)}, "topic must have"},
		{"map", file, feed.Options{Columns: "x"}, "an example: " + columnsExample},
		{"unit", file, feed.Options{TimeUnit: "h"}, `not "h"`},
		{"preset", file, feed.Options{Preset: "x"}, "--preset has no meaning for Parquet"},
		{"date", file, feed.Options{Date: "x"}, "--date"},
		{"zone", file, feed.Options{Zone: "x"}, "--zone"},
		{"header", file, feed.Options{Header: "no"}, "--header"},
		{"dataset", file, feed.Options{Dataset: "x"}, "--dataset"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := openBytes(t, tt.file, tt.opts)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "parquet: ") {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	stamp := made(t, []everything{{}})
	if _, err := openBytes(t, stamp, feed.Options{Columns: "time=ts:ms"}); err == nil || !strings.Contains(err.Error(), "the unit of column ts is us, not ms") {
		t.Errorf("error %v", err)
	}
}

// TestOpenStreams: Parquet cannot be read where there is no random access.
func TestOpenStreams(t *testing.T) {
	file := made(t, ticks(3))
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err := z.Write(file)
	must(t, err)
	must(t, z.Close())
	for _, r := range []io.Reader{struct{ io.Reader }{bytes.NewReader(file)}, bytes.NewReader(zipped.Bytes())} {
		in, err := feed.NewInput(t.Context(), r, "-")
		must(t, err)
		if Format.Detect(in.Head) != sureOfMagic {
			t.Error("not recognised")
		}
		if _, err := Format.Open(t.Context(), in, feed.Options{}); !errors.Is(err, errNoFile) {
			t.Errorf("error %v", err)
		}
		must(t, in.Close())
	}
	in, err := feed.NewInput(t.Context(), bytes.NewReader(made(t, []nested{{}})), "-")
	must(t, err)
	if _, err := Format.Open(t.Context(), in, feed.Options{Columns: "time=t"}); err == nil || !strings.Contains(err.Error(), "nothing names the topic") {
		t.Errorf("error %v", err)
	}
	must(t, in.Close())
}

func TestContext(t *testing.T) {
	reason := errors.New("the user had enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	in, err := feed.NewInput(ctx, bytes.NewReader(made(t, ticks(100), pq.MaxRowsPerRowGroup(10))), "x")
	must(t, err)
	src, err := Format.Open(ctx, in, feed.Options{})
	must(t, err)
	_, err = src.Next()
	must(t, err)
	cancel(reason)
	for range 20 {
		if _, err = src.Next(); err != nil {
			break
		}
	}
	if !errors.Is(err, reason) {
		t.Errorf("error %v", err)
	}
	must(t, in.Close())
}
