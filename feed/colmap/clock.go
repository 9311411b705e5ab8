package colmap

import (
	"math"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

const (
	secondNs = wire.Nanos(time.Second)
	dayNs    = 24 * 3600 * secondNs
)

// Clock reads the times of one column, or of a column of dates and one of times
// of day. It keeps the last date and the last zone offset. It belongs to one
// goroutine.
type Clock struct {
	unit Unit
	day  wire.Nanos // midnight of the date, as wall clock, for times of day
	zone zone

	dateText [10]byte // the last date read, and its midnight
	dateLen  int
	dateDay  wire.Nanos
}

// NewClock returns a clock for times in unit u. Times without a zone are in loc,
// and times of day are of the day that begins at day, a midnight as ParseDate gives
// it.
func NewClock(u Unit, day wire.Nanos, loc *time.Location) Clock {
	return Clock{unit: u, day: day, zone: newZone(loc)}
}

// Parse reads one value. It does not keep b and allocates nothing.
func (c *Clock) Parse(b []byte) (wire.Nanos, error) {
	switch c.unit {
	case Auto:
		return Auto.ParseTime(b)
	case ISO:
		return c.dateTime(b)
	case Tod:
		return c.timeOfDay(b, c.day)
	case TodS, TodMs, TodUs, TodNs:
		n, err := parseCount(b, c.unit)
		if err != nil {
			return 0, err
		}
		if n < 0 || n >= dayNs {
			return 0, ErrTodRange
		}
		return c.zone.utc(c.day + n), nil
	}
	return parseCount(b, c.unit)
}

// SetDate makes the date in b the day of the times of day that follow.
func (c *Clock) SetDate(b []byte) error {
	n, err := c.date(b)
	if err == nil && n != len(b) {
		err = ErrDate
	}
	c.day = c.dateDay
	return err
}

// dateTime reads a date, and behind it nothing or a T or blank and a time of
// day, with or without a zone.
func (c *Clock) dateTime(b []byte) (wire.Nanos, error) {
	n, err := c.date(b)
	if err == ErrDate {
		err = ErrDateTime
	}
	if err != nil {
		return 0, err
	}
	if n == len(b) {
		return c.inRange(c.dateDay, 0, true)
	}
	if (b[n] != 'T' && b[n] != ' ' && b[n] != 't') || n+1 == len(b) {
		return 0, ErrDateTime
	}
	t, err := c.timeOfDay(b[n+1:], c.dateDay)
	if err == ErrTod {
		err = ErrDateTime
	}
	return t, err
}

// timeOfDay reads HH:MM, HH:MM:SS or HHMMSS with or without a fraction and a
// zone, on the given day. Second 60 counts as the first of the next minute.
func (c *Clock) timeOfDay(b []byte, day wire.Nanos) (wire.Nanos, error) {
	width := 0
	hour, ok := two(b)
	if !ok {
		return 0, ErrTod
	}
	colon := len(b) > 2 && b[2] == ':'
	if colon {
		width = 1
	}
	at := 2 + width
	minute, ok := two(b[min(at, len(b)):])
	if !ok {
		return 0, ErrTod
	}
	at += 2
	second, fraction := 0, uint64(0)
	if at < len(b) && (b[at] == ':' || !colon && isDigit(b[at])) {
		at += width
		if second, ok = two(b[min(at, len(b)):]); !ok {
			return 0, ErrTod
		}
		at += 2
		if at < len(b) && (b[at] == '.' || b[at] == ',') {
			var n int
			if fraction, n = parseFraction(b[at+1:], 9); n == 0 {
				return 0, ErrTod
			}
			at += 1 + n
		}
	}
	if hour > 23 || minute > 59 || second > 60 {
		return 0, ErrTodRange
	}
	tod := wire.Nanos(hour*3600+minute*60+second)*secondNs + wire.Nanos(fraction)
	if at == len(b) {
		return c.inRange(day, tod, true)
	}
	offset, ok := parseOffset(b[at:])
	if !ok {
		return 0, ErrTod
	}
	return c.inRange(day, tod-offset, false)
}

// inRange adds a time of day to a day, both wall clock if local.
func (c *Clock) inRange(day, tod wire.Nanos, local bool) (wire.Nanos, error) {
	const margin = math.MaxInt64 - 3*int64(dayNs)
	if int64(day) > margin || int64(day) < -margin {
		return 0, ErrRange
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
func (c *Clock) date(b []byte) (int, error) {
	if c.dateLen > 0 && len(b) >= c.dateLen && string(b[:c.dateLen]) == string(c.dateText[:c.dateLen]) &&
		(c.dateLen == 10 || len(b) == 8 || !isDigit(b[8])) {
		return c.dateLen, nil
	}
	day, n, err := ParseDate(b)
	if err != nil {
		return 0, err
	}
	c.dateDay, c.dateLen = day, n
	copy(c.dateText[:], b[:n])
	return n, nil
}

// ParseDate returns the midnight of the date at the start of b (YYYY-MM-DD, with
// any of - / . between, or YYYYMMDD), as if UTC, and the date's length.
func ParseDate(b []byte) (wire.Nanos, int, error) {
	if len(b) < 8 {
		return 0, 0, ErrDate
	}
	century, ok1 := two(b)
	years, ok2 := two(b[2:])
	width, n := 0, 8
	if b[4] == '-' || b[4] == '/' || b[4] == '.' {
		width, n = 1, 10
		if len(b) < n || b[7] != b[4] {
			return 0, 0, ErrDate
		}
	} else if len(b) > 8 && isDigit(b[8]) {
		return 0, 0, ErrDate // a longer number is not a date
	}
	month, ok3 := two(b[4+width:])
	day, ok4 := two(b[6+2*width:])
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return 0, 0, ErrDate
	}
	midnight, err := midnightOf(century*100+years, month, day)
	return midnight, n, err
}

// midnightOf returns the midnight that begins a date, as if UTC. The error is
// ErrDate for a date that the calendar does not have, ErrRange for one that Nanos
// does not have.
func midnightOf(year, month, day int) (wire.Nanos, error) {
	t := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	if t.Year() != year || int(t.Month()) != month || t.Day() != day {
		return 0, ErrDate
	}
	if year < 1678 || year > 2261 {
		return 0, ErrRange
	}
	return wire.Nanos(t.UnixNano()), nil
}

func two(b []byte) (int, bool) {
	if len(b) < 2 || !isDigit(b[0]) || !isDigit(b[1]) {
		return 0, false
	}
	return int(b[0]-'0')*10 + int(b[1]-'0'), true
}

func isDigit(c byte) bool { return c-'0' <= 9 }
