package jsonl

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/feed/colmap"
)

// topicNames are names of topics beyond those of symbols, in order of preference.
var topicNames = []string{"stream", "topic", "channel", "subject"}

// guess tells a column map by the names in the first line.
func guess(s *sample, hasPrefix bool) (*colmap.Map, error) {
	if len(s.texts) == 0 {
		return nil, errors.New("the first lines are not JSON objects or arrays, one a line")
	}
	paths := scalars(s.texts[0])
	names := make(colmap.Names, len(paths))
	for i, p := range paths {
		names[i] = p.Names[len(p.Names)-1]
	}
	m := &colmap.Map{Kind: names.Kind()}
	if i, u := names.Time(); i >= 0 {
		m.Time = colmap.Time{Path: paths[i], Unit: u}
	}
	if i, u := names.Receive(); i >= 0 {
		m.Receive = colmap.Time{Path: paths[i], Unit: u}
	}
	if !m.Time.Present() && !m.Receive.Present() && !hasPrefix {
		var list []string
		for _, p := range paths {
			list = append(list, p.String())
		}
		return nil, fmt.Errorf("cannot tell which value is the time; there are %s; say so with --columns, for example %s",
			strings.Join(list, ", "), columnsExample)
	}
	for _, i := range names.Topic() {
		m.Topic = append(m.Topic, paths[i])
	}
	if i := names.Find(topicNames...); len(m.Topic) == 0 && i >= 0 {
		m.Topic = []colmap.Path{paths[i]}
	}
	return m, nil
}

// scalars returns the paths of the strings, numbers and booleans at the top of
// the text and one level below, those at the top first.
func scalars(text []byte) []colmap.Path {
	var top, below []colmap.Path
	s := newScanner(nil)
	walk(s, text, func(name string, at span) {
		switch text[at.from] {
		case '{':
			inner := text[at.from:at.to]
			walk(newScanner(nil), inner, func(child string, at span) {
				if inner[at.from] != '{' && inner[at.from] != '[' {
					below = append(below, colmap.Path{Names: []string{name, child}})
				}
			})
		case '[':
		default:
			top = append(top, colmap.Path{Names: []string{name}})
		}
	})
	return slices.Concat(top, below)
}

// isCount reports whether the first value at the path is a bare number, whose
// unit the user may say.
func isCount(s *sample, path colmap.Path) bool {
	scan := newScanner([][]string{path.Names})
	for _, text := range s.texts {
		if !scan.scan(text) {
			continue
		}
		if value, ok := scan.textOf(0); ok && len(value) > 0 {
			_, err := colmap.Ns.ParseTime(value)
			return err == nil
		}
	}
	return true
}
