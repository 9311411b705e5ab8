package parquet

import (
	"errors"
	"fmt"
	"strings"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/tapedeck/tapedeck/feed/colmap"
)

// node is a column or group of the schema, as its JSON is written.
type node struct {
	name     string
	key      []byte // its name as a JSON key, the colon included
	optional bool
	repeated bool
	// Levels of the Dremel encoding: a value whose definition level is below
	// definition is null or absent here or above; one whose repetition level is
	// repetition begins the next element of the same list.
	definition, repetition int
	from, to               int // its leaves
	children               []*node
	element                *node // of a LIST or MAP: the repeated group in it
	bare                   bool  // of a LIST's repeated group: its only child is the element
	leaf                   *leaf
}

// schemaDepthMax is how deep groups may be nested.
const schemaDepthMax = 64

var errDepth = errors.New("groups are nested too deep")

// newNode takes a column of the schema and all below it in. It appends the
// leaves to leaves.
func newNode(c *pq.Column, leaves *[]*leaf, depth int) (*node, error) {
	if depth > schemaDepthMax {
		return nil, errDepth
	}
	n := &node{
		name: c.Name(), key: append(appendString(nil, strings.ToValidUTF8(c.Name(), "\ufffd")), ':'),
		optional: c.Optional(), repeated: c.Repeated(),
		definition: c.MaxDefinitionLevel(), repetition: c.MaxRepetitionLevel(), from: len(*leaves),
	}
	if c.Leaf() {
		if c.Index() != len(*leaves) {
			return nil, fmt.Errorf("column %s is number %d and not %d", c.Name(), c.Index(), len(*leaves))
		}
		var err error
		if n.leaf, err = newLeaf(c); err != nil {
			return nil, err
		}
		*leaves = append(*leaves, n.leaf)
		n.to = len(*leaves)
		return n, nil
	}
	for _, child := range c.Columns() {
		below, err := newNode(child, leaves, depth+1)
		if err != nil {
			return nil, err
		}
		n.children = append(n.children, below)
	}
	n.to = len(*leaves)
	if n.to == n.from {
		return nil, fmt.Errorf("group %s has no columns", c.Name())
	}
	n.setElement(c)
	return n, nil
}

// setElement finds what a LIST or MAP repeats, by the rules of LogicalTypes.md,
// those for backward compatibility included.
func (n *node) setElement(c *pq.Column) {
	if len(n.children) != 1 || !n.children[0].repeated || c.Type() == nil {
		return
	}
	logical := c.Type().LogicalType()
	if logical == nil {
		return
	}
	only := n.children[0]
	switch logical.Value.(type) {
	case *format.ListType:
		n.element = only
		only.bare = len(only.children) == 1 && only.name != "array" && only.name != n.name+"_tuple"
	case *format.MapType:
		n.element = only
	}
}

// find returns the leaf that a column map names.
func (n *node) find(p colmap.Path) (*leaf, error) {
	at := n
	if p.Place > 0 {
		if p.Place > len(n.children) {
			return nil, fmt.Errorf("there is no column #%d; %s", p.Place, n.describe())
		}
		at = n.children[p.Place-1]
	}
	for _, name := range p.Names {
		if at = at.child(name); at == nil {
			return nil, fmt.Errorf("there is no column %q; %s", p, n.describe())
		}
	}
	if at.leaf == nil {
		return nil, fmt.Errorf("column %s is a group; its columns are named as in %s.%s", p, p, at.children[0].name)
	}
	if at.repetition > 0 {
		return nil, fmt.Errorf("column %s is a list, so it is neither a time nor a topic", p)
	}
	return at.leaf, nil
}

// child returns the child of this name, whatever its case where none has it as
// it is written.
func (n *node) child(name string) *node {
	for _, same := range []func(a, b string) bool{func(a, b string) bool { return a == b }, strings.EqualFold} {
		for _, c := range n.children {
			if same(c.name, name) {
				return c
			}
		}
	}
	return nil
}

// describe says which columns the file has, for errors.
func (n *node) describe() string {
	const listed = 40
	var names []string
	for i, c := range n.children {
		if i == listed {
			names = append(names, "...")
			break
		}
		names = append(names, c.name)
	}
	return "the columns are " + strings.Join(names, ", ")
}
