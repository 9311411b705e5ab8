package dbn

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// The file head ("Metadata" in the DBN specification), little-endian:
//
//	0    3    "DBN"
//	3    u8   version
//	4    u32  length of what follows, bytes
//	8    16   dataset, C string
//	24   u16  schema, 2^16-1 where mixed
//	26   u64  start, ns
//	34   u64  end, ns; 2^64-1 where open
//	42   u64  limit of records, 0 where none
//	          version 1 only: u64 record count, deprecated
//	     u8   stype_in, 255 where mixed
//	     u8   stype_out
//	     u8   ts_out
//	          from version 2 on: u16 length of symbols, bytes (22 in version 1)
//	          reserved: 47 bytes in version 1, else 53
//	     u32  length of a schema definition, which follows; 0 in these versions
//	     u32  count of symbols, then the symbols
//	     u32  count of partly resolved symbols, then they
//	     u32  count of symbols not found, then they
//	     u32  count of mappings, then for each: symbol, u32 count of intervals,
//	          and for each of them: u32 start and u32 end (exclusive) as the
//	          decimal number YYYYMMDD, symbol
//
// Zero bytes may follow; version 3 pads to a multiple of 8.
const (
	magic       = "DBN"
	versionOff  = 3
	lengthsOff  = 4
	preludeSize = 8
	datasetSize = 16

	versionMin = 1
	versionMax = 3

	// fixedSize is the size of the fields before the schema definition.
	fixedSize = 100
	// metadataSizeMax bounds the head, bytes. A symbol with one interval takes
	// 154 bytes, so this is room for more than a million and a half.
	metadataSizeMax = 256 << 20

	reservedV1 = 47
	reservedV2 = 53

	nullSchema = math.MaxUint16
	nullSType  = math.MaxUint8
)

// metadata is a file head taken apart. It borrows raw.
type metadata struct {
	raw      []byte // the whole head, magic included
	dataset  string
	start    uint64
	end      uint64
	limit    uint64
	symbols  int // counts
	partial  int
	notFound int
	mappings int
	mapOff   int // of the first mapping in raw
	symSize  int // length of one symbol, bytes
	schema   uint16
	version  uint8
	stypeIn  uint8
	stypeOut uint8
	tsOut    bool
}

// interval is one date interval of a mapping. The symbols borrow the head.
type interval struct {
	symbol   []byte // what was asked for, a symbol of stype_in
	mapped   []byte // what it stood for, a symbol of stype_out
	startDay uint32 // days since the Unix epoch, UTC
	endDay   uint32 // exclusive
}

// hasMagic reports whether b begins with a file head of any version. The fourth
// byte of text would be a printable character.
func hasMagic(b []byte) bool {
	return len(b) > versionOff && string(b[:versionOff]) == magic && b[versionOff] < ' '
}

// isHead reports whether b begins with a file head of a known version. No known
// record begins so.
func isHead(b []byte) bool {
	return hasMagic(b) && b[versionOff] >= versionMin && b[versionOff] <= versionMax
}

// checkPrelude checks the first 8 bytes of a head and returns the size of the
// whole head, bytes.
func checkPrelude(b []byte) (int, error) {
	if v := b[versionOff]; !isHead(b) {
		return 0, &OffsetError{versionOff, fmt.Errorf("%w %d; versions %d to %d are read",
			ErrVersion, v, versionMin, versionMax)}
	}
	n := binary.LittleEndian.Uint32(b[lengthsOff:])
	if n < fixedSize || n > metadataSizeMax {
		return 0, &OffsetError{lengthsOff, fmt.Errorf("%w: length %d is not within %d and %d",
			ErrMetadata, n, fixedSize, metadataSizeMax)}
	}
	return preludeSize + int(n), nil
}

