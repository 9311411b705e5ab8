package csv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/feed/colmap"
)

// sampleRows bounds how many records of the head are looked at.
const sampleRows = 200

var (
	errBinary = errors.New("csv: this is not text")
	errUTF16  = errors.New("csv: this is UTF-16; convert it to UTF-8 first")
	errLong   = errors.New("csv: the first line does not end within 64 KiB")
)

var byteOrderMark = []byte("\xef\xbb\xbf")

// delimiters are those that are recognised. Where the records are as even with
// two of them, the one that gives more columns wins, then the earlier: a comma
// is last, since it may be a decimal comma.
var delimiters = []byte{'\t', ';', '|', ','}

// sample is what the head of an input shows.
type sample struct {
	bom     bool
	delim   byte
	even    float64    // share of the head's records that have the same number of columns
	columns int        // how many that is; with a header, how many it names
	rows    [][]string // the first records, a header's included, without quotes
	line    string     // the first record as it stands
	header  bool       // the first record names the columns
	names   []string   // the columns' names, of the header or a preset; else nil
}

// records returns the sample's rows of data that have the right length.
func (s *sample) records() [][]string {
	rows := s.rows
	if s.header {
		rows = rows[1:]
	}
	var good [][]string
	for _, row := range rows {
		if len(row) == s.columns {
			good = append(good, row)
		}
	}
	return good
}

// ref writes column i as a column map would.
func (s *sample) ref(i int) string {
	if !s.header {
		return colmap.Path{Place: i + 1}.String()
	}
	name := s.names[i]
	for j, other := range s.names {
		if j != i && strings.EqualFold(strings.TrimSpace(other), strings.TrimSpace(name)) {
			return colmap.Path{Place: i + 1}.String()
		}
	}
	return colmap.Path{Names: []string{name}}.String()
}

// describe says which columns the file has, for errors.
func (s *sample) describe() string {
	if s.header {
		return "the columns are " + strings.Join(s.names, ", ")
	}
	text := fmt.Sprintf("the file has %d columns (#1 to #%d) and no header", s.columns, s.columns)
	if len(s.rows) > 0 {
		text += "; its first record is " + strings.Join(s.rows[0], ", ")
	}
	return text
}

// takeSample looks at head, which is the whole input where whole is set.
func takeSample(head []byte, whole bool) (*sample, error) {
	if bytes.HasPrefix(head, []byte{0xff, 0xfe}) || bytes.HasPrefix(head, []byte{0xfe, 0xff}) {
		return nil, errUTF16
	}
	text, bom := bytes.CutPrefix(head, byteOrderMark)
	if !isText(text) {
		return nil, errBinary
	}
	best := sampleWith(text, ',', whole)
	for _, delim := range delimiters {
		s := sampleWith(text, delim, whole)
		if s.columns >= 2 && (best.columns < 2 || s.even > best.even ||
			s.even == best.even && s.columns > best.columns) {
			best = s
		}
	}
	best.bom = bom
	if len(best.rows) == 0 && !whole {
		return nil, errLong
	}
	return best, nil
}

// isText reports whether b has no control characters but tabs and line ends.
// It need not be UTF-8: bodies are carried as they are.
func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
			return false
		}
	}
	return true
}

// sampleWith splits the text with one delimiter.
func sampleWith(text []byte, delim byte, whole bool) *sample {
	s := &sample{delim: delim}
	scan := scanner{
		delim: [1]byte{delim}, want: len(text) + 1, lineNext: 1, final: finalYes,
		buf: text, end: len(text), quote: -1, readErr: io.EOF,
	}
	counts, total := map[int]int{}, 0
	for total < sampleRows {
		err := scan.next()
		if err == io.EOF || !whole && scan.pos == scan.end && scan.final != finalYes {
			break // the end, or a record that the head cuts off
		}
		total++
		if err != nil {
			if !whole && errors.Is(err, errUnterminated) {
				total-- // the head may end inside the field
				break
			}
			continue
		}
		row := make([]string, scan.count)
		for i := range row {
			row[i] = string(scan.field(i))
		}
		if len(s.rows) == 0 {
			s.line = string(scan.body)
		}
		s.rows = append(s.rows, row)
		counts[len(row)]++
	}
	for columns, n := range counts {
		even := float64(n) / float64(total)
		if even > s.even || even == s.even && columns > s.columns {
			s.even, s.columns = even, columns
		}
	}
	return s
}

// setHeader decides whether the first record is a header. how is Options.Header.
func (s *sample) setHeader(how string, named bool) error {
	switch how {
	case "yes":
		s.header = len(s.rows) > 0
	case "no":
		s.header = false
	case "", "auto":
		s.header = len(s.rows) > 0 && (s.looksLikeHeader() || named)
	default:
		return fmt.Errorf("csv: --header is auto, yes or no, not %q", how)
	}
	if s.header {
		s.names = s.rows[0]
		s.columns = len(s.names)
	}
	return nil
}

// looksLikeHeader: no value of the first record is a number or a time, and one
// is a name that is known, or a later record has a number or a time.
func (s *sample) looksLikeHeader() bool {
	known := false
	for _, name := range s.rows[0] {
		if isNumber(name) || isDateTime(name) || isTod(name) || !utf8.ValidString(name) {
			return false
		}
		if at, _ := (colmap.Names{name}).Time(); at >= 0 {
			known = true
		}
	}
	if known || len(s.rows) == 1 {
		return true
	}
	for _, row := range s.rows[1:] {
		for _, value := range row {
			if isNumber(value) || isDateTime(value) || isTod(value) {
				return true
			}
		}
	}
	return false
}

func isNumber(v string) bool {
	_, err := colmap.Ns.ParseTime([]byte(v))
	return err == nil
}

func isDateTime(v string) bool {
	_, err := colmap.ISO.ParseTime([]byte(v))
	return err == nil
}

func isTod(v string) bool {
	_, err := colmap.Tod.ParseTime([]byte(v))
	return err == nil && strings.Contains(v, ":")
}
