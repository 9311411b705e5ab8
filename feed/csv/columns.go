package csv

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/wire"
)

// columnsExample is what errors about a column map show.
const columnsExample = "time=timestamp:us,receive=local_timestamp:us,topic=exchange+symbol,kind=trade"

// columnRef names a column, by its name or by its place.
type columnRef struct {
	name  string
	place int // from 1; 0 where it is named
}

// timeRef is an item time= or receive=. With two columns the first holds dates.
type timeRef struct {
	columns []columnRef
	unit    unit
}

// columnMap is a column map as it was written.
type columnMap struct {
	time, receive timeRef
	topic         []columnRef
	kind          wire.Kind
}

// named reports whether any column is given by name.
func (m *columnMap) named() bool {
	for _, list := range [][]columnRef{m.time.columns, m.receive.columns, m.topic} {
		for _, c := range list {
			if c.place == 0 {
				return true
			}
		}
	}
	return false
}

// parseColumns parses a column map as the package comment describes it.
func parseColumns(text string) (*columnMap, error) {
	m, seen := &columnMap{}, map[string]bool{}
	for rest := text; ; {
		key, value, ok := strings.Cut(rest, "=")
		if key = strings.TrimSpace(key); !ok || key == "" {
			return nil, columnsError("expected key=column at %q", rest)
		}
		if seen[key] {
			return nil, columnsError("%s is given twice", key)
		}
		seen[key] = true
		var err error
		if rest, err = m.item(key, value); err != nil {
			return nil, err
		}
		if rest == "" {
			break
		}
		if rest[0] != ',' {
			return nil, columnsError("expected a comma at %q", rest)
		}
		rest = rest[1:]
	}
	if len(m.time.columns) == 0 && len(m.receive.columns) == 0 {
		return nil, columnsError("it names no time")
	}
	return m, nil
}

func columnsError(format string, args ...any) error {
	return fmt.Errorf("csv: --columns: "+format+"; an example: "+columnsExample, args...)
}

// item parses the value of one item at the start of s and returns what follows.
func (m *columnMap) item(key, s string) (string, error) {
	switch key {
	case "time", "receive":
		ref := &m.time
		if key == "receive" {
			ref = &m.receive
		}
		return ref.parse(key, s)
	case "topic":
		columns, rest, err := parseRefs(key, s)
		m.topic = columns
		return rest, err
	case "kind":
		value, rest := s, ""
		if i := strings.IndexByte(s, ','); i >= 0 {
			value, rest = s[:i], s[i:]
		}
		kind, err := wire.ParseKind(strings.TrimSpace(value))
		if err != nil {
			return "", columnsError("unknown kind %q (data, order, quote, trade, bar, ...)", value)
		}
		m.kind = kind
		return rest, nil
	}
	return "", columnsError("unknown key %q (time, receive, topic, kind)", key)
}

func (r *timeRef) parse(key, s string) (string, error) {
	columns, rest, err := parseRefs(key, s)
	if err != nil {
		return "", err
	}
	if len(columns) > 2 {
		return "", columnsError("%s takes one column, or one of dates and one of times", key)
	}
	r.columns = columns
	if rest == "" || rest[0] != ':' {
		return rest, nil
	}
	name := rest[1:]
	rest = ""
	if i := strings.IndexByte(name, ','); i >= 0 {
		name, rest = name[:i], name[i:]
	}
	u, ok := parseUnit(strings.TrimSpace(name))
	if !ok {
		return "", columnsError("unknown unit %q (%s)", name, strings.Join(unitNames[1:], ", "))
	}
	if len(columns) == 2 && u != unitAuto && !u.timeOfDay() {
		return "", columnsError("behind a column of dates the unit is one of times of day, not %s", u)
	}
	r.unit = u
	return rest, nil
}

// parseRefs parses columns joined with + at the start of s.
func parseRefs(key, s string) ([]columnRef, string, error) {
	var list []columnRef
	for {
		ref, rest, err := parseRef(key, s)
		if err != nil {
			return nil, "", err
		}
		list = append(list, ref)
		if rest == "" || rest[0] != '+' {
			return list, rest, nil
		}
		s = rest[1:]
	}
}

