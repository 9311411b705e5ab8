package csv

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

var errNotCSV = errors.New("csv: the body is not one CSV record")

// Decode implements feed.Format. A field is an int64 or float64 where it is
// written just as Go writes that number, nil where it is empty and not quoted,
// else a string. Columns without a name are called column_1, column_2, ...
// Values are copies of what is in body.
func Decode(dst []feed.Field, enc feed.Encoding, _ wire.Kind, body []byte) ([]feed.Field, error) {
	delim, text := byte(','), enc.Detail["delimiter"]
	if len(text) == 1 {
		delim = text[0]
	}
	names, err := columnNames(enc.Detail["columns"])
	if err != nil {
		return dst, err
	}
	scan := scanner{
		delim: [1]byte{delim}, want: len(body) + 1, lineNext: 1,
		buf: body, end: len(body), quote: -1, readErr: io.EOF,
	}
	if err := scan.next(); err != nil || scan.pos != scan.end || len(scan.body) != len(body) {
		return dst, errNotCSV
	}
	for i, f := range scan.fields {
		name := ""
		if i < len(names) {
			name = names[i]
		} else {
			name = "column_" + strconv.Itoa(i+1)
		}
		dst = append(dst, feed.Field{Name: name, Value: value(body[f.from:f.to])})
	}
	return dst, nil
}

// value reads one field, its quotes included.
func value(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	if b[0] == '"' {
		text, _ := unquote(b, nil)
		return string(text)
	}
	text := string(b)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && strconv.FormatInt(n, 10) == text {
		return n
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && strconv.FormatFloat(f, 'f', -1, 64) == text && endsInDigit(text) {
		return f
	}
	return text
}

// endsInDigit tells numbers from the words that ParseFloat takes, such as NaN.
func endsInDigit(text string) bool { return text[len(text)-1]-'0' <= 9 }

// namesRead is a detail's column names, read.
type namesRead struct {
	text  string
	names []string
}

// lastNames keeps the names of the encoding that was decoded last, since a tape
// has thousands of records of one encoding.
var lastNames atomic.Pointer[namesRead]

func columnNames(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	if last := lastNames.Load(); last != nil && last.text == text {
		return last.names, nil
	}
	read := &namesRead{text: text}
	if err := json.Unmarshal([]byte(text), &read.names); err != nil {
		return nil, fmt.Errorf("csv: the encoding's columns: %w", err)
	}
	lastNames.Store(read)
	return read.names, nil
}
