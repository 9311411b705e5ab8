package parquet

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"math/big"
	"strconv"
	"unicode/utf8"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/tapedeck/tapedeck/feed/colmap"
	"github.com/tapedeck/tapedeck/wire"
)

var errUTF8 = errors.New("its text is not UTF-8")

// writer appends a value, which is not null, as JSON.
type writer func(dst []byte, v *pq.Value) ([]byte, error)

// leaf is a column that has values.
type leaf struct {
	path  colmap.Path
	write writer
	text  bool // it is written as a JSON string that needs no escapes but a text's
	// integer, where set, gives the value as a count of times. It reports false
	// for one that is out of range.
	integer func(v *pq.Value) (int64, bool)
	unit    colmap.Unit // of TIMESTAMP columns, INT96 and DATE; else Auto
	day     bool        // the count is of days
	stamp   bool        // it is a TIMESTAMP or INT96
	ofDay   bool        // it is a TIME
}

func newLeaf(c *pq.Column) (*leaf, error) {
	l := &leaf{path: colmap.Path{Names: c.Path()}}
	t := c.Type()
	if logical := t.LogicalType(); logical != nil && l.useLogical(logical, t) {
		return l, nil
	}
	switch t.Kind() {
	case pq.Boolean:
		l.write = func(dst []byte, v *pq.Value) ([]byte, error) { return strconv.AppendBool(dst, v.Boolean()), nil }
	case pq.Int32:
		l.useInt(func(v *pq.Value) (int64, bool) { return int64(v.Int32()), true })
	case pq.Int64:
		l.useInt(func(v *pq.Value) (int64, bool) { return v.Int64(), true })
	case pq.Int96:
		l.stamp, l.unit, l.integer, l.write = true, colmap.Ns, int96, writeInt96
	case pq.Float:
		l.write = func(dst []byte, v *pq.Value) ([]byte, error) { return appendFloat(dst, float64(v.Float()), 32), nil }
	case pq.Double:
		l.write = func(dst []byte, v *pq.Value) ([]byte, error) { return appendFloat(dst, v.Double(), 64), nil }
	default:
		l.write = writeHex
	}
	return l, nil
}

func (l *leaf) useInt(get func(v *pq.Value) (int64, bool)) {
	l.integer = get
	l.write = func(dst []byte, v *pq.Value) ([]byte, error) {
		n, _ := get(v)
		return strconv.AppendInt(dst, n, 10), nil
	}
}

// useLogical reads the column by its logical type. It reports false where the
// type says no more than the physical one does.
func (l *leaf) useLogical(logical *format.LogicalType, t pq.Type) bool {
	kind := t.Kind()
	bytes := kind == pq.ByteArray || kind == pq.FixedLenByteArray
	switch logical := logical.Value.(type) {
	case *format.StringType, *format.EnumType, *format.JsonType:
		l.write, l.text = writeString, true
		return bytes
	case *format.UUIDType:
		l.write = writeUUID
		return kind == pq.FixedLenByteArray && t.Length() == 16
	case *format.Float16Type:
		l.write = writeFloat16
		return kind == pq.FixedLenByteArray && t.Length() == 2
	case *format.DecimalType:
		return l.useDecimal(int(logical.Scale), kind)
	case *format.IntType:
		return l.useUnsigned(logical, kind)
	case *format.TimeType:
		l.ofDay = true
	case *format.DateType:
		l.day = true
	case *format.TimestampType:
		l.stamp = true
		switch logical.Unit.Value.(type) {
		case *format.MilliSeconds:
			l.unit = colmap.Ms
		case *format.MicroSeconds:
			l.unit = colmap.Us
		case *format.NanoSeconds:
			l.unit = colmap.Ns
		}
	}
	return false
}

func (l *leaf) useUnsigned(t *format.IntType, kind pq.Kind) bool {
	switch {
	case t.IsSigned:
		return false
	case kind == pq.Int32:
		l.useInt(func(v *pq.Value) (int64, bool) { return int64(v.Uint32()), true })
		return true
	case kind == pq.Int64:
		l.integer = func(v *pq.Value) (int64, bool) { return int64(v.Uint64()), v.Uint64() <= math.MaxInt64 }
		l.write = func(dst []byte, v *pq.Value) ([]byte, error) { return strconv.AppendUint(dst, v.Uint64(), 10), nil }
		return true
	}
	return false
}

// decimalScaleMax bounds the zeros that a scale may ask for.
const decimalScaleMax = 1000

func (l *leaf) useDecimal(scale int, kind pq.Kind) bool {
	if scale < 0 || scale > decimalScaleMax {
		return false
	}
	switch kind {
	case pq.Int32:
		l.write = func(dst []byte, v *pq.Value) ([]byte, error) { return appendDecimal(dst, int64(v.Int32()), scale), nil }
	case pq.Int64:
		l.write = func(dst []byte, v *pq.Value) ([]byte, error) { return appendDecimal(dst, v.Int64(), scale), nil }
	case pq.ByteArray, pq.FixedLenByteArray:
		l.write = func(dst []byte, v *pq.Value) ([]byte, error) {
			return appendWideDecimal(dst, v.ByteArray(), scale), nil
		}
	default:
		return false
	}
	return true
}

// appendDecimal appends unscaled / 10^scale.
func appendDecimal(dst []byte, unscaled int64, scale int) []byte {
	u := uint64(unscaled)
	if unscaled < 0 {
		dst, u = append(dst, '-'), -u
	}
	var digits [20]byte
	return appendPoint(dst, strconv.AppendUint(digits[:0], u, 10), scale)
}

