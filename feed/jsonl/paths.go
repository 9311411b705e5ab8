package jsonl

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// node is a step of the paths that a scanner looks for.
type node struct {
	name     string
	index    int // the name as an index of an array; -1 where it is none
	slot     int // of the value here; -1 where only values below are wanted
	children []*node
}

// newScanner returns a scanner that puts the value at paths[i] into slots[i].
// No path is empty.
func newScanner(paths [][]string) *scanner {
	s := &scanner{root: &node{slot: -1}, slots: make([]span, len(paths))}
	for slot, path := range paths {
		n := s.root
		for _, name := range path {
			n = n.step(name)
		}
		n.slot = slot
	}
	return s
}

// step returns the child of this name, which it makes where there is none.
func (n *node) step(name string) *node {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	c := &node{name: name, index: -1, slot: -1}
	if i, err := strconv.Atoi(name); err == nil && i >= 0 && strconv.Itoa(i) == name {
		c.index = i
	}
	n.children = append(n.children, c)
	return c
}

// named returns the child with this name, a string as it stands in the text.
func (n *node) named(quoted []byte, escaped bool) *node {
	name := quoted[1 : len(quoted)-1]
	if escaped {
		name = unescape(quoted)
	}
	for _, c := range n.children {
		// Names of one byte, as Binance has, are told apart by it alone, which
		// saves a call for each (BenchmarkNext).
		if len(c.name) == len(name) && (len(name) == 0 || c.name[0] == name[0]) && c.name == string(name) {
			return c
		}
	}
	return nil
}

func (n *node) indexed(i int) *node {
	for _, c := range n.children {
		if c.index == i {
			return c
		}
	}
	return nil
}

// forget clears the slots of n and all below.
func (n *node) forget(slots []span) {
	if n.slot >= 0 {
		slots[n.slot] = span{}
	}
	for _, c := range n.children {
		c.forget(slots)
	}
}

// unescape returns what a string that has escapes says. These are rare enough
// to leave to encoding/json, which also knows of surrogates.
func unescape(quoted []byte) []byte {
	var text string
	// The scanner has checked the string, so it unmarshals.
	_ = json.Unmarshal(quoted, &text)
	return []byte(text)
}

// textOf returns what the value says: a string's text, or a number or boolean
// as it stands. It reports false for an object or array. Of null, and where
// there is no value, nothing remains. What it returns is borrowed.
func (s *scanner) textOf(slot int) ([]byte, bool) {
	at := s.slots[slot]
	b := s.b[at.from:at.to]
	if len(b) == 0 {
		return nil, true
	}
	switch b[0] {
	case '"':
		if bytes.IndexByte(b, '\\') >= 0 {
			return unescape(b), true
		}
		return b[1 : len(b)-1], true
	case '{', '[':
		return nil, false
	case 'n':
		return nil, true
	}
	return b, true
}

// has reports whether there is a value, if only null.
func (s *scanner) has(slot int) bool { return s.slots[slot].to > 0 }
