package cme

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/fixed"
	"github.com/tapedeck/tapedeck/wire"
)

// ErrBody: bytes that are not one message.
var ErrBody = errors.New("cme: body is not a message")

// decode takes a message apart: its head, the fields of its block, and each group as
// a JSON array of objects. Prices are exact decimal strings, times int64
// nanoseconds, what the schema calls null is nil. What is not known is given in hex.
// The error wraps ErrBody.
func decode(dst []feed.Field, _ feed.Encoding, _ wire.Kind, body []byte) ([]feed.Field, error) {
	m, ok := take(body)
	if !ok || len(m) != len(body) {
		return dst, fmt.Errorf("%w: %d bytes, which is not what its sizes say", ErrBody, len(body))
	}
	t := m.layout()
	name := t.name
	if name == "" {
		name = "unknown"
	}
	out := append(dst,
		feed.Field{Name: "message", Value: name},
		feed.Field{Name: "template_id", Value: uint64(m.template())},
		feed.Field{Name: "block_length", Value: uint64(m.block())},
		feed.Field{Name: "schema_id", Value: uint64(m.schema())},
		feed.Field{Name: "version", Value: uint64(m.version())},
	)
	at := headSize + m.block()
	out = fixed.Append(out, binary.LittleEndian, t.block, m[:at])
	if t.open {
		return append(out,
			feed.Field{Name: "block", Value: hex.EncodeToString(m[headSize:at])},
			feed.Field{Name: "groups", Value: hex.EncodeToString(m[at:])}), nil
	}
	for i := range t.groups {
		if at == len(m) {
			break // an earlier version, which has fewer groups
		}
		l := &t.groups[i]
		g, next, ok := m.group(at, l.wide)
		if !ok {
			return dst, fmt.Errorf("%w: group %s of a %s does not fit in it", ErrBody, l.name, name)
		}
		out = append(out, feed.Field{Name: l.name, Value: g.json(l)})
		at = next
	}
	if at < len(m) {
		out = append(out, feed.Field{Name: "rest", Value: hex.EncodeToString(m[at:])})
	}
	return out, nil
}

// json writes the entries of a group as an array.
func (g group) json(l *groupLayout) json.RawMessage {
	out := []byte{'['}
	var fields []feed.Field
	for i := range g.count {
		if i > 0 {
			out = append(out, ',')
		}
		fields = fixed.Append(fields[:0], binary.LittleEndian, l.fields, g.entries[i*g.size:][:g.size])
		out = appendObject(out, fields)
	}
	return append(out, ']')
}

func appendObject(dst []byte, fields []feed.Field) []byte {
	dst = append(dst, '{')
	for i, f := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(strconv.AppendQuote(dst, f.Name), ':')
		switch v := f.Value.(type) {
		case uint64:
			dst = strconv.AppendUint(dst, v, 10)
		case int64:
			dst = strconv.AppendInt(dst, v, 10)
		case string:
			quoted, _ := json.Marshal(v) // of a string, which never fails
			dst = append(dst, quoted...)
		default:
			dst = append(dst, "null"...)
		}
	}
	return append(dst, '}')
}
