package csv

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/feed/colmap"
	"github.com/tapedeck/tapedeck/wire"
)

// Names of columns, in order of preference, in lower case without anything that
// is not a letter or digit.
var (
	timeNames = []string{
		"tsevent", "eventtime", "exchangetimestamp", "exchangetime", "timestamp", "datetime", "ts",
		"time", "transacttime", "tradetime", "tradetimestamp", "utctimestamp", "timestamputc", "utctime", "opentime", "date",
	}
	receiveNames = []string{
		"localtimestamp", "tsrecv", "receivetime", "receivedtime", "receivetimestamp", "recvtime",
		"receivedat", "localtime", "capturetime", "capturetimestamp",
	}
	symbolNames = []string{
		"symbol", "ticker", "instrument", "pair", "sym", "instid", "instrumentname", "rawsymbol",
		"contract", "security", "productid", "market", "ric", "isin", "instrumentid", "securityid",
	}
	exchangeNames = []string{"exchange", "venue", "exch", "mic", "source", "publisher"}
	unitSuffixes  = map[string]colmap.Unit{
		"ms": colmap.Ms, "us": colmap.Us, "ns": colmap.Ns, "millis": colmap.Ms, "micros": colmap.Us, "nanos": colmap.Ns,
	}
)

// plain writes a column's name in lower case, letters and digits alone.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r > 0x7f:
			return r
		}
		return -1
	}, name)
}

// timeName says whether a column is called as times are: how preferred the name
// is (less is more), and the unit that it ends in.
func timeName(name string) (rank int, u colmap.Unit, ok bool) { return rankTime(timeNames, name) }

func rankTime(list []string, name string) (int, colmap.Unit, bool) {
	p := plain(name)
	for i, known := range list {
		if p == known {
			return i, colmap.Auto, true
		}
		if rest, ok := strings.CutPrefix(p, known); ok {
			if u, ok := unitSuffixes[rest]; ok {
				return i, u, true
			}
		}
	}
	return 0, colmap.Auto, false
}

// bestTime returns the column with the most preferred name of list.
func (s *sample) bestTime(list []string) timeColumns {
	t, best := timeColumns{date: -1, col: -1}, len(list)
	for i, name := range s.names {
		if rank, u, ok := rankTime(list, name); ok && rank < best {
			t.col, t.unit, best = i, u, rank
		}
	}
	return t
}

// guessLayout tells the columns by their names, and where there are none the
// time by there being one column of full dates and times.
func (s *sample) guessLayout() (*layout, error) {
	l := &layout{time: s.bestTime(timeNames), receive: s.bestTime(receiveNames)}
	if !l.time.present() && !l.receive.present() {
		l.time.col = s.onlyDateTime()
	}
	if !l.time.present() && !l.receive.present() {
		return nil, fmt.Errorf("csv: cannot tell which column is the time: %s; say so with --columns, for example %s",
			s.describe(), s.example())
	}
	if l.time.present() && l.time.date < 0 && s.allOf(l.time.col, isTod) {
		if date := s.column("date", "day", "tradedate", "tradingday"); date >= 0 && date != l.time.col {
			l.time.date = date
		}
	}
	if l.time.present() && plain(s.nameOf(l.time.col)) == "date" {
		// Dates alone; the time of day may be in a column of any other name.
		if tod := s.onlyTod(); tod >= 0 {
			l.time.date, l.time.col = l.time.col, tod
		}
	}
	symbol := s.column(symbolNames...)
	if id := s.column("id"); symbol < 0 && id >= 0 && s.allOf(id, isSymbol) {
		symbol = id
	}
	if symbol >= 0 {
		if exchange := s.column(exchangeNames...); exchange >= 0 {
			l.topic = append(l.topic, exchange)
		}
		l.topic = append(l.topic, symbol)
	}
	l.kind = s.guessKind()
	return l, nil
}

// column returns the first column that has the earliest of the names, or -1.
func (s *sample) column(list ...string) int {
	for _, want := range list {
		for i, name := range s.names {
			if plain(name) == want {
				return i
			}
		}
	}
	return -1
}

func (s *sample) nameOf(i int) string {
	if i < 0 || i >= len(s.names) {
		return ""
	}
	return s.names[i]
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

// guessKind tells the kind of the records by the names of the columns.
func (s *sample) guessKind() wire.Kind {
	has := func(list ...string) bool { return s.column(list...) >= 0 }
	switch {
	case has("open") && has("high") && has("low") && has("close"):
		return wire.KindBar
	case has("bid", "bidprice", "bidpx", "bestbid") && has("ask", "askprice", "askpx", "bestask"):
		return wire.KindQuote
	case has("price", "px") && has("side", "issell", "isbuyermaker", "tradeid", "aggressorside") &&
		has("amount", "size", "qty", "quantity", "volume") && !has("issnapshot", "orderid", "action"):
		return wire.KindTrade
	}
	return wire.KindData
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
