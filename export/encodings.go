package export

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/wire"
)

// encodings returns the encodings that may apply to the records, each once.
func (c *Config) encodings() []wire.Encoding {
	var out []wire.Encoding
	for _, e := range c.Encodings {
		if c.concerns(e) && !slices.ContainsFunc(out, func(o wire.Encoding) bool { return sameBodies(o, e) }) {
			out = append(out, e)
		}
	}
	return out
}

// concerns reports whether an encoding may apply to a record of the topics that
// were chosen.
func (c *Config) concerns(e wire.Encoding) bool {
	return len(c.Topics) == 0 || slices.ContainsFunc(c.Topics, func(t string) bool {
		return strings.HasPrefix(t, e.Topics) || strings.HasPrefix(e.Topics, t)
	})
}

// sameBodies reports whether two encodings say the same but for their topics.
func sameBodies(a, b wire.Encoding) bool {
	a.Topics, b.Topics = "", ""
	return a.Equal(b)
}

// single returns the one encoding that all records are in, which must be of one
// of the formats.
func (c *Config) single(target string, formats ...string) (wire.Encoding, error) {
	all := c.encodings()
	fits := len(all) > 0
	for _, e := range all {
		fits = fits && slices.Contains(formats, e.Format)
	}
	switch {
	case len(all) == 0:
		return wire.Encoding{}, fmt.Errorf("%w: %s is written of %s; the tape does not say what its records are",
			ErrEncoding, target, strings.Join(formats, ", "))
	case !fits:
		return wire.Encoding{}, fmt.Errorf("%w: %s is written of %s; the tape has %s",
			ErrEncoding, target, strings.Join(formats, ", "), describe(all))
	case len(all) > 1:
		return wire.Encoding{}, fmt.Errorf("%w: the tape has records of %d files whose heads differ: %s; only records of one file make a file again",
			ErrEncoding, len(all), describe(all))
	}
	return all[0], nil
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
