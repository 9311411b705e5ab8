package csv

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// unit says how the text of a time column is to be read.
type unit uint8

const (
	unitAuto unit = iota // to be told from the first records
	unitS                // counts since 1970 UTC, with or without a fraction
	unitMs
	unitUs
	unitNs
	unitISO  // date and time, ISO 8601 and its relatives
	unitTodS // counts since midnight
	unitTodMs
	unitTodUs
	unitTodNs
	unitTod // time of day, HH:MM:SS.fraction
)

var unitNames = [...]string{
	unitAuto: "auto", unitS: "s", unitMs: "ms", unitUs: "us", unitNs: "ns", unitISO: "iso",
	unitTodS: "tod-s", unitTodMs: "tod-ms", unitTodUs: "tod-us", unitTodNs: "tod-ns", unitTod: "tod",
}

func parseUnit(s string) (unit, bool) {
	for u, name := range unitNames {
		if s == name {
			return unit(u), true
		}
	}
	return 0, false
}

func (u unit) String() string { return unitNames[u] }

// timeOfDay reports whether the unit needs a date from elsewhere.
func (u unit) timeOfDay() bool { return u >= unitTodS && u <= unitTod }

// digits is how many decimal digits a count must be shifted to be nanoseconds.
func (u unit) digits() int {
	switch u {
	case unitS, unitTodS:
		return 9
	case unitMs, unitTodMs:
		return 6
	case unitUs, unitTodUs:
		return 3
	}
	return 0
}

const (
	secondNs = wire.Nanos(time.Second)
	dayNs    = 24 * 3600 * secondNs
)

var (
	errNumber   = errors.New("not a number")
	errRange    = errors.New("out of range (years 1678 to 2262)")
	errDateTime = errors.New("not a date and time (like 2024-08-08T09:30:00.123456Z)")
	errTod      = errors.New("not a time of day (like 09:30:00.123456)")
	errTodRange = errors.New("a time of day is less than 24 hours")
	errDate     = errors.New("not a date (like 2024-08-08 or 20240808)")
)

// clock reads the times of one column, or of a column of dates and one of times
// of day. It keeps the last date and the last zone offset.
type clock struct {
	unit unit
	day  wire.Nanos // midnight of the date, as wall clock, for times of day
	zone zone

	dateText [10]byte // the last date read, and its midnight
	dateLen  int
	dateDay  wire.Nanos
}

// parse reads one value.
func (c *clock) parse(b []byte) (wire.Nanos, error) {
	switch c.unit {
	case unitISO:
		return c.dateTime(b)
	case unitTod:
		return c.timeOfDay(b, c.day)
	case unitTodS, unitTodMs, unitTodUs, unitTodNs:
		n, err := parseCount(b, c.unit.digits())
		if err != nil {
			return 0, err
		}
		if n < 0 || n >= dayNs {
			return 0, errTodRange
		}
		return c.zone.utc(c.day + n), nil
	}
	return parseCount(b, c.unit.digits())
}

// setDate makes the date in b the day of the times of day that follow.
func (c *clock) setDate(b []byte) error {
	n, err := c.date(b)
	if err == nil && n != len(b) {
		err = errDate
	}
	c.day = c.dateDay
	return err
}

// dateTime reads a date, and behind it nothing or a T or blank and a time of
// day, with or without a zone.
func (c *clock) dateTime(b []byte) (wire.Nanos, error) {
	n, err := c.date(b)
	if err != nil {
		return 0, errDateTime
	}
	if n == len(b) {
		return c.inRange(c.dateDay, 0, true)
	}
	if (b[n] != 'T' && b[n] != ' ' && b[n] != 't') || n+1 == len(b) {
		return 0, errDateTime
	}
	t, err := c.timeOfDay(b[n+1:], c.dateDay)
	if err == errTod {
		err = errDateTime
	}
	return t, err
}

// timeOfDay reads HH:MM, HH:MM:SS or HHMMSS with or without a fraction and a
// zone, on the given day. Second 60 counts as the first of the next minute.
func (c *clock) timeOfDay(b []byte, day wire.Nanos) (wire.Nanos, error) {
	width := 0
	hour, ok := two(b)
	if !ok {
		return 0, errTod
	}
	colon := len(b) > 2 && b[2] == ':'
	if colon {
		width = 1
	}
	at := 2 + width
	minute, ok := two(b[min(at, len(b)):])
	if !ok {
		return 0, errTod
	}
	at += 2
	second, fraction := 0, wire.Nanos(0)
	if at < len(b) && (b[at] == ':' || !colon && isDigit(b[at])) {
		at += width
		if second, ok = two(b[min(at, len(b)):]); !ok {
			return 0, errTod
		}
		at += 2
		if at < len(b) && (b[at] == '.' || b[at] == ',') {
			var n int
			if fraction, n = parseFraction(b[at+1:], 9); n == 0 {
				return 0, errTod
			}
			at += 1 + n
		}
	}
	if hour > 23 || minute > 59 || second > 60 {
		return 0, errTodRange
	}
	tod := wire.Nanos(hour*3600+minute*60+second)*secondNs + fraction
	if at == len(b) {
		return c.inRange(day, tod, true)
	}
	offset, ok := parseOffset(b[at:])
	if !ok {
		return 0, errTod
	}
	return c.inRange(day, tod-offset, false)
}

