package colmap

import (
	"errors"
	"math"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// Unit says how a time is written.
type Unit uint8

// The units. Auto is told from each value.
const (
	Auto Unit = iota
	S         // counts since 1970 UTC, with or without a fraction
	Ms
	Us
	Ns
	ISO // date and time, as in RFC 3339
)

var unitNames = [...]string{Auto: "auto", S: "s", Ms: "ms", Us: "us", Ns: "ns", ISO: "iso"}

// String returns the unit's name.
func (u Unit) String() string { return unitNames[u] }

// ParseUnit is the inverse of Unit.String. It reports false for no unit.
func ParseUnit(s string) (Unit, bool) {
	for u, name := range unitNames {
		if s == name {
			return Unit(u), true
		}
	}
	return 0, false
}

// digits is how many decimal digits a count must be shifted to be nanoseconds.
func (u Unit) digits() int {
	switch u {
	case S:
		return 9
	case Ms:
		return 6
	case Us:
		return 3
	}
	return 0
}

// What can be wrong with the text of a time.
var (
	ErrNumber   = errors.New("not a number")
	ErrRange    = errors.New("out of range (years 1678 to 2262)")
	ErrDateTime = errors.New("not a date and time (like 2024-08-08T09:30:00.123456Z)")
	ErrUnit     = errors.New("too small a number to tell the unit of a time; say the unit")
)

// ParseTime reads the text of a time. It does not keep b and allocates only
// for an error.
func (u Unit) ParseTime(b []byte) (wire.Nanos, error) {
	switch u {
	case ISO:
		return parseISO(b)
	case Auto:
		if len(b) > 4 && (b[4] == '-' || b[4] == '/') {
			return parseISO(b)
		}
		return parseCount(b, Auto)
	}
	return parseCount(b, u)
}

// Guess tells the unit of a count since 1970 by its size.
func Guess(count int64) (Unit, error) {
	switch {
	case count < 1e8:
		return Auto, ErrUnit
	case count < 1e11:
		return S, nil
	case count < 1e14:
		return Ms, nil
	case count < 1e17:
		return Us, nil
	}
	return Ns, nil
}

// Scale returns count, in unit u or in what its size tells, as nanoseconds.
func (u Unit) Scale(count int64) (wire.Nanos, error) {
	if u == Auto {
		var err error
		if u, err = Guess(count); err != nil {
			return 0, err
		}
	}
	scale := int64(powers[u.digits()])
	if count > math.MaxInt64/scale || count < math.MinInt64/scale {
		return 0, ErrRange
	}
	return wire.Nanos(count * scale), nil
}

var powers = [...]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// parseCount reads a decimal number. Digits too small to count are cut off.
func parseCount(b []byte, u Unit) (wire.Nanos, error) {
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	var v uint64
	at := 0
	for ; at < len(b); at++ {
		d := b[at] - '0'
		if d > 9 {
			break
		}
		if at >= 19 {
			return 0, ErrRange // it may not fit 64 bits
		}
		v = v*10 + uint64(d)
	}
	if at == 0 {
		return 0, ErrNumber
	}
	if u == Auto {
		var err error
		if u, err = Guess(int64(min(v, math.MaxInt64))); err != nil {
			return 0, err
		}
	}
	shift := u.digits()
	scale := powers[shift]
	if v > math.MaxInt64/scale {
		return 0, ErrRange
	}
	total := v * scale
	if at < len(b) {
		fraction, n := parseFraction(b[at:], shift)
		if n != len(b)-at {
			return 0, ErrNumber
		}
		if total += fraction; total > math.MaxInt64 {
			return 0, ErrRange
		}
	}
	if negative {
		return -wire.Nanos(total), nil
	}
	return wire.Nanos(total), nil
}

// parseFraction reads a dot and digits at the start of b as a fraction of
// 10^shift and returns how many bytes that are, 0 for no fraction.
func parseFraction(b []byte, shift int) (v uint64, n int) {
	if len(b) < 2 || b[0] != '.' {
		return 0, 0
	}
	for n = 1; n < len(b) && b[n]-'0' <= 9; n++ {
		if n <= shift {
			v = v*10 + uint64(b[n]-'0')
		}
	}
	return v * powers[max(shift-n+1, 0)], n
}

// parseISO reads YYYY-MM-DD, and behind it nothing, or a T or blank and a time
// of day, with or without a zone.
func parseISO(b []byte) (wire.Nanos, error) {
	const date = len("2006-01-02")
	// time.Parse keeps neither argument, so the short string stays on the stack.
	const longest = 40
	if len(b) > longest || len(b) < date {
		return 0, ErrDateTime
	}
	layout := "2006-01-02"
	if len(b) > date {
		zoned := false
		for _, c := range b[date:] {
			zoned = zoned || c == 'Z' || c == '+' || c == '-'
		}
		switch {
		case b[date] == 'T' && zoned:
			layout = time.RFC3339Nano
		case b[date] == 'T':
			layout = "2006-01-02T15:04:05.999999999"
		case zoned:
			layout = "2006-01-02 15:04:05.999999999Z07:00"
		default:
			layout = "2006-01-02 15:04:05.999999999"
		}
	}
	t, err := time.Parse(layout, string(b))
	if err != nil {
		return 0, ErrDateTime
	}
	if y := t.Year(); y < 1678 || y > 2261 {
		return 0, ErrRange
	}
	return wire.NanosOf(t), nil
}
