package csv

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/feed/colmap"
	"github.com/tapedeck/tapedeck/wire"
)

// guessLayout tells the columns by their names, and where there are none the
// time by there being one column of full dates and times.
func (s *sample) guessLayout() (*layout, error) {
	names := colmap.Names(s.names)
	l := &layout{time: timeColumns{date: -1}, receive: timeColumns{date: -1}, topic: names.Topic(), kind: names.Kind()}
	l.time.col, l.time.unit = names.Time()
	l.receive.col, l.receive.unit = names.Receive()
	if !l.time.present() && !l.receive.present() {
		l.time.col = s.onlyDateTime()
	}
	if !l.time.present() && !l.receive.present() {
		return nil, fmt.Errorf("csv: cannot tell which column is the time: %s; say so with --columns, for example %s",
			s.describe(), s.example())
	}
	if l.time.present() && l.time.date < 0 && s.allOf(l.time.col, isTod) {
		if date := names.Find("date", "day", "tradedate", "tradingday"); date >= 0 && date != l.time.col {
			l.time.date = date
		}
	}
	if l.time.present() && l.time.col < len(names) && colmap.Plain(names[l.time.col]) == "date" {
		// Dates alone; the time of day may be in a column of any other name.
		if tod := s.onlyTod(); tod >= 0 {
			l.time.date, l.time.col = l.time.col, tod
		}
	}
	if id := names.Find("id"); l.topic == nil && id >= 0 && s.allOf(id, isSymbol) {
		l.topic = names.TopicOf(id)
	}
	return l, nil
}

// allOf reports whether column i has values and all of them are as is says.
func (s *sample) allOf(i int, is func(string) bool) bool {
	some := false
	for _, row := range s.records() {
		if row[i] == "" {
			continue
		}
		if !is(row[i]) {
			return false
		}
		some = true
	}
	return some
}

// onlyDateTime returns the one column that holds dates with times, or -1.
func (s *sample) onlyDateTime() int {
	return s.only(func(v string) bool { return isDateTime(v) && strings.Contains(v, ":") })
}

func (s *sample) onlyTod() int { return s.only(isTod) }

func (s *sample) only(is func(string) bool) int {
	found := -1
	for i := range s.columns {
		if !s.allOf(i, is) {
			continue
		}
		if found >= 0 {
			return -1
		}
		found = i
	}
	return found
}

// isSymbol reports whether an id is a name of an instrument rather than a
// number or a hash: letters in it, and short.
func isSymbol(v string) bool {
	const longest = 20
	return len(v) <= longest && strings.ContainsFunc(v, func(r rune) bool {
		return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
	})
}

// example is a column map with this file's columns.
func (s *sample) example() string {
	if s.columns < 2 {
		return "time=" + s.ref(0) + ":ms"
	}
	return "time=" + s.ref(0) + ":ms,topic=" + s.ref(1)
}

// setUnit tells the unit of t by what most of the sample's values are, where it
// is not given; the others are bad records then. given is the user's unit for
// bare numbers, or colmap.Auto.
func (s *sample) setUnit(t *timeColumns, given colmap.Unit) error {
	if !t.present() || t.unit != colmap.Auto {
		return nil
	}
	var err error
	t.unit, err = s.tellUnit(t, given)
	if err != nil {
		return fmt.Errorf("csv: column %s: %w; say the unit with --columns, for example time=%s:ms", s.ref(t.col), err, s.ref(t.col))
	}
	return nil
}

func (s *sample) tellUnit(t *timeColumns, given colmap.Unit) (colmap.Unit, error) {
	var counts []wire.Nanos
	dates, tods, values := 0, 0, 0
	odd := ""
	for _, row := range s.records() {
		v := row[t.col]
		if v == "" {
			continue
		}
		values++
		n, err := colmap.Ns.ParseTime([]byte(v))
		switch {
		case err == nil && isDateTime(v):
			counts, dates = append(counts, n), dates+1 // 20240808 is both
		case err == nil:
			counts = append(counts, n)
		case isDateTime(v):
			dates++
		case isTod(v):
			tods++
		case odd == "":
			odd = v
		}
	}
	switch {
	case values == 0 && len(s.records()) == 0:
		return colmap.ISO, nil // there are no records: any unit will do
	case values == 0:
		return 0, fmt.Errorf("the first %d records have no value in it", len(s.records()))
	case len(counts) == 0 && dates == 0 && tods == 0:
		return 0, fmt.Errorf("%q is not a time that is known", odd)
	case tods >= len(counts) && tods >= dates:
		return colmap.Tod, nil
	case t.date < 0 && dates >= len(counts):
		return colmap.ISO, nil
	case given != colmap.Auto:
		return given, nil
	case t.date >= 0:
		return 0, errors.New("the unit of a count since midnight is not known")
	}
	// The middle one is not led astray by a bad record.
	slices.Sort(counts)
	middle := int64(counts[len(counts)/2])
	u, err := colmap.Guess(middle)
	if err != nil {
		err = fmt.Errorf("%d is too small to tell the unit of a time", middle)
	}
	return u, err
}
