package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/render"
	"github.com/tapedeck/tapedeck/wire"
)

// ColumnsMax is how many columns of fields a file may have.
const ColumnsMax = 4096

// shapesMax is how many lists of field names are kept with their columns.
const shapesMax = 64

var (
	errColumns = fmt.Errorf("there are more than %d different fields", ColumnsMax)
	errChanged = errors.New("the records have changed while they were written")
)

// recordColumns are the columns that every record has, in their order.
var recordColumns = []string{"topic", "topic_seq", "kind", "event_time", "receive_time", "flags"}

// bodyColumn holds bodies that no encoding fits.
const bodyColumn = "body_base64"

// columns are the columns of fields that a walk has found.
type columns struct {
	names  []string // of the columns
	kinds  []valueKind
	byKey  map[fieldKey]int
	taken  map[string]bool // names, the record's own included
	shapes []shape
	last   int // shape of the record before
	seen   map[string]int
	place  []int
	fixed  bool                // no more may be added
	bodies bool                // some bodies could not be taken apart
	clean  func(string) string // makes a field's name one that the file may have; nil is any
}

// fieldKey is a field's name, and which of those of that name in its body it is.
type fieldKey struct {
	name string
	nth  int
}

// shape is a list of field names, as the bodies of one type have it, with the
// columns that they go to.
type shape struct {
	names []string
	at    []int
}

func newColumns(own ...string) *columns {
	c := &columns{byKey: map[fieldKey]int{}, taken: map[string]bool{}, seen: map[string]int{}}
	for _, name := range append(own, recordColumns...) {
		c.taken[name] = true
	}
	return c
}

// learn walks over the records and finds their columns.
func (c *columns) learn(r *run, decoder *render.Decoder) error {
	err := r.each(func(n uint64, rec wire.Record) error {
		fields, known := decoder.Decode(rec)
		if !known {
			c.bodies = true
			return nil
		}
		at, err := c.of(fields)
		if err != nil {
			return &RecordError{n, err}
		}
		for i := range fields {
			c.kinds[at[i]] |= kindOf(fields[i].Value)
		}
		return nil
	})
	c.fixed = true
	return err
}

// of returns the column of each field, borrowed until the next call.
func (c *columns) of(fields []feed.Field) ([]int, error) {
	if c.last < len(c.shapes) && c.shapes[c.last].fits(fields) {
		return c.shapes[c.last].at, nil
	}
	for i := range c.shapes {
		if c.shapes[i].fits(fields) {
			c.last = i
			return c.shapes[i].at, nil
		}
	}
	at, err := c.find(fields)
	if err != nil {
		return nil, err
	}
	if len(c.shapes) < shapesMax {
		s := shape{at: slices.Clone(at)}
		for i := range fields {
			s.names = append(s.names, fields[i].Name)
		}
		c.shapes = append(c.shapes, s)
	}
	return at, nil
}

func (s *shape) fits(fields []feed.Field) bool {
	if len(s.names) != len(fields) {
		return false
	}
	for i := range fields {
		if fields[i].Name != s.names[i] {
			return false
		}
	}
	return true
}

// find looks each field up, and adds the columns that are not there yet.
func (c *columns) find(fields []feed.Field) ([]int, error) {
	clear(c.seen)
	c.place = c.place[:0]
	for i := range fields {
		name := fields[i].Name
		c.seen[name]++
		key := fieldKey{name, c.seen[name]}
		at, ok := c.byKey[key]
		if !ok {
			if c.fixed {
				return nil, errChanged
			}
			if len(c.names) == ColumnsMax {
				return nil, errColumns
			}
			at = len(c.names)
			c.byKey[key] = at
			c.names, c.kinds = append(c.names, c.name(key)), append(c.kinds, 0)
		}
		c.place = append(c.place, at)
	}
	return c.place, nil
}

// name makes a name for a column that no other has.
func (c *columns) name(key fieldKey) string {
	name := key.name
	if c.clean != nil {
		name = c.clean(name)
	}
	if key.nth > 1 {
		name += "_" + strconv.Itoa(key.nth)
	}
	for name == "" || name == bodyColumn || c.taken[name] {
		name = "body_" + name
	}
	c.taken[name] = true
	return name
}

// valueKind is a set of the kinds of values that a field has.
type valueKind uint8

const (
	kindNegative  valueKind = 1 << iota // integers below 0
	kindSmall                           // integers from 0 to MaxInt64
	kindLarge                           // integers above MaxInt64
	kindWideInt                         // integers that a float64 does not hold
	kindFloat                           // float64
	kindBool                            // bool
	kindOther                           // strings and everything else
	kindsIntegers = kindNegative | kindSmall | kindLarge | kindWideInt
)

// exactMax is the largest integer up to which a float64 holds all of them.
const exactMax = 1 << 53

func kindOf(v any) valueKind {
	switch v := v.(type) {
	case nil:
		return 0
	case int64:
		var k valueKind
		if v > exactMax || v < -exactMax {
			k = kindWideInt
		}
		if v < 0 {
			return k | kindNegative
		}
		return k | kindSmall
	case uint64:
		switch {
		case v > math.MaxInt64:
			return kindLarge | kindWideInt
		case v > exactMax:
			return kindSmall | kindWideInt
		}
		return kindSmall
	case float64:
		return kindFloat
	case bool:
		return kindBool
	case json.RawMessage:
		// A number that none of the above holds, or an object.
		return kindOther
	}
	return kindOther
}
