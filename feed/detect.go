package feed

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrEmpty: the input has no content at all.
	ErrEmpty = errors.New("empty file")
	// ErrUnknownFormat: no format of the table has the name asked for.
	ErrUnknownFormat = errors.New("unknown format")
	// ErrAmbiguous: two formats are equally sure that the input is theirs.
	ErrAmbiguous = errors.New("format is ambiguous; name it with --format")
)

// Detect returns the entry of table that in is to be read with: the one called
// name, or with name "" the one that is surest of the input's head.
//
// The error wraps ErrUnknownFormat (it lists the names), ErrEmpty, or
// ErrAmbiguous (it names the two formats), or is an *ErrNoFormat.
func Detect(table []Format, in *Input, name string) (*Format, error) {
	if name != "" {
		f, err := findFormat(table, name)
		if err != nil {
			return nil, err
		}
		if len(in.Head) == 0 {
			return nil, fmt.Errorf("feed: %s: %w", in.Name, ErrEmpty)
		}
		return f, nil
	}
	if len(in.Head) == 0 {
		return nil, fmt.Errorf("feed: %s: %w", in.Name, ErrEmpty)
	}
	var best, rival *Format
	certainty := 0
	for i := range table {
		f := &table[i]
		switch c := f.Detect(in.Head); {
		case c > certainty:
			best, rival, certainty = f, nil, c
		case c == certainty && c > 0:
			rival = f
		}
	}
	switch {
	case best == nil:
		return nil, &ErrNoFormat{Name: in.Name}
	case rival != nil:
		return nil, fmt.Errorf("feed: %s: it may be %s or %s: %w", in.Name, best.Name, rival.Name, ErrAmbiguous)
	}
	return best, nil
}

func findFormat(table []Format, name string) (*Format, error) {
	var names []string
	for i := range table {
		if table[i].Name == name {
			return &table[i], nil
		}
		names = append(names, table[i].Name)
	}
	return nil, fmt.Errorf("feed: %w %q; known: %s", ErrUnknownFormat, name, strings.Join(names, ", "))
}
