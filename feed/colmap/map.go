package colmap

import (
	"fmt"
	"strings"

	"github.com/tapedeck/tapedeck/wire"
)

// Time says where a time is and how it is to be read. A zero Time is none.
type Time struct {
	Date Path // of the date, where it has a column of its own
	Path Path
	Unit Unit
}

// Present reports whether there is such a time.
func (t *Time) Present() bool { return t.Path.Present() }

// Map is a column map.
type Map struct {
	Time, Receive Time
	Topic         []Path
	Kind          wire.Kind
}

// String writes m as a column map that its grammar reads as m again.
func (m *Map) String() string {
	var items []string
	for _, t := range []struct {
		key string
		at  *Time
	}{{"time", &m.Time}, {"receive", &m.Receive}} {
		if !t.at.Present() {
			continue
		}
		item := t.key + "="
		if t.at.Date.Present() {
			item += t.at.Date.String() + "+"
		}
		item += t.at.Path.String()
		if t.at.Unit != Auto {
			item += ":" + t.at.Unit.String()
		}
		items = append(items, item)
	}
	var topic []string
	for _, p := range m.Topic {
		topic = append(topic, p.String())
	}
	if len(topic) > 0 {
		items = append(items, "topic="+strings.Join(topic, "+"))
	}
	return strings.Join(append(items, "kind="+m.Kind.String()), ",")
}

// Grammar is what a format's column maps look like.
type Grammar struct {
	Format  string // errors begin with it
	Example string // a good map of the format, for errors
	Flat    bool   // a row has no values within values: a dot is a part of a name
	Days    bool   // there are times of day, and time=DATE+TIME
}

// Parse parses a column map.
func (g Grammar) Parse(text string) (*Map, error) {
	p := &parser{Grammar: g, m: &Map{}}
	seen := map[string]bool{}
	for rest := text; ; {
		key, value, ok := strings.Cut(rest, "=")
		if key = strings.TrimSpace(key); !ok || key == "" {
			return nil, p.errorf("expected key=column at %q", rest)
		}
		if seen[key] {
			return nil, p.errorf("%s is given twice", key)
		}
		seen[key] = true
		var err error
		if rest, err = p.item(key, value); err != nil {
			return nil, err
		}
		if rest == "" {
			break
		}
		if rest[0] != ',' {
			return nil, p.errorf("expected a comma at %q", rest)
		}
		rest = rest[1:]
	}
	if !p.m.Time.Present() && !p.m.Receive.Present() {
		return nil, p.errorf("it names no time")
	}
	return p.m, nil
}

type parser struct {
	Grammar
	m *Map
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf(p.Format+": --columns: "+format+"; an example: "+p.Example, args...)
}

// item parses the value of one item at the start of s and returns what follows.
func (p *parser) item(key, s string) (string, error) {
	switch key {
	case "time":
		return p.time(&p.m.Time, key, s)
	case "receive":
		return p.time(&p.m.Receive, key, s)
	case "topic":
		list, rest, err := p.parsePaths(key, s)
		p.m.Topic = list
		return rest, err
	case "kind":
		value, rest := upToComma(s)
		kind, err := wire.ParseKind(value)
		if err != nil {
			return "", p.errorf("unknown kind %q (data, order, quote, trade, bar, ...)", value)
		}
		p.m.Kind = kind
		return rest, nil
	}
	return "", p.errorf("unknown key %q (time, receive, topic, kind)", key)
}

func (p *parser) time(t *Time, key, s string) (string, error) {
	list, rest, err := p.parsePaths(key, s)
	if err != nil {
		return "", err
	}
	switch {
	case len(list) == 2 && p.Days:
		t.Date, t.Path = list[0], list[1]
	case len(list) == 1:
		t.Path = list[0]
	case p.Days:
		return "", p.errorf("%s takes one column, or one of dates and one of times", key)
	default:
		return "", p.errorf("%s takes one column", key)
	}
	if !strings.HasPrefix(rest, ":") {
		return rest, nil
	}
	name, rest := upToComma(rest[1:])
	u, ok := ParseUnit(name)
	if !ok || u.TimeOfDay() && !p.Days {
		return "", p.errorf("unknown unit %q (%s)", name, strings.Join(p.units(), ", "))
	}
	if t.Date.Present() && u != Auto && !u.TimeOfDay() {
		return "", p.errorf("behind a column of dates the unit is one of times of day, not %s", u)
	}
	t.Unit = u
	return rest, nil
}

// units names the units that the grammar has.
func (p *parser) units() []string {
	if p.Days {
		return unitNames[S:]
	}
	return unitNames[S : ISO+1]
}

// upToComma cuts s before its first comma.
func upToComma(s string) (value, rest string) {
	if i := strings.IndexByte(s, ','); i >= 0 {
		return strings.TrimSpace(s[:i]), s[i:]
	}
	return strings.TrimSpace(s), ""
}
