package csv

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tapedeck/tapedeck/feed/colmap"
	"github.com/tapedeck/tapedeck/wire"
)

// columnsExample is what errors about a column map show.
const columnsExample = "time=timestamp:us,receive=local_timestamp:us,topic=exchange+symbol,kind=trade"

// grammar is that of column maps as the package comment describes them.
var grammar = colmap.Grammar{Format: "csv", Example: columnsExample, Flat: true, Days: true}

// byName reports whether a map gives any column by name.
func byName(m *colmap.Map) bool {
	for _, p := range append([]colmap.Path{m.Time.Date, m.Time.Path, m.Receive.Date, m.Receive.Path}, m.Topic...) {
		if len(p.Names) > 0 {
			return true
		}
	}
	return false
}

// timeColumns is where a time is: date is -1 where it has no column of dates,
// col is -1 where there is no such time at all.
type timeColumns struct {
	date, col int
	unit      colmap.Unit
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

// resolve finds the columns of m.
func (s *sample) resolve(m *colmap.Map) (*layout, error) {
	l := &layout{kind: m.Kind}
	var err error
	if l.time, err = s.resolveTime(&m.Time); err != nil {
		return nil, err
	}
	if l.receive, err = s.resolveTime(&m.Receive); err != nil {
		return nil, err
	}
	for _, p := range m.Topic {
		c, err := s.find(p)
		if err != nil {
			return nil, err
		}
		l.topic = append(l.topic, c)
	}
	return l, nil
}

func (s *sample) resolveTime(at *colmap.Time) (timeColumns, error) {
	t := timeColumns{date: -1, col: -1, unit: at.Unit}
	if !at.Present() {
		return t, nil
	}
	var err error
	if at.Date.Present() {
		if t.date, err = s.find(at.Date); err != nil {
			return t, err
		}
	}
	t.col, err = s.find(at.Path)
	return t, err
}

var errNoHeader = errors.New("csv: --columns names columns, but the file has no header; use #1, #2 and so on")

// find returns the column that p names.
func (s *sample) find(p colmap.Path) (int, error) {
	if p.Place > 0 {
		if p.Place > s.columns {
			return 0, fmt.Errorf("csv: there is no column #%d; %s", p.Place, s.describe())
		}
		return p.Place - 1, nil
	}
	if !s.header {
		return 0, errNoHeader
	}
	want := p.Names[0]
	found := -1
	for _, same := range []func(a, b string) bool{func(a, b string) bool { return a == b }, strings.EqualFold} {
		for i, name := range s.names {
			if !same(strings.TrimSpace(name), strings.TrimSpace(want)) {
				continue
			}
			if found >= 0 {
				return 0, fmt.Errorf("csv: two columns are called %q; say which by its place, as #%d or #%d", want, found+1, i+1)
			}
			found = i
		}
		if found >= 0 {
			return found, nil
		}
	}
	return 0, fmt.Errorf("csv: there is no column %q; %s", want, s.describe())
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