// parseMetadata takes the whole head apart, all but its mappings, which
// eachInterval reads. The error is an *OffsetError.
func parseMetadata(raw []byte) (*metadata, error) {
	m := &metadata{raw: raw, version: raw[versionOff]}
	c := cursor{b: raw, off: preludeSize}
	m.dataset = string(cstring(c.bytes(datasetSize, "dataset")))
	m.schema = c.u16("schema")
	m.start, m.end, m.limit = c.u64("start"), c.u64("end"), c.u64("limit")
	if m.version == 1 {
		c.u64("record count")
	}
	m.stypeIn, m.stypeOut = c.u8("stype_in"), c.u8("stype_out")
	m.tsOut = c.u8("ts_out") != 0
	if m.version == 1 {
		m.symSize = symbolLenV1
		c.bytes(reservedV1, "reserved")
	} else {
		m.symSize = int(c.u16("symbol length"))
		c.bytes(reservedV2, "reserved")
	}
	if c.err == nil && m.symSize == 0 {
		c.fail("symbol length is 0")
	}
	c.bytes(int(c.u32("schema definition")), "schema definition")
	m.symbols = c.symbols(m.symSize, "symbols")
	m.partial = c.symbols(m.symSize, "partly resolved symbols")
	m.notFound = c.symbols(m.symSize, "symbols not found")
	m.mappings = c.count(m.symSize+4, "mappings")
	m.mapOff = c.off
	return m, c.err
}

// eachInterval calls f for every interval of every mapping, in file order. The
// error is an *OffsetError.
func (m *metadata) eachInterval(f func(interval)) error {
	c := cursor{b: m.raw, off: m.mapOff}
	for range m.mappings {
		symbol := cstring(c.bytes(m.symSize, "mapping"))
		n := c.count(8+m.symSize, "mapping intervals")
		for range n {
			iv := interval{symbol: symbol, startDay: c.date(), endDay: c.date()}
			iv.mapped = cstring(c.bytes(m.symSize, "mapping interval"))
			if c.err != nil {
				return c.err
			}
			f(iv)
		}
		if c.err != nil {
			return c.err
		}
	}
	return nil
}

// cstring cuts b at its first zero byte.
func cstring(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

// cursor reads a head front to back. After the first error it yields zeros.
type cursor struct {
	b   []byte
	err error
	off int
}

func (c *cursor) fail(reason string) {
	if c.err == nil {
		c.err = &OffsetError{int64(c.off), fmt.Errorf("%w: %s", ErrMetadata, reason)}
	}
}

// bytes returns the next n bytes, borrowed.
func (c *cursor) bytes(n int, what string) []byte {
	if c.err == nil && n > len(c.b)-c.off {
		c.fail(what + " reach beyond its length")
	}
	if c.err != nil {
		return nil
	}
	c.off += n
	return c.b[c.off-n : c.off]
}

func (c *cursor) u8(what string) uint8 {
	if b := c.bytes(1, what); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) u16(what string) uint16 {
	if b := c.bytes(2, what); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) u32(what string) uint32 {
	if b := c.bytes(4, what); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) u64(what string) uint64 {
	if b := c.bytes(8, what); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// count reads a count of things that take at least size bytes each, which must
// all lie within the head.
func (c *cursor) count(size int, what string) int {
	n := c.u32(what)
	if c.err == nil && int64(n)*int64(size) > int64(len(c.b)-c.off) {
		c.fail(fmt.Sprintf("%d %s reach beyond its length", n, what))
	}
	if c.err != nil {
		return 0
	}
	return int(n)
}

// symbols skips a counted list of symbols and returns their count.
func (c *cursor) symbols(size int, what string) int {
	n := c.count(size, what)
	c.bytes(n*size, what)
	return n
}

// date reads a date YYYYMMDD and returns it in days since the Unix epoch.
func (c *cursor) date() uint32 {
	v := c.u32("mapping interval")
	if c.err != nil {
		return 0
	}
	day, ok := epochDay(v)
	if !ok {
		c.off -= 4
		c.fail(fmt.Sprintf("%d is not a date of a mapping interval", v))
	}
	return day
}
