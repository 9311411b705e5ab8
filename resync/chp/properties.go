package chp

import (
	"bytes"
	"fmt"
	"iter"
	"strconv"
	"time"
)

// Bounds of properties. The value's is CHP's; the others are this project's, so
// that checking stays cheap. What a server takes from a client leaves room for
// what it adds.
const (
	propertyValueMax = 255
	propertiesMax    = 8192 // bytes of a message
	propertyCountMax = 64   // of a message
	givenMax         = 4096 // bytes that a server takes
	givenCountMax    = 48   // properties that it takes
)

// Names of properties that have a meaning.
const (
	propTTL      = "ttl"      // KVSET, KVSYNC, KVPUB: seconds that the value lives
	propEpoch    = "epoch"    // KVPUB, KTHXBAI, HUGZ: the server's run, 16 hexadecimal digits
	propEntries  = "entries"  // KTHXBAI: how many KVSYNCs the snapshot had
	propPrevious = "previous" // KVPUB: sequences of the updates before, see lineage
	propSequence = "sequence" // HUGZ: the last sequence that was published
)

// ours reports whether a property is set by servers alone. What a client says
// of it is dropped.
func ours(name []byte) bool {
	switch string(name) {
	case propEpoch, propEntries, propPrevious, propSequence:
		return true
	}
	return false
}

// Properties are the named values of a message as they travel: zero or more
// name=value, each ended by a line feed.
type Properties []byte

// check reports why p is not made of properties.
func (p Properties) check() error {
	if len(p) > propertiesMax {
		return malformed(reasonPropsLong)
	}
	if bytes.IndexByte(p, 0) >= 0 {
		return malformed(reasonPropsZero)
	}
	if bytes.Count(p, []byte{'\n'}) > propertyCountMax {
		return malformed(reasonPropsMany)
	}
	for rest := p; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte{'\n'})
		name, value, equals := bytes.Cut(line, []byte{'='})
		switch {
		case !ended:
			return malformed(reasonPropsEnd)
		case !equals:
			return malformed(reasonPropsEqual)
		case len(name) == 0:
			return malformed(reasonPropsName)
		case len(value) > propertyValueMax:
			return malformed(reasonPropsValue)
		}
		if Properties(after).has(name) {
			return malformed(reasonPropsTwice)
		}
		rest = after
	}
	return nil
}

// givable reports whether a server takes p, beside what it adds itself.
func (p Properties) givable() bool {
	return len(p) <= givenMax && bytes.Count(p, []byte{'\n'}) <= givenCountMax && p.check() == nil
}

// All gives names and values in order, borrowed from p.
func (p Properties) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for rest := []byte(p); len(rest) > 0; {
			line, after, _ := bytes.Cut(rest, []byte{'\n'})
			name, value, _ := bytes.Cut(line, []byte{'='})
			if !yield(name, value) {
				return
			}
			rest = after
		}
	}
}

func (p Properties) has(name []byte) bool {
	for n := range p.All() {
		if bytes.Equal(n, name) {
			return true
		}
	}
	return false
}

// Get returns the value of a property, borrowed, and nothing if there is none
// of that name.
func (p Properties) Get(name string) []byte {
	for n, v := range p.All() {
		if string(n) == name {
			return v
		}
	}
	return nil
}

// AppendProperty appends name=value to p, which must not have the name yet.
func AppendProperty(p Properties, name string, value []byte) (Properties, error) {
	if name == "" || bytes.ContainsAny([]byte(name), "=\n\x00") || bytes.ContainsAny(value, "\n\x00") ||
		len(value) > propertyValueMax || len(p)+len(name)+len(value)+2 > propertiesMax || p.has([]byte(name)) {
		return p, fmt.Errorf("%w: %.40q", ErrProperty, name)
	}
	return appendProperty(p, name, value), nil
}

// appendProperty is AppendProperty for what is known to be right.
func appendProperty(p Properties, name string, value []byte) Properties {
	p = append(p, name...)
	p = append(p, '=')
	p = append(p, value...)
	return append(p, '\n')
}

func appendNumber(p Properties, name string, n uint64) Properties {
	p = append(p, name...)
	p = append(p, '=')
	p = strconv.AppendUint(p, n, 10)
	return append(p, '\n')
}

// ttlMax is the longest time to live that can be told: what fits 31 bits of
// seconds, as clients in C read it.
const ttlMax = (1<<31 - 1) * time.Second

// TTL returns the time that the value lives; 0 for ever.
func (p Properties) TTL() (time.Duration, error) {
	v := p.Get(propTTL)
	if len(v) == 0 {
		return 0, nil
	}
	seconds, err := strconv.ParseUint(string(v), 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%w: %q", ErrTTL, v)
	}
	return time.Duration(seconds) * time.Second, nil
}

// appendTTL appends a time to live, in whole seconds and never less than the
// time that is meant.
func appendTTL(p Properties, ttl time.Duration) Properties {
	return appendNumber(p, propTTL, uint64((ttl+time.Second-1)/time.Second))
}

// without returns the properties that are not to be dropped: those that are no
// server's and, with keepTTL, the time to live. It returns p itself where it
// can, and else a new slice.
func (p Properties) without(keepTTL bool) Properties {
	drop := func(name []byte) bool { return ours(name) || !keepTTL && string(name) == propTTL }
	for name := range p.All() {
		if drop(name) {
			var kept Properties
			for n, v := range p.All() {
				if !drop(n) {
					kept = appendProperty(kept, string(n), v)
				}
			}
			return kept
		}
	}
	return p
}
