package itch

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/wire"
)

const fileName = "08222023.NASDAQ_ITCH50"

// list writes topics and kinds of records, one a word.
func list(recs []pcaptest.Record) []string {
	var out []string
	for _, r := range recs {
		out = append(out, r.Topic+":"+r.Kind.String())
	}
	return out
}

// TestTopics holds that a stock's name is learned from whatever names it, and that
// a directory message gives a locate code to another stock.
func TestTopics(t *testing.T) {
	b := fileOf(of('S', 0, 1, ""), of('D', 7, 2, ""), of('V', 0, 2, ""), of('R', 7, 3, "AAPL"), of('D', 7, 4, ""),
		of('A', 8, 5, "MSFT"), of('E', 8, 6, ""), of('L', 0x1234, 7, "BRK.A"), of('X', 0x1234, 8, ""),
		of('R', 7, 9, "TSLA"), of('U', 7, 10, ""), of('P', 9, 11, "  "), of('B', 9, 12, ""), of('P', 7, 13, "\x00"),
		of('z', 7, 14, ""), of('Q', 7, 15, "TSLA"), of('I', 7, 16, "TSLA"), of('N', 7, 17, "TSLA"))
	recs, bad, err := pcaptest.ReadAll(t, mustOpen(t, b, fileName, feed.Options{Topic: "x/", Dataset: "XPSX"}))
	if err != io.EOF || len(bad) > 0 {
		t.Fatal(bad, err)
	}
	want := []string{"@system:system", "#7:order", "@system:statistic", "AAPL:definition", "AAPL:order",
		"MSFT:order", "MSFT:order", "BRK.A:status", "BRK.A:order", "TSLA:definition", "TSLA:order", "#9:trade",
		"#9:trade", "TSLA:trade", "TSLA:data", "TSLA:trade", "TSLA:imbalance", "TSLA:quote"}
	for i := range want {
		want[i] = "x/XPSX." + want[i]
	}
	if d := cmp.Diff(want, list(recs)); d != "" {
		t.Error(d)
	}
	for i, r := range recs {
		if r.Event != wire.Nanos(day)+wire.Nanos([]uint64{1, 2, 2}[min(i, 2)]) && i < 3 || r.Flags != wire.FlagNoReceiveTime {
			t.Errorf("record %d: %d, flags %v", i, r.Event, r.Flags)
		}
	}
}

// TestDates holds how the day of a file is found.
func TestDates(t *testing.T) {
	b := fileOf(of('S', 0, uint64(9*time.Hour), ""))
	for _, tt := range []struct {
		name string
		opts feed.Options
		want string // the event, "" refused
	}{
		{fileName, feed.Options{}, "2023-08-22T13:00:00.000000000Z"},
		{"S010220-v50.txt", feed.Options{}, "2020-01-02T14:00:00.000000000Z"},
		{"20200102.itch", feed.Options{Date: "2020-07-01"}, "2020-07-01T13:00:00.000000000Z"},
		{"-", feed.Options{Date: "2020-07-01", Zone: "UTC"}, "2020-07-01T09:00:00.000000000Z"},
		// Nine hours after midnight, on the days on which clocks change.
		{"20240310.itch", feed.Options{}, "2024-03-10T14:00:00.000000000Z"},
		{"20241103.itch", feed.Options{}, "2024-11-03T13:00:00.000000000Z"},
		{"file.itch", feed.Options{}, ""},
		{"-", feed.Options{}, ""},
		{"20200101-20200102.itch", feed.Options{}, ""},
		{fileName, feed.Options{Date: "01/02/2020"}, ""},
		{fileName, feed.Options{Date: "1969-12-31"}, ""},
		{fileName, feed.Options{Zone: "Mars/Base"}, ""},
		{fileName, feed.Options{AB: "merge"}, ""},
		{fileName, feed.Options{Topic: strings.Repeat("x", 243)}, ""},
		{fileName, feed.Options{Dataset: "X NAS"}, ""},
	} {
		src, err := Format.Open(t.Context(), input(b, tt.name), tt.opts)
		if err != nil {
			if tt.want != "" {
				t.Errorf("%s %+v: %v", tt.name, tt.opts, err)
			}
			continue
		}
		recs, _, _ := pcaptest.ReadAll(t, src)
		if len(recs) != 1 || recs[0].Event.String() != tt.want {
			t.Errorf("%s %+v: %v, want %q", tt.name, tt.opts, recs, tt.want)
		}
	}
}

