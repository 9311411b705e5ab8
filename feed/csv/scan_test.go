package csv

import (
	"bytes"
	stdcsv "encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

// scanned is a record as the scanner gives it.
type scanned struct {
	body   string
	line   int
	fields []string
}

// scanAll reads to the end and gathers the bad places.
func scanAll(t testing.TB, s *scanner) (list []scanned, bad []string) {
	t.Helper()
	for {
		err := s.next()
		var record *feed.BadRecord
		switch {
		case err == io.EOF:
			return list, bad
		case errors.As(err, &record):
			bad = append(bad, record.Error())
			continue
		case err != nil:
			t.Fatal(err)
		}
		r := scanned{body: string(s.body), line: s.line}
		if len(s.fields) != min(s.count, s.want) {
			t.Fatalf("%d fields marked of %d", len(s.fields), s.count)
		}
		for _, f := range s.fields {
			b := s.body[f.from:f.to]
			if len(b) > 0 && b[0] == '"' {
				b, _ = unquote(b, nil)
			}
			r.fields = append(r.fields, string(b))
		}
		list = append(list, r)
	}
}

func TestScanner(t *testing.T) {
	tests := []struct {
		name, in string
		want     []scanned
		bad      []string
		final    string
		ends     lineEnds
		blank    int64
	}{
		{"plain", "a,b\nc,d\n", []scanned{{"a,b", 1, []string{"a", "b"}}, {"c,d", 2, []string{"c", "d"}}}, nil, finalYes, endLF, 0},
		{"no last end", "a,b\nc,d", []scanned{{"a,b", 1, []string{"a", "b"}}, {"c,d", 2, []string{"c", "d"}}}, nil, finalNo, endLF, 0},
		{"crlf", "a,b\r\nc,\r\n", []scanned{{"a,b", 1, []string{"a", "b"}}, {"c,", 2, []string{"c", ""}}}, nil, finalYes, endCRLF, 0},
		{"mixed", "a\r\nb\n", []scanned{{"a", 1, []string{"a"}}, {"b", 2, []string{"b"}}}, nil, finalYes, endLF | endCRLF, 0},
		{"last cr", "a\r\nb\r", []scanned{{"a", 1, []string{"a"}}, {"b", 2, []string{"b"}}}, nil, finalCR, endCRLF, 0},
		{"quoted last cr", "a\r\n\"b\"\r", []scanned{{"a", 1, []string{"a"}}, {`"b"`, 2, []string{"b"}}}, nil, finalCR, endCRLF, 0},
		{"blank lines", "\na\n\r\n\nb\n\n", []scanned{{"a", 2, []string{"a"}}, {"b", 5, []string{"b"}}}, nil, finalYes, endLF | endCRLF, 4},
		{"quotes", "\"a,b\",\"c\"\"d\",\"\"\n", []scanned{{`"a,b","c""d",""`, 1, []string{"a,b", `c"d`, ""}}}, nil, finalYes, endLF, 0},
		{"quotes at the end", `"a","b"`, []scanned{{`"a","b"`, 1, []string{"a", "b"}}}, nil, finalNo, 0, 0},
		{"line end in quotes", "x,\"a\r\nb\n\"\r\ny,z\r\n", []scanned{{"x,\"a\r\nb\n\"", 1, []string{"x", "a\r\nb\n"}}, {"y,z", 4, []string{"y", "z"}}}, nil, finalYes, endCRLF, 0},
		{"bare quote", "a\"b,c\nd,e\n", []scanned{{"d,e", 2, []string{"d", "e"}}}, []string{"line 1: " + errBareQuote.Error()}, finalYes, endLF, 0},
		{"text behind a quote", "\"a\"b,c\nd,e\n", []scanned{{"d,e", 2, []string{"d", "e"}}}, []string{"line 1: " + errQuoteTail.Error()}, finalYes, endLF, 0},
		{"not closed", "a,b\nc,\"d\ne,f\ng,h\n", []scanned{{"a,b", 1, []string{"a", "b"}}, {"e,f", 3, []string{"e", "f"}}, {"g,h", 4, []string{"g", "h"}}}, []string{"line 2: " + errUnterminated.Error()}, finalYes, endLF, 0},
		{"not closed in the last line", "a\n\"d", []scanned{{"a", 1, []string{"a"}}}, []string{"line 2: " + errUnterminated.Error()}, finalNo, endLF, 0},
		{"lone cr is data", "a\rb,c\n", []scanned{{"a\rb,c", 1, []string{"a\rb", "c"}}}, nil, finalYes, endLF, 0},
		{"nothing", "", nil, nil, finalYes, 0, 0},
		{"delimiters alone", ",\n", []scanned{{",", 1, []string{"", ""}}}, nil, finalYes, endLF, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for name, r := range map[string]io.Reader{
				"whole": strings.NewReader(tt.in), "by byte": iotest.OneByteReader(strings.NewReader(tt.in)),
				"end with data": iotest.DataErrReader(strings.NewReader(tt.in)),
			} {
				s := newScanner(r, ',', 100)
				got, bad := scanAll(t, s)
				if !slices.EqualFunc(got, tt.want, func(a, b scanned) bool {
					return a.body == b.body && a.line == b.line && slices.Equal(a.fields, b.fields)
				}) {
					t.Errorf("%s: records %+v, want %+v", name, got, tt.want)
				}
				if !slices.Equal(bad, tt.bad) {
					t.Errorf("%s: bad %q, want %q", name, bad, tt.bad)
				}
				if s.final != tt.final || s.ends != tt.ends || s.blank != tt.blank {
					t.Errorf("%s: final %q, ends %d, blank %d", name, s.final, s.ends, s.blank)
				}
			}
		})
	}
}

