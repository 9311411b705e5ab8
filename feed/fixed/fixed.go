// Package fixed takes messages of fixed layout apart for people, by a table of
// their fields, and holds the few conversions that such formats share.
package fixed

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/tapedeck/tapedeck/feed"
)

// Type says how the bytes of a field are to be read.
type Type uint8

// The types. Integers have 1 to 8 bytes.
const (
	Uint   Type = iota // uint64
	Int                // int64
	Price              // string: a signed integer of Digits decimals
	UPrice             // string: an unsigned integer of Digits decimals
	Char               // string of the one character, nil where it is a blank or 0
	Text               // string without the blanks and zeros at its end

	// OptUint, OptInt and OptPrice are Uint, Int and Price where the largest value
	// of the integer says that there is none: then they are nil.
	OptUint
	OptInt
	OptPrice
)

// Field is one field of a layout.
type Field struct {
	Name   string
	Off    int // from the start of the message, bytes
	Size   int // bytes
	Type   Type
	Digits int // decimals of a price
}

// Layout places fields one behind the other, the first at offset at. Fields without
// a name are reserved space and left out of what it returns.
func Layout(at int, fields ...Field) []Field {
	var out []Field
	for _, f := range fields {
		f.Off = at
		at += f.Size
		if f.Name != "" {
			out = append(out, f)
		}
	}
	return out
}

// Append appends the fields of a message to dst, integers in the given byte order.
// Fields that the message is too short for are left out. Values are copies.
func Append(dst []feed.Field, order binary.ByteOrder, layout []Field, body []byte) []feed.Field {
	for i := range layout {
		f := &layout[i]
		if f.Off+f.Size > len(body) {
			continue
		}
		dst = append(dst, feed.Field{Name: f.Name, Value: f.value(order, body[f.Off:][:f.Size])})
	}
	return dst
}

func (f *Field) value(order binary.ByteOrder, b []byte) any {
	switch f.Type {
	case Uint:
		return load(order, b)
	case Int:
		return extend(load(order, b), len(b))
	case Price:
		return Decimal(extend(load(order, b), len(b)), f.Digits)
	case UPrice:
		return string(appendDecimal(nil, load(order, b), f.Digits))
	case Char:
		if b[0] == ' ' || b[0] == 0 {
			return nil
		}
		return Latin(b[:1])
	case Text:
		return Latin(trim(b))
	case OptUint:
		if v := load(order, b); v != math.MaxUint64>>(64-8*len(b)) {
			return v
		}
	case OptInt:
		if v := extend(load(order, b), len(b)); v != math.MaxInt64>>(64-8*len(b)) {
			return v
		}
	case OptPrice:
		if v := extend(load(order, b), len(b)); v != math.MaxInt64>>(64-8*len(b)) {
			return Decimal(v, f.Digits)
		}
	}
	return nil
}

// load reads an unsigned integer.
func load(order binary.ByteOrder, b []byte) uint64 {
	var v uint64
	if order == binary.ByteOrder(binary.BigEndian) {
		for _, c := range b {
			v = v<<8 | uint64(c)
		}
		return v
	}
	for i := len(b) - 1; i >= 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	return v
}

// extend reads v as a signed integer of size bytes.
func extend(v uint64, size int) int64 {
	shift := 64 - 8*size
	return int64(v<<shift) >> shift
}

// Decimal writes v times 10 to the power of -digits, exactly, without needless
// zeros.
func Decimal(v int64, digits int) string {
	if v < 0 {
		return string(appendDecimal([]byte{'-'}, -uint64(v), digits)) // also right for the smallest
	}
	return string(appendDecimal(nil, uint64(v), digits))
}

func appendDecimal(dst []byte, v uint64, digits int) []byte {
	start := len(dst)
	dst = strconv.AppendUint(dst, v, 10)
	for len(dst)-start <= digits { // a digit before the point, however small v is
		dst = append(dst, 0)
		copy(dst[start+1:], dst[start:])
		dst[start] = '0'
	}
	point := len(dst) - digits
	end := len(dst)
	for end > point && dst[end-1] == '0' {
		end--
	}
	if end == point {
		return dst[:point]
	}
	dst = append(dst[:end], 0)
	copy(dst[point+1:], dst[point:end])
	dst[point] = '.'
	return dst
}

// trim takes the blanks and zeros off the end of b.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == 0) {
		b = b[:len(b)-1]
	}
	return b
}

// Latin is b as text, with every byte that is not ASCII as one of Latin-1, so
// that damaged text stays valid UTF-8 and different bytes stay different.
func Latin(b []byte) string {
	for _, c := range b {
		if c >= 0x80 {
			out := make([]rune, 0, len(b))
			for _, c := range b {
				out = append(out, rune(c))
			}
			return string(out)
		}
	}
	return string(b)
}

// AppendSymbol appends a symbol that is padded with blanks, and reports whether
// there is one: printable ASCII without a blank in it. If not, dst is returned as
// it came.
func AppendSymbol(dst, padded []byte) ([]byte, bool) {
	symbol := trim(padded)
	for _, c := range symbol {
		if c <= ' ' || c > '~' {
			return dst, false
		}
	}
	return append(dst, symbol...), len(symbol) > 0
}
