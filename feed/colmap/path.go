package colmap

import (
	"strconv"
	"strings"
)

// Path names a value of a row: by the names that lead to it, or by its place.
type Path struct {
	Names []string
	Place int // from 1; 0 where it is named
}

// Present reports whether p names anything.
func (p Path) Present() bool { return p.Place > 0 || len(p.Names) > 0 }

// Is reports whether p is the path of these names.
func (p Path) Is(names ...string) bool {
	if p.Place != 0 || len(p.Names) != len(names) {
		return false
	}
	for i, name := range names {
		if p.Names[i] != name {
			return false
		}
	}
	return true
}

// special are the characters that make a name need quotes.
const special = ",+:=#.\"\n"

// String writes p as a column map does.
func (p Path) String() string {
	if p.Place > 0 {
		return "#" + strconv.Itoa(p.Place)
	}
	var b strings.Builder
	for i, name := range p.Names {
		if i > 0 {
			b.WriteByte('.')
		}
		if name == "" || strings.TrimSpace(name) != name || strings.ContainsAny(name, special) {
			name = `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		}
		b.WriteString(name)
	}
	return b.String()
}

// parsePaths parses paths joined with + at the start of s and returns what follows.
func (p *parser) parsePaths(key, s string) ([]Path, string, error) {
	var list []Path
	for {
		path, rest, err := p.parsePath(key, s)
		if err != nil {
			return nil, "", err
		}
		list = append(list, path)
		if !strings.HasPrefix(rest, "+") {
			return list, rest, nil
		}
		s = rest[1:]
	}
}

// parsePath parses the path at the start of s and returns what follows.
func (p *parser) parsePath(key, s string) (Path, string, error) {
	var path Path
	for {
		s = strings.TrimLeft(s, " ")
		name, rest, quoted, err := p.parseName(key, s)
		if err != nil {
			return path, "", err
		}
		if place, ok := strings.CutPrefix(name, "#"); ok && !quoted {
			n, err := strconv.Atoi(place)
			if err != nil || n < 1 || len(path.Names) > 0 || strings.HasPrefix(rest, ".") && !p.Flat {
				return path, "", p.errorf("%q is not a column: columns are counted from #1", s)
			}
			return Path{Place: n}, rest, nil
		}
		path.Names = append(path.Names, name)
		if p.Flat || !strings.HasPrefix(rest, ".") {
			return path, rest, nil
		}
		s = rest[1:]
	}
}

// parseName parses one name of a path.
func (p *parser) parseName(key, s string) (name, rest string, quoted bool, err error) {
	if strings.HasPrefix(s, `"`) {
		for at := 1; ; at += 2 {
			n := strings.IndexByte(s[at:], '"')
			if n < 0 {
				return "", "", false, p.errorf("a quote is not closed at %s", s)
			}
			at += n
			if !strings.HasPrefix(s[at+1:], `"`) {
				name = strings.ReplaceAll(s[1:at], `""`, `"`)
				return name, strings.TrimLeft(s[at+1:], " "), true, nil
			}
		}
	}
	stops := `,+:=."`
	if p.Flat {
		stops = `,+:="`
	}
	end := strings.IndexAny(s, stops)
	if end < 0 {
		end = len(s)
	}
	name, rest = strings.TrimSpace(s[:end]), s[end:]
	if name == "" || rest != "" && (rest[0] == '=' || rest[0] == '"') {
		return "", "", false, p.errorf("expected a column behind %s= at %q", key, s)
	}
	return name, rest, false, nil
}
