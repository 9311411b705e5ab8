package export

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/wire"
)

// encodings returns the encodings that the records are in, each once, and a topic
// that has none, or "".
func (c *Config) encodings() (all []wire.Encoding, bare string) {
	used := make([]bool, len(c.Encodings))
	for _, topic := range c.Topics {
		longest := -1
		for _, e := range c.Encodings {
			if len(e.Topics) > longest && strings.HasPrefix(topic, e.Topics) {
				longest = len(e.Topics)
			}
		}
		if longest < 0 {
			bare = topic
		}
		for i, e := range c.Encodings {
			used[i] = used[i] || len(e.Topics) == longest && strings.HasPrefix(topic, e.Topics)
		}
	}
	for i, e := range c.Encodings {
		if len(c.Topics) > 0 && !used[i] {
			continue
		}
		if !slices.ContainsFunc(all, func(o wire.Encoding) bool { return sameBodies(o, e) }) {
			all = append(all, e)
		}
	}
	return all, bare
}

// sameBodies reports whether two encodings say the same but for their topics.
func sameBodies(a, b wire.Encoding) bool {
	a.Topics, b.Topics = "", ""
	return a.Equal(b)
}

// single returns the one encoding that all records are in, which must be of one
// of the formats.
func (c *Config) single(target string, formats ...string) (wire.Encoding, error) {
	all, bare := c.encodings()
	foreign := slices.ContainsFunc(all, func(e wire.Encoding) bool { return !slices.Contains(formats, e.Format) })
	why := ""
	switch {
	case foreign:
		why = "the tape has " + describe(all)
	case bare != "":
		why = "the tape does not say what the records of topic " + bare + " are"
	case len(all) == 0:
		why = "the tape does not say what its records are"
	case len(all) > 1:
		why = fmt.Sprintf("the tape has those of %d files whose heads differ (%s), and only those of one make a file again",
			len(all), describe(all))
	default:
		return all[0], nil
	}
	return wire.Encoding{}, fmt.Errorf("%w: %s is written of records of %s; %s",
		ErrEncoding, target, strings.Join(formats, ", "), why)
}

// describe names the formats of encodings, with the topics that they are for.
func describe(encodings []wire.Encoding) string {
	var names []string
	for _, e := range encodings {
		name := e.Format
		if e.Topics != "" {
			name += " (topics " + e.Topics + ")"
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}