// TestBadFile holds what is said of places that are no message, and where reading
// goes on behind them.
func TestBadFile(t *testing.T) {
	add, del := of('A', 1, 5, "AAPL"), of('D', 1, 6, "")
	good := fileOf(add, del)
	late := of('D', 1, dayMax, "")
	for _, tt := range []struct {
		name string
		in   []byte
		n    int
		want []error
		bad  []string
	}{
		{"short message", slices.Concat(good, fileOf(add[:35]), good), 4, []error{ErrLength},
			[]string{"offset 59: itch: bad message length: 35 bytes for type 'A'; 37 bytes skipped"}},
		{"tiny message", slices.Concat(good, fileOf(add[:5]), good), 4, []error{ErrLength},
			[]string{"offset 59: itch: bad message length: 5 bytes for type 'A'; 7 bytes skipped"}},
		{"time", slices.Concat(good, fileOf(late), good), 4, []error{ErrTime},
			[]string{"offset 59: itch: time is not one of a day: 19 bytes for type 'D'; 21 bytes skipped"}},
		{"wrong length", slices.Concat(good, []byte{0, 9, 'A'}, good), 4, []error{ErrLength},
			[]string{"offset 59: itch: bad message length: 9 bytes for type 'A'; 3 bytes skipped"}},
		{"garbage at the end", slices.Concat(good, []byte{0, 1, 'A', 0, 0}), 2, []error{ErrLength},
			[]string{"offset 59: itch: bad message length: 1 bytes for type 'A'; 5 bytes skipped"}},
		{"garbage before one message", slices.Concat(good, []byte{0, 1, 'A'}, fileOf(del)), 3, []error{ErrLength},
			[]string{"offset 59: itch: bad message length: 1 bytes for type 'A'; 3 bytes skipped"}},
		{"cut in a message", good[:len(good)-1], 1, []error{ErrTruncated},
			[]string{"offset 38: itch: input breaks off: only 20 bytes of a message are left"}},
		{"cut in a length", append(slices.Clone(good), 0), 2, []error{ErrTruncated},
			[]string{"offset 59: itch: input breaks off: only 1 bytes of a message are left"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, half := range []bool{false, true} {
				in := input(tt.in, fileName)
				if half {
					in.Reader = iotest.OneByteReader(in.Reader)
				}
				src, err := Format.Open(t.Context(), in, feed.Options{})
				if err != nil {
					t.Fatal(err)
				}
				recs, bad, err := pcaptest.ReadAll(t, src)
				if err != io.EOF || len(recs) != tt.n || len(bad) != len(tt.want) {
					t.Fatalf("%d records, bad %v, %v", len(recs), bad, err)
				}
				for i := range bad {
					if !errors.Is(bad[i], tt.want[i]) || bad[i].Error() != tt.bad[i] {
						t.Errorf("bad %q, want %q", bad[i], tt.bad[i])
					}
				}
			}
		})
	}
}

// TestEndOfSession holds that a length of 0 is noted and read over.
func TestEndOfSession(t *testing.T) {
	good := fileOf(of('S', 0, 1, ""))
	src := mustOpen(t, slices.Concat(good, []byte{0, 0}, good, []byte{0, 0}), fileName, feed.Options{})
	recs, bad, err := pcaptest.ReadAll(t, src)
	if notes := src.(feed.Noter).Notes(); len(recs) != 2 || len(bad) > 0 || err != io.EOF || !slices.Equal(notes, []string{"ends of session: 2"}) {
		t.Error(recs, bad, err, notes)
	}
}