// appendPoint appends digits with a point before the last scale of them.
func appendPoint(dst, digits []byte, scale int) []byte {
	if scale == 0 {
		return append(dst, digits...)
	}
	if n := len(digits) - scale; n > 0 {
		dst = append(dst, digits[:n]...)
		digits = digits[n:]
	} else {
		dst = append(dst, '0')
	}
	dst = append(dst, '.')
	for range scale - len(digits) {
		dst = append(dst, '0')
	}
	return append(dst, digits...)
}

// appendWideDecimal is appendDecimal for two's complement, the most significant
// byte first.
func appendWideDecimal(dst, b []byte, scale int) []byte {
	if len(b) <= 8 {
		var v int64
		if len(b) > 0 && b[0]&0x80 != 0 {
			v = -1
		}
		for _, c := range b {
			v = v<<8 | int64(c)
		}
		return appendDecimal(dst, v, scale)
	}
	v := new(big.Int).SetBytes(b)
	if b[0]&0x80 != 0 {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(len(b))*8))
	}
	if v.Sign() < 0 {
		dst = append(dst, '-')
	}
	return appendPoint(dst, v.Abs(v).Append(nil, 10), scale)
}

// appendFloat appends the shortest number that reads as v again.
func appendFloat(dst []byte, v float64, bits int) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, `"NaN"`...)
	case math.IsInf(v, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(v, -1):
		return append(dst, `"-Infinity"`...)
	}
	layout := byte('f')
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		layout = 'e' // as encoding/json and JavaScript do
	}
	return strconv.AppendFloat(dst, v, layout, -1, bits)
}

// writeFloat16 reads IEEE 754 binary16, the least significant byte first.
func writeFloat16(dst []byte, v *pq.Value) ([]byte, error) {
	b := v.ByteArray()
	if len(b) != 2 {
		return writeHex(dst, v)
	}
	h := binary.LittleEndian.Uint16(b)
	exponent, fraction := int(h>>10&0x1f), float64(h&0x3ff)
	var f float64
	switch exponent {
	case 0:
		f = math.Ldexp(fraction, -24)
	case 0x1f:
		f = math.Inf(1)
		if fraction != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(1024+fraction, exponent-25)
	}
	if h&0x8000 != 0 {
		f = -f
	}
	return appendFloat(dst, f, 32), nil
}

func writeHex(dst []byte, v *pq.Value) ([]byte, error) {
	dst = append(dst, '"')
	dst = hex.AppendEncode(dst, v.Bytes())
	return append(dst, '"'), nil
}

func writeUUID(dst []byte, v *pq.Value) ([]byte, error) {
	b := v.ByteArray()
	if len(b) != 16 {
		return writeHex(dst, v)
	}
	dst = append(dst, '"')
	for i, end := range [...]int{4, 6, 8, 10, 16} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, b[[...]int{0, 4, 6, 8, 10}[i]:end])
	}
	return append(dst, '"'), nil
}

func writeString(dst []byte, v *pq.Value) ([]byte, error) {
	b := v.ByteArray()
	if !utf8.Valid(b) {
		return dst, errUTF8
	}
	return appendString(dst, b), nil
}

// appendString appends s, which is UTF-8, as a JSON string.
func appendString[T string | []byte](dst []byte, s T) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= ' ':
			dst = append(dst, c)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, `\u00`...)
			dst = append(dst, digits[c>>4], digits[c&0xf])
		}
	}
	return append(dst, '"')
}

// int96 gives an INT96, ns of a day and a Julian day, as ns since 1970.
func int96(v *pq.Value) (int64, bool) {
	const (
		julian1970 = 2440588
		dayNs      = 24 * 3600 * 1_000_000_000
		daysMax    = math.MaxInt64/dayNs - 1
	)
	t := v.Int96()
	ns, day := int64(t[0])|int64(t[1])<<32, int64(t[2])-julian1970
	if day > daysMax || day < -daysMax || ns < 0 || ns > dayNs {
		return 0, false
	}
	return day*dayNs + ns, true
}

func writeInt96(dst []byte, v *pq.Value) ([]byte, error) {
	if n, ok := int96(v); ok {
		return strconv.AppendInt(dst, n, 10), nil
	}
	return writeHex(dst, v)
}

// time reads a value, which is not null, as a time; u is what the user or the
// name says of its unit. It uses scratch.
func (l *leaf) time(v *pq.Value, u colmap.Unit, scratch *[]byte) (wire.Nanos, error) {
	if l.unit != colmap.Auto {
		u = l.unit
	}
	if l.integer != nil {
		n, ok := l.integer(v)
		if !ok {
			return 0, colmap.ErrRange
		}
		if l.day {
			const daySeconds = 24 * 3600
			return colmap.S.Scale(n * daySeconds) // of 32 bits, so this fits
		}
		return u.Scale(n)
	}
	text, err := l.plain((*scratch)[:0], v)
	*scratch = text
	if err != nil {
		return 0, err
	}
	return u.ParseTime(text)
}

// plain appends the value's text: as in JSON, but without quotes and escapes.
func (l *leaf) plain(dst []byte, v *pq.Value) ([]byte, error) {
	if l.text {
		return append(dst, v.ByteArray()...), nil
	}
	from := len(dst)
	dst, err := l.write(dst, v)
	if err == nil && len(dst) > from+1 && dst[from] == '"' {
		dst = append(dst[:from], dst[from+1:len(dst)-1]...)
	}
	return dst, err
}
