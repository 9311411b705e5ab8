package tape

import (
	"encoding/binary"
)

// Index header, little-endian; then one entry for each block: its offset in the
// segment (u64), then its header as it stands in the segment.
//
//	0   4    magic "TPIX"
//	4   u8   version, 1
//	5   u8   zero
//	6   u16  entry size, 168
//	8   u32  CRC32C of the whole file with this field zero
//	12  u32  segment number
//	16  16   tape id
//	32  u64  number of blocks
//	40  u64  size of the segment, bytes
//	48  u64  number of the segment's first block
//	56  u64  zero
const (
	idxVersionOff   = 4
	idxZeroOff      = 5
	idxEntrySizeOff = 6
	idxCRCOff       = 8
	idxNumberOff    = 12
	idxIDOff        = 16
	idxCountOff     = 32
	idxSegSizeOff   = 40
	idxFirstOff     = 48
	idxZero2Off     = 56

	indexHeaderSize = 64
	indexEntrySize  = 8 + BlockHeaderSize
	indexMagic      = "TPIX"
	indexVersion    = 1
	indexSizeMax    = 4 << 30
)

// index is the list of blocks of one segment. entries is shared and
// never changed once a tape is open.
type index struct {
	entries     []byte
	segmentSize int64
	first       int // number of the first block
}

func (x *index) blocks() int { return len(x.entries) / indexEntrySize }

// info returns the segment's i-th block.
func (x *index) info(i int) BlockInfo {
	e := x.entries[i*indexEntrySize:][:indexEntrySize]
	b := loadBlockInfo(e[8:])
	b.Offset = int64(binary.LittleEndian.Uint64(e))
	b.Number = x.first + i
	return b
}

// appendIndexEntry appends the entry of a block whose header is at offset.
func appendIndexEntry(dst []byte, offset int64, header []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(offset))
	return append(dst, header[:BlockHeaderSize]...)
}

// encodeIndex returns the content of an index file.
func encodeIndex(id ID, number int, x *index) []byte {
	b := make([]byte, indexHeaderSize, indexHeaderSize+len(x.entries))
	le := binary.LittleEndian
	copy(b, indexMagic)
	b[idxVersionOff] = indexVersion
	le.PutUint16(b[idxEntrySizeOff:], indexEntrySize)
	le.PutUint32(b[idxNumberOff:], uint32(number))
	copy(b[idxIDOff:], id[:])
	le.PutUint64(b[idxCountOff:], uint64(x.blocks()))
	le.PutUint64(b[idxSegSizeOff:], uint64(x.segmentSize))
	le.PutUint64(b[idxFirstOff:], uint64(x.first))
	b = append(b, x.entries...)
	le.PutUint32(b[idxCRCOff:], crcWithout(b, idxCRCOff))
	return b
}

// parseIndex checks the content of an index file and returns it. The index
// borrows b. The reason is empty when all is well.
func parseIndex(b []byte, id ID, number int) (x index, reason string) {
	le := binary.LittleEndian
	switch {
	case len(b) < indexHeaderSize:
		return x, "index is cut off"
	case string(b[:len(indexMagic)]) != indexMagic:
		return x, "not an index (magic)"
	case le.Uint32(b[idxCRCOff:]) != crcWithout(b, idxCRCOff):
		return x, "index checksum differs"
	case b[idxVersionOff] != indexVersion:
		return x, "unknown index version"
	case le.Uint16(b[idxEntrySizeOff:]) != indexEntrySize:
		return x, "unknown index entry size"
	case b[idxZeroOff] != 0 || le.Uint64(b[idxZero2Off:]) != 0:
		return x, reasonReserved
	case ID(b[idxIDOff:idxIDOff+16]) != id || le.Uint32(b[idxNumberOff:]) != uint32(number):
		return x, "index is of another segment"
	}
	x.entries = b[indexHeaderSize:]
	count, first := le.Uint64(b[idxCountOff:]), le.Uint64(b[idxFirstOff:])
	if len(x.entries)%indexEntrySize != 0 || count != uint64(x.blocks()) || first > 1<<40 {
		return x, "index size differs from its block count"
	}
	x.segmentSize, x.first = int64(le.Uint64(b[idxSegSizeOff:])), int(first)
	return x, x.check()
}

// check holds that the blocks fill the segment without holes, so that no entry
// can point outside it.
func (x *index) check() string {
	at := int64(SegmentHeaderSize)
	for i := range x.blocks() {
		e := x.entries[i*indexEntrySize:][:indexEntrySize]
		b, reason := parseBlockHeader(e[8:])
		if reason != "" {
			return "index entry: " + reason
		}
		b.Offset = int64(binary.LittleEndian.Uint64(e))
		if b.Offset != at {
			return "index entries leave holes in the segment"
		}
		at = b.end()
	}
	if at != x.segmentSize {
		return "index entries do not fill the segment"
	}
	return ""
}
