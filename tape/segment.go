package tape

import (
	"encoding/binary"
	"fmt"
)

// Segment header, little-endian. The offsets are part of the format.
//
//	0   4    magic "TPSG"
//	4   u8   version, 1
//	5   3    zero
//	8   u32  CRC32C of this header with this field zero
//	12  u32  segment number
//	16  16   tape id
//	32  u64  number of its first block
//	40  24   zero
const (
	segVersionOff = 4
	segCRCOff     = 8
	segNumberOff  = 12
	segIDOff      = 16
	segFirstOff   = 32
	segZeroOff    = 40

	// SegmentHeaderSize is the size of a segment's header, bytes.
	SegmentHeaderSize = 64

	segmentMagic   = "TPSG"
	segmentVersion = 1
	reasonForeign  = "segment is of another tape"
	segmentSuffix  = ".seg"
	indexSuffix    = ".idx"
)

func segmentName(number int) string { return fmt.Sprintf("%08d%s", number, segmentSuffix) }

func indexName(number int) string { return fmt.Sprintf("%08d%s", number, indexSuffix) }

// segmentNumber is the inverse of segmentName and indexName.
func segmentNumber(name, suffix string) (int, bool) {
	var n int
	if len(name) != 8+len(suffix) || name[8:] != suffix {
		return 0, false
	}
	for _, c := range []byte(name[:8]) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

func putSegmentHeader(dst []byte, id ID, number int, first int) {
	dst = dst[:SegmentHeaderSize]
	clear(dst)
	copy(dst, segmentMagic)
	dst[segVersionOff] = segmentVersion
	binary.LittleEndian.PutUint32(dst[segNumberOff:], uint32(number))
	copy(dst[segIDOff:], id[:])
	binary.LittleEndian.PutUint64(dst[segFirstOff:], uint64(first))
	binary.LittleEndian.PutUint32(dst[segCRCOff:], crcWithout(dst, segCRCOff))
}

// checkSegmentHeader returns why h is not the header of that segment, or "".
func checkSegmentHeader(h []byte, id ID, number int, first int) string {
	if len(h) < SegmentHeaderSize {
		return "segment header is cut off"
	}
	h = h[:SegmentHeaderSize]
	le := binary.LittleEndian
	switch {
	case string(h[:len(segmentMagic)]) != segmentMagic:
		return reasonSegment + " (magic)"
	case le.Uint32(h[segCRCOff:]) != crcWithout(h, segCRCOff):
		return reasonSegment + " (checksum)"
	case h[segVersionOff] != segmentVersion:
		return "unknown segment version"
	case !allZero(h[segVersionOff+1:segCRCOff]) || !allZero(h[segZeroOff:]):
		return reasonReserved
	case ID(h[segIDOff:segIDOff+16]) != id:
		return reasonForeign
	case le.Uint32(h[segNumberOff:]) != uint32(number):
		return "segment has another number"
	case le.Uint64(h[segFirstOff:]) != uint64(first):
		return "segment begins at another block number"
	}
	return ""
}
