package parquet

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

var errThrift = errors.New("its Thrift structure is damaged")

// Types of Thrift's compact protocol, as in its specification
// (thrift-compact-protocol.md).
const (
	thriftStop   = 0
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12

	thriftDepthMax = 32
)

// thriftWalk passes over a structure before the Parquet library reads it. The
// library reserves memory for as many elements as a list says that it has; this
// refuses a list with more elements than there are bytes left.
type thriftWalk struct {
	r    *bufio.Reader
	left int64 // bytes that the structure may have
	// number is told of the integers at the top (in is 0) and one level below
	// (in is the field that they are in).
	number func(in, field int16, v int64)
}

func (w *thriftWalk) readByte() (byte, error) {
	if w.left <= 0 {
		return 0, errThrift
	}
	w.left--
	return w.r.ReadByte()
}

// ReadByte implements io.ByteReader for binary.ReadUvarint.
func (w *thriftWalk) ReadByte() (byte, error) { return w.readByte() }

func (w *thriftWalk) varint() (uint64, error) { return binary.ReadUvarint(w) }

func (w *thriftWalk) discard(n uint64) error {
	if n > uint64(w.left) {
		return errThrift
	}
	w.left -= int64(n)
	_, err := io.CopyN(io.Discard, w.r, int64(n))
	return err
}

// structure passes over a struct, which is field in of the one around it.
func (w *thriftWalk) structure(in int16, depth int) error {
	if depth > thriftDepthMax {
		return errThrift
	}
	for id := int16(0); ; {
		head, err := w.readByte()
		if err != nil {
			return err
		}
		if head&0xf == thriftStop {
			return nil
		}
		if delta := int16(head >> 4); delta != 0 {
			id += delta
		} else {
			v, err := w.varint()
			if err != nil {
				return err
			}
			id = int16(unzigzag(v))
		}
		if err := w.field(in, id, head&0xf, depth); err != nil {
			return err
		}
	}
}

func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// field passes over a field's value.
func (w *thriftWalk) field(in, id int16, kind byte, depth int) error {
	switch kind {
	case thriftTrue, thriftFalse:
		return nil
	case thriftI16, thriftI32, thriftI64:
		v, err := w.varint()
		if err == nil && w.number != nil && depth <= 1 {
			w.number(in, id, unzigzag(v))
		}
		return err
	}
	return w.value(id, kind, depth)
}

// value passes over a value that is not an integer's or boolean's field.
func (w *thriftWalk) value(id int16, kind byte, depth int) error {
	switch kind {
	case thriftTrue, thriftFalse, thriftByte:
		return w.discard(1)
	case thriftI16, thriftI32, thriftI64:
		_, err := w.varint()
		return err
	case thriftDouble:
		return w.discard(8)
	case thriftBinary:
		n, err := w.varint()
		if err != nil {
			return err
		}
		return w.discard(n)
	case thriftList, thriftSet:
		return w.list(depth)
	case thriftMap:
		return w.pairs(depth)
	case thriftStruct:
		return w.structure(id, depth+1)
	}
	return errThrift
}

func (w *thriftWalk) list(depth int) error {
	head, err := w.readByte()
	if err != nil {
		return err
	}
	n := uint64(head >> 4)
	if n == 15 {
		if n, err = w.varint(); err != nil {
			return err
		}
	}
	return w.elements(n, depth, head&0xf)
}

func (w *thriftWalk) pairs(depth int) error {
	n, err := w.varint()
	if err != nil || n == 0 {
		return err
	}
	kinds, err := w.readByte()
	if err != nil {
		return err
	}
	return w.elements(n, depth, kinds>>4, kinds&0xf)
}

// elements passes over n times a value of each of the kinds.
func (w *thriftWalk) elements(n uint64, depth int, kinds ...byte) error {
	if n > uint64(w.left) || depth > thriftDepthMax {
		return errThrift
	}
	for range n {
		for _, kind := range kinds {
			if err := w.value(-1, kind, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}
