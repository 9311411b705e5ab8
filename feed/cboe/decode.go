package cboe

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
var ErrBody = errors.New("cboe: body is not a message")

// decode takes a message apart into the fields of its type. Prices are exact decimal
// strings, other numbers uint64 or int64, letters and texts strings, the legs of a
// definition a JSON array of objects. The error wraps ErrBody.
func decode(dst []feed.Field, _ feed.Encoding, _ wire.Kind, body []byte) ([]feed.Field, error) {
	m, ok := take(body)
	if !ok || len(m) != len(body) {
		return dst, fmt.Errorf("%w: %d bytes, which is not what its length says", ErrBody, len(body))
	}
	id := m[typeOff]
	t := &types[id]
	name, end := t.name, t.size
	if name == "" {
		name = "unknown"
	}
	dst = append(dst,
		feed.Field{Name: "message", Value: name},
		feed.Field{Name: "type", Value: fmt.Sprintf("0x%02x", id)})
	dst = fixed.Append(dst, binary.LittleEndian, t.fields, m)
	if id == typeDefinition && len(m) >= t.size {
		dst, end = appendParts(dst, m, end)
	}
	if end < len(m) {
		dst = append(dst, feed.Field{Name: "rest", Value: hex.EncodeToString(m[end:])})
	}
	return dst, nil
}

// appendParts appends the legs and the variance block of a definition, where they
// stand where the specification has them: behind its fields. It returns where they
// end.
func appendParts(dst []feed.Field, m []byte, end int) ([]feed.Field, int) {
	n := int(m[legCountOff])
	if int(m[legOffsetOff]) == end && n > 0 && end+n*legSize <= len(m) {
		dst = append(dst, feed.Field{Name: "legs", Value: legs(m[end:][:n*legSize])})
		end += n * legSize
	}
	if int(m[varianceOffsetOff]) == end && end+varianceSize <= len(m) {
		dst = fixed.Append(dst, binary.LittleEndian, varianceFields, m[end:])
		end += varianceSize
	}
	return dst, end
}

// legs writes the legs of a definition.
func legs(b []byte) json.RawMessage {
	out := []byte{'['}
	var fields []feed.Field
	for at := 0; at < len(b); at += legSize {
		if at > 0 {
			out = append(out, ',')
		}
		fields = fixed.Append(fields[:0], binary.LittleEndian, legFields, b[at:][:legSize])
		out = append(out, `{"leg_ratio":`...)
		out = strconv.AppendInt(out, fields[0].Value.(int64), 10)
		text, _ := json.Marshal(fields[1].Value) // of a string, which never fails
		out = append(append(append(out, `,"leg_symbol":`...), text...), '}')
	}
	return append(out, ']')
}
