package export

import (
	pq "github.com/parquet-go/parquet-go"
)

// columnType is the type of a column of fields.
type columnType uint8

const (
	typeText columnType = iota
	typeInt
	typeUint
	typeDouble
	typeBool
)

// column returns the type that holds all values of the kinds exactly.
func (k valueKind) column() columnType {
	integers := k & kindsIntegers
	switch {
	case k == kindBool:
		return typeBool
	case k != 0 && k == integers && k&kindLarge == 0:
		return typeInt
	case k != 0 && k == integers && k&kindNegative == 0:
		return typeUint
	case k&kindFloat != 0 && k == kindFloat|integers && k&kindWideInt == 0:
		return typeDouble
	}
	return typeText
}

// node returns the column's node of a Parquet schema.
func (t columnType) node() pq.Node {
	switch t {
	case typeInt:
		return pq.Int(64)
	case typeUint:
		return pq.Uint(64)
	case typeDouble:
		return pq.Leaf(pq.DoubleType)
	case typeBool:
		return pq.Leaf(pq.BooleanType)
	}
	return pq.Encoded(pq.String(), &pq.RLEDictionary)
}

// parquetSchema is a group whose columns keep their order, where a pq.Group sorts
// them by name.
type parquetSchema struct {
	pq.Group
	order []string
}

func (s *parquetSchema) add(name string, node pq.Node) {
	s.Group[name] = node
	s.order = append(s.order, name)
}

// Fields implements pq.Node.
func (s *parquetSchema) Fields() []pq.Field {
	byName := map[string]pq.Field{}
	for _, f := range s.Group.Fields() {
		byName[f.Name()] = f
	}
	fields := make([]pq.Field, len(s.order))
	for i, name := range s.order {
		fields[i] = byName[name]
	}
	return fields
}
