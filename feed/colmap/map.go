package colmap

import (
	"fmt"
	"strings"

	"github.com/tapedeck/tapedeck/wire"
)

// Time says where a time is and how it is to be read. A zero Time is none.
type Time struct {
	Path Path
	Unit Unit
}

// Present reports whether there is such a time.
func (t *Time) Present() bool { return t.Path.Place > 0 || len(t.Path.Names) > 0 }

// Map is a column map.
type Map struct {
	Time, Receive Time
	Topic         []Path
	Kind          wire.Kind
}

// String writes m as a column map that Parse reads as m again.
func (m *Map) String() string {
	var items []string
	for _, t := range []struct {
		key string
		at  *Time
	}{{"time", &m.Time}, {"receive", &m.Receive}} {
		if !t.at.Present() {
			continue
		}
		item := t.key + "=" + t.at.Path.String()
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

// Parse parses a column map. Errors begin with the format's name and show the
// example, which should be a good map of that format.
func Parse(format, text, example string) (*Map, error) {
	p := &parser{format: format, example: example, m: &Map{}}
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
	format, example string
	m               *Map
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf(p.format+": --columns: "+format+"; an example: "+p.example, args...)
}

// item parses the value of one item at the start of s and returns what follows.
func (p *parser) item(key, s string) (string, error) {
	switch key {
	case "time":
		return p.time(&p.m.Time, key, s)
	case "receive":
		return p.time(&p.m.Receive, key, s)
	case "topic":
		for {
			path, rest, err := p.parsePath(key, s)
			if err != nil {
				return "", err
			}
			p.m.Topic = append(p.m.Topic, path)
			if !strings.HasPrefix(rest, "+") {
				return rest, nil
			}
			s = rest[1:]
		}
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
	path, rest, err := p.parsePath(key, s)
	if err != nil {
		return "", err
	}
	t.Path = path
	if !strings.HasPrefix(rest, ":") {
		return rest, nil
	}
	name, rest := upToComma(rest[1:])
	u, ok := ParseUnit(name)
	if !ok {
		return "", p.errorf("unknown unit %q (%s)", name, strings.Join(unitNames[1:], ", "))
	}
	t.Unit = u
	return rest, nil
}

// upToComma cuts s before its first comma.
func upToComma(s string) (value, rest string) {
	if i := strings.IndexByte(s, ','); i >= 0 {
		return strings.TrimSpace(s[:i]), s[i:]
	}
	return strings.TrimSpace(s), ""
}
