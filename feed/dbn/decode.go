package dbn

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

// decode takes a record apart into the fields of its kind, named as in the DBN
// specification; levels are numbered from 00. Reserved bytes are left out.
// Prices are exact decimal strings, times int64 nanoseconds (uint64 beyond
// that), letters and texts strings. What the specification calls undefined is
// nil. The payload of an unknown rtype is given in hex. Strings are copies. The
// error wraps ErrBody.
func decode(dst []feed.Field, _ feed.Encoding, _ wire.Kind, body []byte) ([]feed.Field, error) {
	if len(body) < headSize || int(body[lengthOff])*wordSize != len(body) {
		return dst, fmt.Errorf("%w: %d bytes, which is not what its length byte says", ErrBody, len(body))
	}
	rtype := body[rtypeOff]
	l, tsOut := findLayout(rtype, len(body))
	if l == nil {
		return dst, fmt.Errorf("%w: type 0x%02x has no length of %d bytes", ErrBody, rtype, len(body))
	}
	name := l.name
	if l == opaque {
		name = fmt.Sprintf("0x%02x", rtype)
	}
	dst = append(dst,
		feed.Field{Name: "rtype", Value: name},
		feed.Field{Name: "publisher_id", Value: uint64(binary.LittleEndian.Uint16(body[publisherOff:]))},
		feed.Field{Name: "instrument_id", Value: uint64(binary.LittleEndian.Uint32(body[instrumentOff:]))},
		feed.Field{Name: "ts_event", Value: timeValue(binary.LittleEndian.Uint64(body[eventOff:]))},
	)
	if l == opaque {
		return append(dst, feed.Field{Name: "payload", Value: hex.EncodeToString(body[headSize:])}), nil
	}
	for i := range l.fields {
		f := &l.fields[i]
		dst = append(dst, feed.Field{Name: f.name, Value: f.value(body[f.off:][:f.size])})
	}
	if tsOut {
		v := timeValue(binary.LittleEndian.Uint64(body[l.size:]))
		dst = append(dst, feed.Field{Name: "ts_out", Value: v})
	}
	return dst, nil
}

// value decodes the bytes of one field.
func (f *field) value(b []byte) any {
	switch f.typ {
	case typeUint:
		return uintValue(b)
	case typeInt:
		return intValue(b)
	case typeOptUint:
		if v := uintValue(b); v != 1<<(8*len(b))-1 {
			return v
		}
	case typeOptInt:
		if v := intValue(b); v != 1<<(8*len(b)-1)-1 {
			return v
		}
	case typePrice:
		if v := intValue(b); v != math.MaxInt64 {
			return priceText(v)
		}
	case typeTime:
		return timeValue(uintValue(b))
	case typeChar:
		if b[0] != 0 {
			return string(rune(b[0]))
		}
	case typeText:
		return strings.ToValidUTF8(string(cstring(b)), "\uFFFD")
	case typeSymbology:
		if b[0] != nullSType {
			return stypeName(b[0])
		}
	}
	return nil
}

func uintValue(b []byte) uint64 {
	var v uint64
	for i := len(b) - 1; i >= 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	return v
}

func intValue(b []byte) int64 {
	shift := 64 - 8*len(b)
	return int64(uintValue(b)<<shift) >> shift
}

// timeValue is nil for an undefined time, else ns as int64 where they fit.
func timeValue(v uint64) any {
	switch {
	case v == undefinedTime:
		return nil
	case v > math.MaxInt64:
		return v
	}
	return int64(v)
}

// priceText writes v times 1e-9 as a decimal, exactly, without needless zeros.
func priceText(v int64) string {
	const unit, digits = 1_000_000_000, 9
	var buf [24]byte
	out := buf[:0]
	u := uint64(v)
	if v < 0 {
		out, u = append(out, '-'), -u // also right for the smallest int64
	}
	out = strconv.AppendUint(out, u/unit, 10)
	frac := u % unit
	if frac == 0 {
		return string(out)
	}
	out = append(out, '.')
	start := len(out)
	out = out[:start+digits]
	for i := len(out) - 1; i >= start; i-- {
		out[i] = byte('0' + frac%10)
		frac /= 10
	}
	return string(bytes.TrimRight(out, "0"))
}
