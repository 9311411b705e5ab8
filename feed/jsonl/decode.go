package jsonl

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

var errNotJSON = errors.New("jsonl: the body is not a JSON object or array")

// Decode implements feed.Format: one field for each name at the top of an
// object, in the text's order, or for each value of an array, named 0, 1, ...
// Objects, arrays, and numbers that neither int64, uint64 nor float64 hold as
// they are written are a json.RawMessage, which is borrowed from body.
func Decode(dst []feed.Field, _ feed.Encoding, _ wire.Kind, body []byte) ([]feed.Field, error) {
	return AppendFields(dst, body)
}

// AppendFields appends the fields of a JSON object or array, as Decode does.
// Where body is neither it returns an error and dst as it came.
func AppendFields(dst []feed.Field, body []byte) ([]feed.Field, error) {
	s := scanner{root: &node{slot: -1}}
	had := len(dst)
	if !walk(&s, body, func(name string, at span) {
		dst = append(dst, feed.Field{Name: name, Value: value(body[at.from:at.to])})
	}) {
		return dst[:had], errNotJSON
	}
	return dst, nil
}

// walk calls each for the values at the top of the object or array in b. It
// reports whether b is one.
func walk(s *scanner, b []byte, each func(name string, at span)) bool {
	if !s.scan(b) {
		return false
	}
	i := blank(b, 0)
	object := b[i] == '{'
	i = blank(b, i+1)
	for n := 0; b[i] != '}' && b[i] != ']'; n++ {
		name := ""
		if object {
			from := i
			i = s.text(i)
			name = textOf(b[from:i])
			i = blank(b, blank(b, i)+1) // the colon
		} else {
			name = strconv.Itoa(n)
		}
		from := i
		i = s.skip(i)
		each(name, span{from, i})
		if i = blank(b, i); b[i] == ',' {
			i = blank(b, i+1)
		}
	}
	return true
}

// textOf returns what a string says.
func textOf(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') >= 0 {
		return string(unescape(quoted))
	}
	return string(quoted[1 : len(quoted)-1])
}

// value reads one value.
func value(b []byte) any {
	switch b[0] {
	case '"':
		return textOf(b)
	case '{', '[':
		return json.RawMessage(b)
	case 't':
		return true
	case 'f':
		return false
	case 'n':
		return nil
	}
	text := string(b)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && text != "-0" {
		return n
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return n
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && strconv.FormatFloat(f, 'f', -1, 64) == text {
		return f
	}
	return json.RawMessage(b)
}
