package render

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// AppendValue appends a field's value as plain text: strings as they are, JSON as
// it stands, nothing for nil.
func AppendValue(dst []byte, v any) []byte {
	if s, ok := v.(string); ok {
		return append(dst, s...)
	}
	if v == nil {
		return dst
	}
	dst, known := appendScalar(dst, v)
	if known {
		return dst
	}
	return fmt.Append(dst, v)
}

// AppendJSONValue appends a field's value as JSON. What JSON has no form for,
// such as an infinity, becomes a string.
func AppendJSONValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case string:
		return AppendJSONString(dst, v)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return AppendJSONString(dst, fmt.Sprint(v))
		}
	}
	dst, known := appendScalar(dst, v)
	if known {
		return dst
	}
	b, err := json.Marshal(v)
	if err != nil {
		return AppendJSONString(dst, fmt.Sprint(v))
	}
	return append(dst, b...)
}

// appendScalar appends values that look the same in text and in JSON. It reports
// false, with dst as it came, for any other.
func appendScalar(dst []byte, v any) ([]byte, bool) {
	switch v := v.(type) {
	case bool:
		return strconv.AppendBool(dst, v), true
	case int64:
		return strconv.AppendInt(dst, v, 10), true
	case uint64:
		return strconv.AppendUint(dst, v, 10), true
	case float64:
		return appendFloat(dst, v), true
	case json.RawMessage:
		return append(dst, v...), true
	}
	return dst, false
}

// appendFloat writes a float in the shortest form that reads back, with an
// exponent only where the digits would be out of hand, as ECMAScript does.
func appendFloat(dst []byte, f float64) []byte {
	const small, large = 1e-6, 1e21
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < small || a >= large) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, 64)
}

// AppendJSONString appends s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD.
func AppendJSONString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			b, _ := json.Marshal(s) // a string always marshals
			return append(dst, b...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}