func TestReaderErrors(t *testing.T) {
	good := fileOf(of('S', 0, 1, ""))
	failed := errors.New("disk on fire")
	for _, tt := range []struct {
		err   error
		final error
		bad   int
	}{{failed, failed, 0}, {io.ErrUnexpectedEOF, io.EOF, 1}} {
		in := input(good, fileName)
		in.Reader = io.MultiReader(in.Reader, iotest.ErrReader(tt.err))
		src, err := Format.Open(t.Context(), in, feed.Options{})
		if err != nil {
			t.Fatal(err)
		}
		recs, bad, err := pcaptest.ReadAll(t, src)
		if len(recs) != 1 || len(bad) != tt.bad || !errors.Is(err, tt.final) {
			t.Errorf("%v: %d records, %v, %v", tt.err, len(recs), bad, err)
		}
	}
	if _, err := Format.Open(t.Context(), input(nil, fileName), feed.Options{}); !errors.Is(err, ErrEmpty) {
		t.Errorf("empty: %v", err)
	}
}

func TestDetect(t *testing.T) {
	add := of('A', 1, 5, "AAPL")
	for _, tt := range []struct {
		name string
		in   []byte
		want int
	}{
		{"none", nil, 0}, {"one", fileOf(add), sureOne}, {"two", fileOf(add, add), sureTwo},
		{"many", fileOf(add, add, add, add), sureMany}, {"cut", fileOf(add, add)[:60], sureOne},
		{"unknown type", fileOf(of('z', 0, 0, "")), 0}, {"text", []byte("time,price\n1,2\n"), 0},
		{"zeros", make([]byte, 100), 0},
		{"mold", moldCapture(fileOf(add, add), 1), 95},
		{"pcap of others", (&pcaptest.File{}).Bytes(), 0},
	} {
		if got := Format.Detect(tt.in); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	for _, tt := range []struct {
		name string
		in   []byte
		want int
	}{
		{"good", moldPacket(session, 1, add), 95}, {"heartbeat", moldControl(session, 1, 0), 40},
		{"end", moldControl(session, 1, endOfSession), 40}, {"too short", moldPacket(session, 1)[:19], 0},
		{"session", moldPacket("00\x00010059B", 1, add), 0}, {"count", moldControl(session, 1, 2), 0},
		{"heartbeat with more", append(moldControl(session, 1, 0), 1), 0}, {"tail", append(moldPacket(session, 1, add), 1), 0},
		{"other messages", moldPacket(session, 1, of('z', 0, 0, "")), 0},
	} {
		if got := detectMold(tt.in); got != tt.want {
			t.Errorf("mold, %s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestFileAllocs(t *testing.T) {
	file := content(t, dayFile)
	in := &feed.Input{Reader: &repeated{content: file, times: 4}, Name: dayFile, Head: file[:feed.HeadSize]}
	src, err := Format.Open(t.Context(), in, feed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	next := func() {
		if _, err := src.Next(); err != nil {
			t.Fatal(err)
		}
	}
	for range 10_000 {
		next()
	}
	if n := testing.AllocsPerRun(100, func() {
		for range 200 {
			next()
		}
	}); n != 0 {
		t.Errorf("%v allocations in 200 records", n)
	}
}

func TestMoldAllocs(t *testing.T) {
	pcaptest.NoAllocs(t, Format, moldCapture(content(t, dayFile), 7), feed.Options{})
}

// FuzzSource holds for any file or capture: nothing panics, each record is one
// that wire can store and decodes, the source ends.
func FuzzSource(f *testing.F) {
	add, del := of('A', 1, 5, "AAPL"), of('D', 1, 6, "")
	f.Add(fileOf(add, del, of('z', 9, 9, "")), "2024-03-10", "")
	f.Add(slices.Concat(fileOf(add), []byte{0, 0, 0, 1, 2}, fileOf(del, del)), "2024-11-03", "")
	f.Add(moldCapture(fileOf(add, del, del), 2), "", "merge")
	f.Add((&pcaptest.File{}).Bytes(), "", "keep")
	f.Fuzz(func(t *testing.T, in []byte, date, ab string) {
		pcaptest.Hold(t, Format, in, feed.Options{Date: date, AB: ab}, nil)
	})
}
