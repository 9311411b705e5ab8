package raw

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

func open(t testing.TB, f *feed.Format, r io.Reader, opts feed.Options) feed.Source {
	t.Helper()
	src, err := f.Open(context.Background(), &feed.Input{Reader: r, Name: "-"}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// readAll returns the bodies and, for bad places, their errors' texts.
func readAll(t testing.TB, src feed.Source) []string {
	t.Helper()
	var got []string
	for {
		r, err := src.Next()
		if err == io.EOF {
			return got
		}
		var bad *feed.BadRecord
		if errors.As(err, &bad) {
			got = append(got, "BAD "+bad.Error())
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if string(r.Topic) != "T" || r.Flags != wire.FlagNoEventTime || r.Event != r.Receive || r.Event == 0 || r.Kind != wire.KindData {
			t.Fatalf("record %+v", r)
		}
		got = append(got, string(r.Body))
	}
}

var topic = feed.Options{Topic: "T"}

func TestLines(t *testing.T) {
	text := "one\r\n\n{\"three\":3}\nfour"
	want := []string{"one", "", `{"three":3}`, "four"}
	src := open(t, &Lines, strings.NewReader(text), topic)
	if got := readAll(t, src); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	enc := src.Encoding()
	if enc.Format != "lines" || enc.Detail["line_end"] != "mixed" || enc.Detail["final_newline"] != "no" {
		t.Errorf("encoding %v", enc)
	}
	long := strings.Repeat("x", wire.BodySizeMax+2)
	got := readAll(t, open(t, &Lines, strings.NewReader("a\n"+long+"\nb\n"), topic))
	if !slices.Equal(got, []string{"a", "BAD line 2: line is longer than 16777215 bytes", "b"}) {
		t.Errorf("%d records", len(got))
	}
}

func frame(preset string, bodies ...string) []byte {
	var b []byte
	for _, body := range bodies {
		switch preset {
		case "u16be":
			b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
		case "u16le":
			b = binary.LittleEndian.AppendUint16(b, uint16(len(body)))
		case "u32le":
			b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
		default:
			b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
		}
		b = append(b, body...)
	}
	return b
}

func TestLengthPrefixed(t *testing.T) {
	want := []string{"one", "", strings.Repeat("x", 60000), "\x00\n"}
	for _, preset := range []string{"", "u32be", "u32le", "u16be", "u16le"} {
		t.Run("preset="+preset, func(t *testing.T) {
			opts := topic
			opts.Preset = preset
			src := open(t, &LengthPrefixed, bytes.NewReader(frame(preset, want...)), opts)
			if got := readAll(t, src); !slices.Equal(got, want) {
				t.Errorf("%d records", len(got))
			}
			if preset == "" {
				preset = "u32be"
			}
			if enc := src.Encoding(); enc.Format != "length-prefixed" || enc.Detail["prefix"] != preset {
				t.Errorf("encoding %v", enc)
			}
			src = open(t, &LengthPrefixed, iotest.OneByteReader(bytes.NewReader(frame(preset, want...))), feed.Options{Topic: "T", Preset: preset})
			if got := readAll(t, src); !slices.Equal(got, want) {
				t.Errorf("byte by byte: %d records", len(got))
			}
		})
	}
	longest := strings.Repeat("y", wire.BodySizeMax)
	if got := readAll(t, open(t, &LengthPrefixed, bytes.NewReader(frame("", longest, "b")), topic)); !slices.Equal(got, []string{longest, "b"}) {
		t.Error("the longest record")
	}
}

func TestLengthPrefixedBad(t *testing.T) {
	good := frame("", "abc", "de")
	for cut := 1; cut < len(good); cut++ {
		got := readAll(t, open(t, &LengthPrefixed, bytes.NewReader(good[:cut]), topic))
		switch {
		case cut == 7:
			if !slices.Equal(got, []string{"abc"}) {
				t.Errorf("cut at %d: %q", cut, got)
			}
		case cut < 7:
			if len(got) != 1 || !strings.HasPrefix(got[0], "BAD offset 0: the input ends") {
				t.Errorf("cut at %d: %q", cut, got)
			}
		default:
			if len(got) != 2 || !strings.HasPrefix(got[1], "BAD offset 7: the input ends") {
				t.Errorf("cut at %d: %q", cut, got)
			}
		}
	}
	long := frame("", "abc", strings.Repeat("z", wire.BodySizeMax+1), "de")
	got := readAll(t, open(t, &LengthPrefixed, bytes.NewReader(long), topic))
	if len(got) != 3 || got[0] != "abc" || !strings.HasPrefix(got[1], "BAD offset 7: 16777216 bytes: the length is more") || got[2] != "de" {
		t.Errorf("too long: %q", got)
	}
	got = readAll(t, open(t, &LengthPrefixed, strings.NewReader("\xff\xff\xff\xffrest"), topic))
	if len(got) != 1 || !strings.Contains(got[0], "right --preset?") {
		t.Errorf("huge length: %q", got)
	}
	broken := errors.New("broken")
	src := open(t, &LengthPrefixed, io.MultiReader(bytes.NewReader(good[:9]), iotest.ErrReader(broken)), topic)
	if _, err := src.Next(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := src.Next(); !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
	}
}

// TestReceiveTime: a record's time is that of the read that completed it.
func TestReceiveTime(t *testing.T) {
	for _, f := range []*feed.Format{&Lines, &LengthPrefixed} {
		text := "abc\nde\n"
		if f == &LengthPrefixed {
			text = string(frame("u16be", "abc", "de"))
		}
		src := open(t, f, iotest.OneByteReader(strings.NewReader(text)), feed.Options{Topic: "T", Preset: map[bool]string{true: "u16be"}[f == &LengthPrefixed]})
		var clock wire.Nanos
		tick := func() wire.Nanos { clock++; return clock }
		switch s := src.(type) {
		case *lineSource:
			s.now = tick
		case *prefixedSource:
			s.now = tick
		}
		for _, want := range []wire.Nanos{wire.Nanos(strings.Index(text, "c") + 1), wire.Nanos(len(text))} {
			if f == &Lines && want < wire.Nanos(len(text)) {
				want++ // the line end
			}
			r, err := src.Next()
			if err != nil || r.Receive != want || r.Event != want {
				t.Errorf("%s: %+v, %v, want time %d", f.Name, r, err, want)
			}
		}
	}
}

func TestOpenErrors(t *testing.T) {
	for _, tt := range []struct {
		format *feed.Format
		opts   feed.Options
		want   string
	}{
		{&Lines, feed.Options{}, "lines: the records do not name a topic; give it with --topic"},
		{&Lines, feed.Options{Topic: strings.Repeat("t", 256)}, "topic must have 1 to 255 bytes"},
		{&Lines, feed.Options{Topic: "T", Preset: "u16le"}, "lines: --preset has no meaning"},
		{&Lines, feed.Options{Topic: "T", Columns: "time=a"}, "--columns has no meaning"},
		{&Lines, feed.Options{Topic: "T", Header: "no"}, "--header has no meaning"},
		{&LengthPrefixed, feed.Options{Topic: "T", Date: "2024-01-01"}, "length-prefixed: --date has no meaning"},
		{&LengthPrefixed, feed.Options{Topic: "T", Preset: "u8"}, `unknown preset "u8"; known: u32be, u32le, u16be, u16le`},
		{&LengthPrefixed, feed.Options{}, "give it with --topic"},
	} {
		_, err := tt.format.Open(t.Context(), &feed.Input{}, tt.opts)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want %q", tt.opts, err, tt.want)
		}
	}
	if _, err := Lines.Open(t.Context(), &feed.Input{}, feed.Options{Topic: "T", Header: "auto"}); err != nil {
		t.Error(err)
	}
	if Lines.Detect([]byte("a\n")) != 0 || LengthPrefixed.Detect([]byte("\x00\x00\x00\x01a")) != 0 {
		t.Error("recognised by content")
	}
}

func TestDecode(t *testing.T) {
	for body, want := range map[string]feed.Field{
		"héllo\t": {Name: "text", Value: "héllo\t"}, "": {Name: "text", Value: ""}, "\x00a": {Name: "hex", Value: "0061"}, "\xff": {Name: "hex", Value: "ff"},
	} {
		got, err := Lines.Decode(nil, feed.Encoding{}, 0, []byte(body))
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%q: %v, %v", body, got, err)
		}
	}
}

func TestNextAllocs(t *testing.T) {
	for _, f := range []*feed.Format{&Lines, &LengthPrefixed} {
		text := strings.Repeat("some line\n", 1000)
		if f == &LengthPrefixed {
			text = strings.Repeat(string(frame("", "some record")), 1000)
		}
		src := open(t, f, strings.NewReader(text), topic)
		if n := testing.AllocsPerRun(900, func() {
			if _, err := src.Next(); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations a record", f.Name, n)
		}
	}
}

func FuzzLengthPrefixed(f *testing.F) {
	f.Add(frame("u16be", "abc", "", "de"), "u16be")
	f.Add(frame("", "abc", "", "de"), "u32be")
	f.Fuzz(func(t *testing.T, content []byte, preset string) {
		src, err := LengthPrefixed.Open(context.Background(), &feed.Input{Reader: bytes.NewReader(content)}, feed.Options{Topic: "T", Preset: preset})
		if err != nil {
			return
		}
		var good []string
		whole := true
		for {
			r, err := src.Next()
			if err == io.EOF {
				break
			}
			var bad *feed.BadRecord
			if errors.As(err, &bad) {
				whole = false
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			good = append(good, string(r.Body))
		}
		if again := frame(src.Encoding().Detail["prefix"], good...); whole && !bytes.Equal(again, content) {
			t.Fatalf("%x made again is %x", content, again)
		}
	})
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\n\nb"))
	f.Fuzz(func(t *testing.T, content []byte) {
		got := readAll(t, open(t, &Lines, bytes.NewReader(content), topic))
		want := bytes.Count(content, []byte{'\n'})
		if len(content) > 0 && content[len(content)-1] != '\n' {
			want++
		}
		if len(got) != want {
			t.Fatalf("%d records of %d lines", len(got), want)
		}
	})
}

func benchmark(b *testing.B, f *feed.Format, content []byte, records int) {
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		src := open(b, f, bytes.NewReader(content), topic)
		n := 0
		for {
			if _, err := src.Next(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != records {
			b.Fatalf("%d records, want %d", n, records)
		}
	}
	b.ReportMetric(float64(b.N)*float64(records)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkNext(b *testing.B) {
	const records = 1 << 18
	body := strings.Repeat("x", 100)
	b.Run("format=lines", func(b *testing.B) {
		benchmark(b, &Lines, bytes.Repeat([]byte(body+"\n"), records), records)
	})
	b.Run("format=length-prefixed", func(b *testing.B) {
		benchmark(b, &LengthPrefixed, bytes.Repeat(frame("", body), records), records)
	})
}
