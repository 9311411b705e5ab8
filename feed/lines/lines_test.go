package lines

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tapedeck/tapedeck/wire"
)

func read(t *testing.T, r io.Reader) ([]string, *Reader) {
	t.Helper()
	l := NewReader(r)
	var got []string
	for {
		line, err := l.Next()
		if err == io.EOF {
			return got, l
		}
		if errors.Is(err, ErrTooLong) {
			got = append(got, "TOO LONG")
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(line))
	}
}

func TestNext(t *testing.T) {
	long := strings.Repeat("x", wire.BodySizeMax)
	for _, tt := range []struct {
		name, text, ends, final string
		want                    []string
	}{
		{"empty", "", "lf", "yes", nil},
		{"plain", "a\nb\n", "lf", "yes", []string{"a", "b"}},
		{"blank lines count", "\n\na\n", "lf", "yes", []string{"", "", "a"}},
		{"crlf", "a\r\nb\r\n", "crlf", "yes", []string{"a", "b"}},
		{"mixed", "a\r\nb\n", "mixed", "yes", []string{"a", "b"}},
		{"no last end", "a\nb", "lf", "no", []string{"a", "b"}},
		{"last end cut", "a\r\nb\r", "crlf", "cr", []string{"a", "b"}},
		{"cr inside", "a\rb\n", "lf", "yes", []string{"a\rb"}},
		{"longest", long + "\nb\n", "lf", "yes", []string{long, "b"}},
		{"longest crlf", long + "\r\nb\r\n", "crlf", "yes", []string{long, "b"}},
		{"too long", "a\nx" + long + "\nb\n", "lf", "yes", []string{"a", "TOO LONG", "b"}},
		{"far too long", "a\n" + long + long + "\nb", "lf", "no", []string{"a", "TOO LONG", "b"}},
		{"too long at the end", "a\n" + long + long, "lf", "no", []string{"a", "TOO LONG"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, l := read(t, strings.NewReader(tt.text))
			if !slices.Equal(got, tt.want) {
				t.Errorf("%d lines, want %d", len(got), len(tt.want))
			}
			detail := map[string]string{}
			l.Describe(detail)
			if detail["line_end"] != tt.ends || detail["final_newline"] != tt.final {
				t.Errorf("detail %v", detail)
			}
			if l.Number() != int64(len(tt.want)) {
				t.Errorf("line number %d", l.Number())
			}
			if len(tt.text) < 100 {
				if got, _ := read(t, iotest.OneByteReader(strings.NewReader(tt.text))); !slices.Equal(got, tt.want) {
					t.Errorf("byte by byte: %q", got)
				}
			}
		})
	}
}

func TestNextReadError(t *testing.T) {
	broken := errors.New("broken")
	l := NewReader(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)))
	if line, err := l.Next(); err != nil || string(line) != "a" {
		t.Fatalf("%q, %v", line, err)
	}
	for range 2 {
		if _, err := l.Next(); !errors.Is(err, broken) {
			t.Fatalf("error %v", err)
		}
	}
	if _, err := NewReader(idle{}).Next(); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("error %v", err)
	}
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

// TestNextLive: a line is given before the next byte is asked for.
func TestNextLive(t *testing.T) {
	r := &counted{parts: []string{"a\nb", "c\n"}}
	l := NewReader(r)
	filled := 0
	l.Filled = func() { filled++ }
	if line, _ := l.Next(); string(line) != "a" || r.reads != 1 || filled != 1 {
		t.Errorf("%q after %d reads, %d told", line, r.reads, filled)
	}
	if line, _ := l.Next(); string(line) != "bc" || r.reads != 2 || filled != 2 {
		t.Errorf("%q after %d reads, %d told", line, r.reads, filled)
	}
}

type counted struct {
	parts []string
	reads int
}

func (c *counted) Read(p []byte) (int, error) {
	if c.reads == len(c.parts) {
		return 0, io.EOF
	}
	c.reads++
	return copy(p, c.parts[c.reads-1]), nil
}

func TestNextAllocs(t *testing.T) {
	l := NewReader(strings.NewReader(strings.Repeat("some line\n", 1000)))
	if n := testing.AllocsPerRun(900, func() {
		if _, err := l.Next(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a line", n)
	}
}

func FuzzNext(f *testing.F) {
	f.Add([]byte("a\r\n\nb\r"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, l := read(t, bytes.NewReader(text))
		detail := map[string]string{}
		l.Describe(detail)
		if detail["line_end"] == "mixed" {
			return
		}
		end := map[string]string{"lf": "\n", "crlf": "\r\n"}[detail["line_end"]]
		made := strings.Join(got, end)
		switch {
		case detail["final_newline"] == "cr":
			made += "\r"
		case detail["final_newline"] == "yes" && len(got) > 0:
			made += end
		}
		if made != string(text) {
			t.Fatalf("%q made again is %q (%v)", text, made, detail)
		}
	})
}