// inRange adds a time of day to a day, both wall clock if local.
func (c *clock) inRange(day, tod wire.Nanos, local bool) (wire.Nanos, error) {
	const margin = math.MaxInt64 - 3*int64(dayNs)
	if int64(day) > margin || int64(day) < -margin {
		return 0, errRange
	}
	if local {
		return c.zone.utc(day + tod), nil
	}
	return day + tod, nil
}

// parseOffset reads Z, +HH, +HHMM or +HH:MM, also with a minus.
func parseOffset(b []byte) (wire.Nanos, bool) {
	if len(b) == 1 && (b[0] == 'Z' || b[0] == 'z') {
		return 0, true
	}
	if len(b) < 3 || (b[0] != '+' && b[0] != '-') {
		return 0, false
	}
	hour, ok := two(b[1:])
	minute, rest := 0, b[3:]
	if ok && len(rest) > 0 {
		if rest[0] == ':' {
			rest = rest[1:]
		}
		minute, ok = two(rest)
		ok = ok && len(rest) == 2
	}
	if !ok || hour > 23 || minute > 59 {
		return 0, false
	}
	offset := wire.Nanos(hour*3600+minute*60) * secondNs
	if b[0] == '-' {
		offset = -offset
	}
	return offset, true
}

// date reads the date at the start of b (YYYY-MM-DD, with any of - / . between,
// or YYYYMMDD), sets c.dateDay and returns how long it is.
func (c *clock) date(b []byte) (int, error) {
	if c.dateLen > 0 && len(b) >= c.dateLen && string(b[:c.dateLen]) == string(c.dateText[:c.dateLen]) &&
		(c.dateLen == 10 || len(b) == 8 || !isDigit(b[8])) {
		return c.dateLen, nil
	}
	day, n, err := parseDate(b)
	if err != nil {
		return 0, err
	}
	c.dateDay, c.dateLen = day, n
	copy(c.dateText[:], b[:n])
	return n, nil
}

// parseDate returns the midnight of the date at the start of b, as if UTC, and
// the date's length.
func parseDate(b []byte) (wire.Nanos, int, error) {
	if len(b) < 8 {
		return 0, 0, errDate
	}
	century, ok1 := two(b)
	years, ok2 := two(b[2:])
	width, n := 0, 8
	if b[4] == '-' || b[4] == '/' || b[4] == '.' {
		width, n = 1, 10
		if len(b) < n || b[7] != b[4] {
			return 0, 0, errDate
		}
	} else if len(b) > 8 && isDigit(b[8]) {
		return 0, 0, errDate // a longer number is not a date
	}
	month, ok3 := two(b[4+width:])
	day, ok4 := two(b[6+2*width:])
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return 0, 0, errDate
	}
	midnight, ok := midnightOf(century*100+years, month, day)
	if !ok {
		return 0, 0, errDate
	}
	return midnight, n, nil
}

// midnightOf returns the midnight that begins a date, as if UTC. It reports
// false for a date that the calendar, or Nanos, does not have.
func midnightOf(year, month, day int) (wire.Nanos, bool) {
	t := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	if t.Year() != year || int(t.Month()) != month || t.Day() != day || year < 1678 || year > 2261 {
		return 0, false
	}
	return wire.Nanos(t.UnixNano()), true
}

// parseCount reads a decimal number and shifts it to the left by so many
// decimal digits. Digits behind what that leaves room for are cut off.
func parseCount(b []byte, shift int) (wire.Nanos, error) {
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
			return 0, errRange
		}
		v = v*10 + uint64(d)
	}
	if at == 0 {
		return 0, errNumber
	}
	scale := powers[shift]
	if v > math.MaxInt64/scale {
		return 0, errRange
	}
	total := v * scale
	if at < len(b) {
		if b[at] != '.' {
			return 0, errNumber
		}
		fraction, n := parseFraction(b[at+1:], shift)
		if n == 0 || at+1+n != len(b) {
			return 0, errNumber
		}
		if total += uint64(fraction); total > math.MaxInt64 {
			return 0, errRange
		}
	}
	if negative {
		return -wire.Nanos(total), nil
	}
	return wire.Nanos(total), nil
}

var powers = [...]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// parseFraction reads the digits at the start of b as a fraction of 10^shift
// and returns how many there are, those too small to count included.
func parseFraction(b []byte, shift int) (wire.Nanos, int) {
	var v uint64
	n := 0
	for ; n < len(b) && isDigit(b[n]); n++ {
		if n < shift {
			v = v*10 + uint64(b[n]-'0')
		}
	}
	return wire.Nanos(v * powers[max(shift-n, 0)]), n
}

func two(b []byte) (int, bool) {
	if len(b) < 2 || !isDigit(b[0]) || !isDigit(b[1]) {
		return 0, false
	}
	return int(b[0]-'0')*10 + int(b[1]-'0'), true
}

func isDigit(c byte) bool { return c-'0' <= 9 }

// guessUnit tells the unit of a count since 1970 by its size: counts of the
// years 1973 to 5138 differ in size by unit.
func guessUnit(count int64) (unit, error) {
	switch {
	case count < 1e8:
		return 0, fmt.Errorf("%d is too small to tell the unit of a time", count)
	case count < 1e11:
		return unitS, nil
	case count < 1e14:
		return unitMs, nil
	case count < 1e17:
		return unitUs, nil
	}
	return unitNs, nil
}
