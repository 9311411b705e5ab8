package chp

import (
	"bytes"
	"strconv"
)

// lineageMax is how many subtrees a server follows, and lineageDeep how deep.
const (
	lineageMax  = 1 << 16
	lineageDeep = 8
)

// lineage knows the last sequence in the whole table and in each subtree, and
// so lets an update say which update came before it there. A subtree is a prefix
// that ends with one of the separators.
//
// The property is previous=0:17,6:12 and means: the update before this one has
// sequence 17, and 12 among the keys that share this key's first 6 bytes. A
// client that listens to those keys alone compares the second with what it has.
type lineage struct {
	separators string
	last       uint64
	subtrees   map[string]*uint64 // pointers, so that a known one changes without a new key
}

func newLineage(separators string) *lineage {
	return &lineage{separators: separators, subtrees: map[string]*uint64{}}
}

// note takes an update in without telling what was before it.
func (l *lineage) note(key []byte, sequence uint64) { l.appendPrevious(nil, key, sequence) }

// appendPrevious takes an update in and appends the property that tells what was
// before it. With a nil p nothing is appended.
func (l *lineage) appendPrevious(p Properties, key []byte, sequence uint64) Properties {
	p = appendPrevious(p, true, 0, l.last)
	l.last = sequence
	for at, deep := 0, 0; deep < lineageDeep; deep++ {
		n := bytes.IndexAny(key[at:], l.separators)
		if n < 0 {
			break
		}
		at += n + 1
		last := l.subtrees[string(key[:at])]
		if last == nil {
			if len(l.subtrees) >= lineageMax {
				break // never followed, so never told
			}
			last = new(uint64)
			l.subtrees[string(key[:at])] = last
		}
		p = appendPrevious(p, false, at, *last)
		*last = sequence
	}
	if p == nil {
		return nil
	}
	return append(p, '\n')
}

func appendPrevious(p Properties, first bool, length int, sequence uint64) Properties {
	if p == nil {
		return nil
	}
	if first {
		p = append(p, propPrevious...)
		p = append(p, '=')
	} else {
		p = append(p, ',')
	}
	p = strconv.AppendUint(p, uint64(length), 10)
	p = append(p, ':')
	return strconv.AppendUint(p, sequence, 10)
}

// previous returns what an update says about the sequence before it among the
// keys that share its first length bytes.
func previous(p Properties, length int) (sequence uint64, told bool) {
	for rest := p.Get(propPrevious); len(rest) > 0; {
		var one []byte
		one, rest, _ = bytes.Cut(rest, []byte{','})
		l, s, ok := bytes.Cut(one, []byte{':'})
		if !ok {
			return 0, false
		}
		n, err := strconv.ParseUint(string(l), 10, 16)
		if err != nil {
			return 0, false
		}
		if int(n) != length {
			continue
		}
		sequence, err = strconv.ParseUint(string(s), 10, 64)
		return sequence, err == nil
	}
	return 0, false
}
