package dbn

import (
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
)

// head describes a file head for tests to build, by the specification and not by
// the code under test.
type head struct {
	version           uint8
	dataset           string
	schema            uint16
	stypeIn, stypeOut uint8
	tsOut             bool
	symbolLen         int // 0 is what the version has
	mappings          []mapping
	padding           int
}

type mapping struct {
	symbol    string
	intervals []dates
}

type dates struct {
	start, end uint32 // YYYYMMDD
	symbol     string
}

func (h head) bytes() []byte {
	le := binary.LittleEndian
	b := appendCString(nil, h.dataset, 16)
	b = le.AppendUint16(b, h.schema)
	b = le.AppendUint64(b, day0)          // start
	b = le.AppendUint64(b, undefinedTime) // end
	b = le.AppendUint64(b, 0)             // limit
	if h.version == 1 {
		b = le.AppendUint64(b, 0)
	}
	b = append(b, h.stypeIn, h.stypeOut, 0)
	if h.tsOut {
		b[len(b)-1] = 1
	}
	size := h.symbolLen
	if h.version == 1 {
		size = 22
		b = append(b, make([]byte, 47)...)
	} else {
		if size == 0 {
			size = 71
		}
		b = le.AppendUint16(b, uint16(size))
		b = append(b, make([]byte, 53)...)
	}
	b = le.AppendUint32(b, 0) // schema definition
	b = le.AppendUint32(b, uint32(len(h.mappings)))
	for _, m := range h.mappings {
		b = appendCString(b, m.symbol, size)
	}
	b = le.AppendUint32(b, 0) // partial
	b = le.AppendUint32(b, 0) // not found
	b = le.AppendUint32(b, uint32(len(h.mappings)))
	for _, m := range h.mappings {
		b = appendCString(b, m.symbol, size)
		b = le.AppendUint32(b, uint32(len(m.intervals)))
		for _, iv := range m.intervals {
			b = le.AppendUint32(b, iv.start)
			b = le.AppendUint32(b, iv.end)
			b = appendCString(b, iv.symbol, size)
		}
	}
	b = append(b, make([]byte, h.padding)...)
	out := append([]byte("DBN"), h.version)
	out = le.AppendUint32(out, uint32(len(b)))
	return append(out, b...)
}

func appendCString(b []byte, s string, size int) []byte {
	field := make([]byte, size)
	copy(field, s)
	return append(b, field...)
}

// day0 is 2024-01-02 00:00 UTC.
const day0 = 1704153600_000_000_000

// blank returns a record of size bytes, ts_out included, filled with zeros but
// for its head.
func blank(rtype uint8, size int, id uint32, event uint64) []byte {
	b := make([]byte, size)
	b[0], b[1] = byte(size/4), rtype
	binary.LittleEndian.PutUint16(b[2:], 1)
	binary.LittleEndian.PutUint32(b[4:], id)
	binary.LittleEndian.PutUint64(b[8:], event)
	return b
}

// trade returns an mbp-0 record.
func trade(id uint32, event, recv uint64) []byte {
	b := blank(rtypeMBP0, 48, id, event)
	binary.LittleEndian.PutUint64(b[32:], recv)
	return b
}

// mappingV2Record returns a symbol mapping record of version 2.
func mappingV2Record(id uint32, stypeIn uint8, in string, stypeOut uint8, out string) []byte {
	b := blank(rtypeMapping, 176, id, day0)
	b[16], b[88] = stypeIn, stypeOut
	copy(b[17:88], in)
	copy(b[89:160], out)
	return b
}

// mappingV1Record returns a symbol mapping record of version 1.
func mappingV1Record(id uint32, in, out string) []byte {
	b := blank(rtypeMapping, 80, id, day0)
	copy(b[16:38], in)
	copy(b[38:60], out)
	return b
}

// idText is an instrument id as a symbol.
func idText(id uint32) string { return strconv.FormatUint(uint64(id), 10) }

// sizes are the record sizes of the specification, without ts_out, by rtype.
var sizes = map[uint8][]int{
	0x00: {48}, 0x01: {80}, 0x0a: {368}, 0x11: {56}, 0x12: {40}, 0x13: {520, 400, 360},
	0x14: {112}, 0x15: {320, 80}, 0x16: {176, 80}, 0x17: {320, 80}, 0x18: {80, 64},
	0x20: {56}, 0x21: {56}, 0x22: {56}, 0x23: {56}, 0x24: {56},
	0xa0: {56}, 0xb1: {80}, 0xc0: {80}, 0xc1: {80}, 0xc2: {80}, 0xc3: {80}, 0xc4: {80},
}

func knownRtypes() []uint8 { return slices.Sorted(maps.Keys(sizes)) }

// patterned returns a record whose every payload byte is different enough that a
// field read from a wrong place shows.
func patterned(rtype uint8, size int) []byte {
	b := blank(rtype, size, 0x01020304, day0+1)
	for i := headSize; i < size; i++ {
		b[i] = byte(33 + (i*37)%90) // printable, so that texts are readable
	}
	return b
}