// TestScannerTooLong: a record of the longest size passes, one byte more is a
// bad place, with and without quotes, and what follows is read.
func TestScannerTooLong(t *testing.T) {
	for _, tt := range []struct {
		name, open, close string
		size              int
		bad               bool
	}{
		{"longest", "", "", wire.BodySizeMax, false},
		{"longest with crlf", "", "\r", wire.BodySizeMax, false},
		{"longer", "", "", wire.BodySizeMax + 1, true},
		{"much longer", "", "", 2*wire.BodySizeMax + 5, true},
		{"longest quoted", `"`, `"`, wire.BodySizeMax - 2, false},
		{"longer quoted", `"`, `"`, wire.BodySizeMax - 1, true},
		{"much longer quoted", `"`, `"`, 2 * wire.BodySizeMax, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := io.MultiReader(strings.NewReader("a\n"+tt.open), io.LimitReader(letters{}, int64(tt.size)), strings.NewReader(tt.close+"\nb\n"))
			s := newScanner(in, ',', 1)
			got, bad := scanAll(t, s)
			if tt.bad {
				if len(got) != 2 || got[1].body != "b" || got[1].line != 3 || !slices.Equal(bad, []string{"line 2: " + errTooLong.Error()}) {
					t.Errorf("%d records, bad %q", len(got), bad)
				}
			} else if len(got) != 3 || len(bad) != 0 {
				t.Errorf("%d records, bad %q", len(got), bad)
			}
			if len(s.buf) > 4*wire.BodySizeMax {
				t.Errorf("the buffer has grown to %d bytes", len(s.buf))
			}
		})
	}
}

// letters is an endless text without line ends.
type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestScannerReadError(t *testing.T) {
	reason := errors.New("disk on fire")
	for _, text := range []string{"a\nb", "a\n\"b", "a\n\"b\"", "a\n"} {
		s := newScanner(io.MultiReader(strings.NewReader(text), iotest.ErrReader(reason)), ',', 1)
		must(t, s.next())
		for range 2 {
			if err := s.next(); !errors.Is(err, reason) {
				t.Errorf("%q: error %v", text, err)
			}
		}
	}
}

// FuzzScanner holds the scanner to encoding/csv up to the first record that
// either finds bad, and to itself under short reads.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		"a,b\nc,d\n", "\"a\",\"b\"\"c\"\r\n\r\nx,\"y\nz\"", "a\"b\n", "\"a\"b\n", "\"", "\"\"", "a\r", "\"a\"\r", ",\"\n\r\n\",\r\n", "\r\n\r", "\"\"\"\n\"\"\"\n",
	} {
		f.Add([]byte(seed), byte(','))
	}
	f.Fuzz(func(t *testing.T, text []byte, delim byte) {
		if !bytes.Contains([]byte(",;\t|"), []byte{delim}) {
			return
		}
		s := newScanner(bytes.NewReader(text), delim, len(text)+1)
		got, bad := scanAll(t, s)
		short, shortBad := scanAll(t, newScanner(iotest.OneByteReader(bytes.NewReader(text)), delim, len(text)+1))
		if len(short) != len(got) || !slices.Equal(bad, shortBad) {
			t.Fatalf("short reads: %+v %q, else %+v %q", short, shortBad, got, bad)
		}
		std := stdcsv.NewReader(bytes.NewReader(text))
		std.Comma, std.FieldsPerRecord = rune(delim), -1
		for i := 0; ; i++ {
			want, err := std.Read()
			if err == io.EOF {
				if len(bad) == 0 && i != len(got) {
					t.Fatalf("%d records, encoding/csv has %d", len(got), i)
				}
				return
			}
			if err != nil {
				if len(bad) == 0 {
					t.Fatalf("encoding/csv finds record %d bad: %v", i, err)
				}
				return
			}
			if i >= len(got) {
				t.Fatalf("no record %d, encoding/csv has %q; bad %q", i, want, bad)
			}
			fields := got[i].fields
			for j := range fields {
				// encoding/csv writes line ends inside fields as LF.
				fields[j] = strings.ReplaceAll(fields[j], "\r\n", "\n")
			}
			if !slices.Equal(fields, want) {
				t.Fatalf("record %d is %q, encoding/csv has %q", i, fields, want)
			}
			if line, _ := std.FieldPos(0); line != got[i].line {
				t.Fatalf("record %d begins on line %d, encoding/csv says %d", i, got[i].line, line)
			}
		}
	})
}