func parseRef(key, s string) (columnRef, string, error) {
	s = strings.TrimLeft(s, " ")
	if strings.HasPrefix(s, `"`) {
		end, err := closeQuote([]byte(s), 0)
		if err != nil {
			return columnRef{}, "", columnsError("a quote is not closed at %s", s)
		}
		name, _ := unquote([]byte(s[:end]), nil)
		return columnRef{name: string(name)}, strings.TrimLeft(s[end:], " "), nil
	}
	end := strings.IndexAny(s, `,+:="`)
	if end < 0 {
		end = len(s)
	}
	name, rest := strings.TrimSpace(s[:end]), s[end:]
	if name == "" || rest != "" && (rest[0] == '=' || rest[0] == '"') {
		return columnRef{}, "", columnsError("expected a column behind %s= at %q", key, s)
	}
	if place, ok := strings.CutPrefix(name, "#"); ok {
		n, err := strconv.Atoi(place)
		if err != nil || n < 1 {
			return columnRef{}, "", columnsError("%q is not a column: columns are counted from #1", name)
		}
		return columnRef{place: n}, rest, nil
	}
	return columnRef{name: name}, rest, nil
}

// timeColumns is where a time is: date is -1 where it has no column of dates,
// col is -1 where there is no such time at all.
type timeColumns struct {
	date, col int
	unit      unit
}

func (t *timeColumns) present() bool { return t.col >= 0 }

// layout is a column map resolved against a file's columns.
type layout struct {
	time, receive timeColumns
	topic         []int
	kind          wire.Kind
}

// columnsWanted is how many columns, from the first on, the layout looks at.
func (l *layout) columnsWanted() int {
	n := max(l.time.date, l.time.col, l.receive.date, l.receive.col)
	for _, c := range l.topic {
		n = max(n, c)
	}
	return n + 1
}

// resolve finds the map's columns in s.
func (m *columnMap) resolve(s *sample) (*layout, error) {
	l := &layout{kind: m.kind}
	var err error
	if l.time, err = m.time.resolve(s); err != nil {
		return nil, err
	}
	if l.receive, err = m.receive.resolve(s); err != nil {
		return nil, err
	}
	for _, ref := range m.topic {
		c, err := ref.resolve(s)
		if err != nil {
			return nil, err
		}
		l.topic = append(l.topic, c)
	}
	return l, nil
}

func (r *timeRef) resolve(s *sample) (timeColumns, error) {
	t := timeColumns{date: -1, col: -1, unit: r.unit}
	for _, ref := range r.columns {
		c, err := ref.resolve(s)
		if err != nil {
			return t, err
		}
		t.date, t.col = t.col, c
	}
	return t, nil
}

var errNoHeader = errors.New("csv: --columns names columns, but the file has no header; use #1, #2 and so on")

func (r columnRef) resolve(s *sample) (int, error) {
	if r.place > 0 {
		if r.place > s.columns {
			return 0, fmt.Errorf("csv: there is no column #%d; %s", r.place, s.describe())
		}
		return r.place - 1, nil
	}
	if !s.header {
		return 0, errNoHeader
	}
	found := -1
	for _, same := range []func(a, b string) bool{func(a, b string) bool { return a == b }, strings.EqualFold} {
		for i, name := range s.names {
			if !same(strings.TrimSpace(name), strings.TrimSpace(r.name)) {
				continue
			}
			if found >= 0 {
				return 0, fmt.Errorf("csv: two columns are called %q; say which by its place, as #%d or #%d", r.name, found+1, i+1)
			}
			found = i
		}
		if found >= 0 {
			return found, nil
		}
	}
	return 0, fmt.Errorf("csv: there is no column %q; %s", r.name, s.describe())
}

// describe writes the layout as a column map that gives the same records.
func (l *layout) describe(s *sample) string {
	var items []string
	for _, t := range []struct {
		key     string
		columns timeColumns
	}{{"time", l.time}, {"receive", l.receive}} {
		if t.columns.present() {
			item := t.key + "="
			if t.columns.date >= 0 {
				item += s.ref(t.columns.date) + "+"
			}
			items = append(items, item+s.ref(t.columns.col)+":"+t.columns.unit.String())
		}
	}
	var topic []string
	for _, c := range l.topic {
		topic = append(topic, s.ref(c))
	}
	if len(topic) > 0 {
		items = append(items, "topic="+strings.Join(topic, "+"))
	}
	return strings.Join(append(items, "kind="+l.kind.String()), ",")
}
