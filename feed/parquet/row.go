package parquet

import (
	"errors"
	"fmt"

	pq "github.com/parquet-go/parquet-go"
)

var errLevels = errors.New("the columns of a group do not agree on how long its lists are")

func columnError(l *leaf, err error) error { return fmt.Errorf("column %s: %w", l.path, err) }

// rowWriter writes the current row of its cursors as JSON. It assembles records
// from columns as the Dremel paper does: the levels of a group's first column
// say whether the group is there and how many there are.
type rowWriter struct {
	leaves  []*leaf
	cursors []cursor
}

// peek returns the next value of leaf i, or nil behind the row's last.
func (w *rowWriter) peek(i int) *pq.Value {
	c := &w.cursors[i]
	if c.at >= len(c.row) {
		return nil
	}
	return &c.row[c.at]
}

// absent reports whether n, or a group around it, is null or an empty list. It
// then passes over n's values.
func (w *rowWriter) absent(n *node) (bool, error) {
	v := w.peek(n.from)
	if v == nil {
		return false, errLevels
	}
	if v.DefinitionLevel() >= n.definition {
		return false, nil
	}
	for i := n.from; i < n.to; i++ {
		w.cursors[i].at++
	}
	return true, nil
}

// append appends the value of n.
func (w *rowWriter) append(dst []byte, n *node) ([]byte, error) {
	if n.repeated {
		return w.appendList(dst, n, false)
	}
	if n.optional {
		if absent, err := w.absent(n); absent || err != nil {
			return append(dst, "null"...), err
		}
	}
	return w.appendPresent(dst, n)
}

// appendList appends the elements of n, which is repeated. Where bare is set
// they are those of its only child.
func (w *rowWriter) appendList(dst []byte, n *node, bare bool) ([]byte, error) {
	if absent, err := w.absent(n); absent || err != nil {
		return append(dst, "[]"...), err
	}
	for open := byte('['); ; open = ',' {
		dst = append(dst, open)
		var err error
		if bare {
			dst, err = w.append(dst, n.children[0])
		} else {
			dst, err = w.appendPresent(dst, n)
		}
		if err != nil {
			return dst, err
		}
		if v := w.peek(n.from); v == nil || v.RepetitionLevel() != n.repetition {
			return append(dst, ']'), nil
		}
	}
}

// appendPresent appends n, which is there, or one element of it.
func (w *rowWriter) appendPresent(dst []byte, n *node) ([]byte, error) {
	switch {
	case n.leaf != nil:
		v := w.peek(n.from)
		if v == nil {
			return dst, errLevels
		}
		w.cursors[n.from].at++
		if v.IsNull() {
			return append(dst, "null"...), nil
		}
		dst, err := n.leaf.write(dst, v)
		if err != nil {
			err = columnError(n.leaf, err)
		}
		return dst, err
	case n.element != nil:
		return w.appendList(dst, n.element, n.element.bare)
	}
	return w.appendGroup(dst, n)
}

func (w *rowWriter) appendGroup(dst []byte, n *node) ([]byte, error) {
	for i, c := range n.children {
		if i == 0 {
			dst = append(dst, '{')
		} else {
			dst = append(dst, ',')
		}
		dst = append(dst, c.key...)
		var err error
		if dst, err = w.append(dst, c); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}
