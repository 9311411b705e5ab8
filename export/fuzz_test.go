package export

import (
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed/csv"
	"github.com/tapedeck/tapedeck/feed/render"
	"github.com/tapedeck/tapedeck/wire"
)

// Whatever stands in cells, a reader of CSV finds the same cells again.
func FuzzCells(f *testing.F) {
	f.Add("plain", "1.5", "")
	f.Add(`a "quoted" word`, ",", "\r\n")
	f.Add(`"`, `""`, "\n\"")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		cells := []string{a, b, c}
		var line []byte
		for i, cell := range cells {
			if i > 0 {
				line = append(line, ',')
			}
			line = appendCell(line, cell)
		}
		fields, err := csv.Decode(nil, wire.Encoding{}, 0, line)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if len(fields) != len(cells) {
			t.Fatalf("%q: %d cells", line, len(fields))
		}
		for i, field := range fields {
			if _, number := field.Value.(float64); number {
				continue // the cell has the same number, perhaps written in another way
			}
			if got := string(render.AppendValue(nil, field.Value)); got != cells[i] {
				t.Errorf("%q: cell %d is %q, want %q", line, i, got, cells[i])
			}
		}
	})
}

// The end of a topic that is an address is found behind any prefix, and nothing
// else is taken for one.
func FuzzDestination(f *testing.F) {
	f.Add("raw.233.200.79.0:61000")
	f.Add("x[ff05::1]:61000")
	f.Add("10.0.0.1:")
	f.Fuzz(func(t *testing.T, topic string) {
		to, ok := destination(topic)
		if ok && (!to.IsValid() || !strings.Contains(topic, ":")) {
			t.Errorf("%q: %v", topic, to)
		}
	})
}
