package colmap

import (
	"errors"
	"math"

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
	ISO  // date and time, ISO 8601 and its relatives
	TodS // counts since midnight
	TodMs
	TodUs
	TodNs
	Tod // time of day, HH:MM:SS.fraction
)

var unitNames = [...]string{
	Auto: "auto", S: "s", Ms: "ms", Us: "us", Ns: "ns", ISO: "iso",
	TodS: "tod-s", TodMs: "tod-ms", TodUs: "tod-us", TodNs: "tod-ns", Tod: "tod",
}

// TimeOfDay reports whether times in the unit need a date from elsewhere.
func (u Unit) TimeOfDay() bool { return u >= TodS && u <= Tod }

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
	case S, TodS:
		return 9
	case Ms, TodMs:
		return 6
	case Us, TodUs:
		return 3
	}
	return 0
}

// What can be wrong with the text of a time.
var (
	ErrNumber   = errors.New("not a number")
	ErrRange    = errors.New("out of range (years 1678 to 2262)")
	ErrDateTime = errors.New("not a date and time (like 2024-08-08T09:30:00.123456Z)")
	ErrTod      = errors.New("not a time of day (like 09:30:00.123456)")
	ErrTodRange = errors.New("a time of day is less than 24 hours")
	ErrDate     = errors.New("not a date (like 2024-08-08 or 20240808)")
	ErrUnit     = errors.New("too small a number to tell the unit of a time; say the unit")
)

// ParseTime reads the text of a time, which is UTC where it names no zone; a time
// of day is one of 1970-01-01. It does not keep b and allocates nothing.
func (u Unit) ParseTime(b []byte) (wire.Nanos, error) {
	switch u {
	case ISO, TodS, TodMs, TodUs, TodNs, Tod:
		c := Clock{unit: u, zone: utcZone}
		return c.Parse(b)
	case Auto:
		if len(b) > 4 && (b[4] == '-' || b[4] == '/') {
			return ISO.ParseTime(b)
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
		if b[at] != '.' {
			return 0, ErrNumber
		}
		fraction, n := parseFraction(b[at+1:], shift)
		if n == 0 || at+1+n != len(b) {
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

// parseFraction reads the digits at the start of b as a fraction of 10^shift
// and returns how many there are, those too small to count included.
func parseFraction(b []byte, shift int) (v uint64, n int) {
	for ; n < len(b) && isDigit(b[n]); n++ {
		if n < shift {
			v = v*10 + uint64(b[n]-'0')
		}
	}
	return v * powers[max(shift-n, 0)], n
}
