package tape

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"

	"github.com/tapedeck/tapedeck/wire"
)

// Block header, little-endian. The offsets are part of the format.
//
//	0    4    magic "TPBK"
//	4    u8   version, 1
//	5    u8   codec
//	6    u16  flags
//	8    u32  CRC32C of this header with this field zero
//	12   u32  stored size, bytes
//	16   u32  payload size, bytes
//	20   u32  order size, bytes
//	24   u32  CRC32C of the stored bytes
//	28   u32  CRC32C of payload, then order
//	32   u64  epoch
//	40   u64  sequence of the first record
//	48   u64  ordinal of the first record
//	56   u64  ordinal of the last record
//	64   u32  record count
//	68   u16  shard
//	70   u16  zero
//	72   i64  least event time, ns
//	80   i64  greatest event time, ns
//	88   i64  least receive time, ns
//	96   i64  greatest receive time, ns
//	104  i64  least send time, ns
//	112  i64  greatest send time, ns
//	120  32   chain hash up to and with this block
//	152  u64  bytes of this segment that were synced when the block was written
const (
	blkVersionOff      = 4
	blkCodecOff        = 5
	blkFlagsOff        = 6
	blkHeaderCRCOff    = 8
	blkStoredSizeOff   = 12
	blkPayloadSizeOff  = 16
	blkOrderSizeOff    = 20
	blkStoredCRCOff    = 24
	blkRawCRCOff       = 28
	blkEpochOff        = 32
	blkFirstSeqOff     = 40
	blkFirstOrdinalOff = 48
	blkLastOrdinalOff  = 56
	blkCountOff        = 64
	blkShardOff        = 68
	blkZeroOff         = 70
	blkEventOff        = 72
	blkReceiveOff      = 88
	blkSendOff         = 104
	blkChainOff        = 120
	blkSyncedOff       = 152

	// BlockHeaderSize is the size of a block's header, bytes.
	BlockHeaderSize = 160

	blockMagic   = "TPBK"
	blockVersion = 1
	blockAlign   = 8
	rawSizeMax   = 2 * wire.PayloadSizeMax
)

// Block flags. Their values are part of the format.
const (
	// flagNoSend: no send time is known; the fields hold the receive times.
	flagNoSend = 1 << 0
	// flagLastValues: the sequences between the shard's block before it and this
	// one, or between the start of the epoch and this one, were last values.
	flagLastValues = 1 << 1

	blockFlagsKnown = flagNoSend | flagLastValues
)

// Span is a closed range of times.
type Span struct{ Min, Max wire.Nanos }

func (s *Span) add(t wire.Nanos) {
	s.Min, s.Max = min(s.Min, t), max(s.Max, t)
}

func (s *Span) merge(o Span) {
	s.Min, s.Max = min(s.Min, o.Min), max(s.Max, o.Max)
}

// emptySpan is the range that add extends to its first time.
func emptySpan() Span { return Span{Min: wire.NanosMax, Max: wire.NanosMin} }

// BlockInfo is what a block's header says, and where the block is.
type BlockInfo struct {
	Number       int   // place in the tape, from 0
	Segment      int   // number of its segment
	Offset       int64 // of its header in the segment, bytes
	Epoch        wire.Epoch
	FirstSeq     wire.Seq
	FirstOrdinal wire.Ordinal
	LastOrdinal  wire.Ordinal
	Event        Span
	Receive      Span
	Send         Span   // equals Receive where NoSend is set
	Synced       uint64 // bytes of the segment that were synced when it was written
	Count        uint32
	StoredSize   uint32 // bytes in the file
	PayloadSize  uint32 // bytes as it travels
	OrderSize    uint32
	StoredCRC    uint32
	RawCRC       uint32 // CRC32C of payload, then order
	Shard        uint16
	Codec        Codec
	NoSend       bool // the source gave no send time
	// LastValues: the sequences between the shard's block before it in the epoch, or
	// the start of the epoch, and this block were last values, sent as batches with
	// wire.FlagSnapshotBatch. They were not recorded, and nothing is missing.
	LastValues bool
	Chain      Digest
}

// Next is the sequence that follows the block.
func (b *BlockInfo) Next() wire.Seq { return b.FirstSeq + wire.Seq(b.Count) }

// RawSize is payload and order together, bytes.
func (b *BlockInfo) RawSize() int { return int(b.PayloadSize) + int(b.OrderSize) }

// end is the offset of whatever follows the block in its segment.
func (b *BlockInfo) end() int64 { return alignUp(b.Offset + BlockHeaderSize + int64(b.StoredSize)) }

// span returns the block's times by one clock.
func (b *BlockInfo) span(c Clock) Span {
	switch c {
	case ClockEvent:
		return b.Event
	case ClockSend:
		return b.Send
	}
	return b.Receive
}

func alignUp(n int64) int64 { return (n + blockAlign - 1) &^ (blockAlign - 1) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// crcWithout returns the CRC32C of b with the four bytes at off taken as zero.
func crcWithout(b []byte, off int) uint32 {
	crc := crc32.Checksum(b[:off], castagnoli)
	crc = crc32.Update(crc, castagnoli, zeros[:4])
	return crc32.Update(crc, castagnoli, b[off+4:])
}

// crcJoin returns the checksum of what crc is of, followed by b.
func crcJoin(crc uint32, b []byte) uint32 { return crc32.Update(crc, castagnoli, b) }

// putBlockHeader writes b's header to dst[:BlockHeaderSize].
func putBlockHeader(dst []byte, b *BlockInfo) {
	_ = dst[BlockHeaderSize-1]
	le := binary.LittleEndian
	copy(dst, blockMagic)
	dst[blkVersionOff], dst[blkCodecOff] = blockVersion, byte(b.Codec)
	flags := uint16(0)
	if b.NoSend {
		flags |= flagNoSend
	}
	if b.LastValues {
		flags |= flagLastValues
	}
	le.PutUint16(dst[blkFlagsOff:], flags)
	le.PutUint32(dst[blkStoredSizeOff:], b.StoredSize)
	le.PutUint32(dst[blkPayloadSizeOff:], b.PayloadSize)
	le.PutUint32(dst[blkOrderSizeOff:], b.OrderSize)
	le.PutUint32(dst[blkStoredCRCOff:], b.StoredCRC)
	le.PutUint32(dst[blkRawCRCOff:], b.RawCRC)
	le.PutUint64(dst[blkEpochOff:], uint64(b.Epoch))
	le.PutUint64(dst[blkFirstSeqOff:], uint64(b.FirstSeq))
	le.PutUint64(dst[blkFirstOrdinalOff:], uint64(b.FirstOrdinal))
	le.PutUint64(dst[blkLastOrdinalOff:], uint64(b.LastOrdinal))
	le.PutUint32(dst[blkCountOff:], b.Count)
	le.PutUint16(dst[blkShardOff:], b.Shard)
	le.PutUint16(dst[blkZeroOff:], 0)
	putSpan(dst[blkEventOff:], b.Event)
	putSpan(dst[blkReceiveOff:], b.Receive)
	putSpan(dst[blkSendOff:], b.Send)
	copy(dst[blkChainOff:], b.Chain[:])
	le.PutUint64(dst[blkSyncedOff:], b.Synced)
	le.PutUint32(dst[blkHeaderCRCOff:], crcWithout(dst[:BlockHeaderSize], blkHeaderCRCOff))
}

func putSpan(dst []byte, s Span) {
	binary.LittleEndian.PutUint64(dst, uint64(s.Min))
	binary.LittleEndian.PutUint64(dst[8:], uint64(s.Max))
}

func getSpan(b []byte) Span {
	return Span{
		Min: wire.Nanos(binary.LittleEndian.Uint64(b)),
		Max: wire.Nanos(binary.LittleEndian.Uint64(b[8:])),
	}
}

// parseBlockHeader takes a header apart and checks everything in it that can be
// checked without the block's bytes. The reason is empty when all is well.
func parseBlockHeader(h []byte) (b BlockInfo, reason string) {
	if len(h) < BlockHeaderSize {
		return b, reasonHeaderCut
	}
	h = h[:BlockHeaderSize]
	switch {
	case string(h[:len(blockMagic)]) != blockMagic:
		return b, reasonMagic
	case binary.LittleEndian.Uint32(h[blkHeaderCRCOff:]) != crcWithout(h, blkHeaderCRCOff):
		return b, reasonHeaderCRC
	case h[blkVersionOff] != blockVersion:
		return b, reasonBlockVersion
	}
	b = loadBlockInfo(h)
	flags := binary.LittleEndian.Uint16(h[blkFlagsOff:])
	if flags&^blockFlagsKnown != 0 || binary.LittleEndian.Uint16(h[blkZeroOff:]) != 0 {
		return b, reasonReserved
	}
	return b, b.check()
}

// loadBlockInfo takes a header apart that was checked before.
func loadBlockInfo(h []byte) BlockInfo {
	_ = h[BlockHeaderSize-1]
	le := binary.LittleEndian
	b := BlockInfo{
		Codec:        Codec(h[blkCodecOff]),
		NoSend:       le.Uint16(h[blkFlagsOff:])&flagNoSend != 0,
		LastValues:   le.Uint16(h[blkFlagsOff:])&flagLastValues != 0,
		StoredSize:   le.Uint32(h[blkStoredSizeOff:]),
		PayloadSize:  le.Uint32(h[blkPayloadSizeOff:]),
		OrderSize:    le.Uint32(h[blkOrderSizeOff:]),
		StoredCRC:    le.Uint32(h[blkStoredCRCOff:]),
		RawCRC:       le.Uint32(h[blkRawCRCOff:]),
		Epoch:        wire.Epoch(le.Uint64(h[blkEpochOff:])),
		FirstSeq:     wire.Seq(le.Uint64(h[blkFirstSeqOff:])),
		FirstOrdinal: wire.Ordinal(le.Uint64(h[blkFirstOrdinalOff:])),
		LastOrdinal:  wire.Ordinal(le.Uint64(h[blkLastOrdinalOff:])),
		Count:        le.Uint32(h[blkCountOff:]),
		Shard:        le.Uint16(h[blkShardOff:]),
		Event:        getSpan(h[blkEventOff:]),
		Receive:      getSpan(h[blkReceiveOff:]),
		Send:         getSpan(h[blkSendOff:]),
		Synced:       le.Uint64(h[blkSyncedOff:]),
	}
	copy(b.Chain[:], h[blkChainOff:])
	return b
}

// check holds the relations between a header's fields.
func (b *BlockInfo) check() string {
	raw := uint64(b.PayloadSize) + uint64(b.OrderSize)
	switch {
	case !b.Codec.known():
		return reasonCodec
	case b.PayloadSize > wire.PayloadSizeMax || b.OrderSize > b.PayloadSize || uint64(b.StoredSize) > raw:
		return reasonSizes
	case b.Codec == CodecPlain && (uint64(b.StoredSize) != raw || b.StoredCRC != b.RawCRC):
		return reasonSizes
	case b.Count == 0 || uint64(b.Count)*(wire.RecordHeadSize+1) > uint64(b.PayloadSize):
		return reasonCount
	case b.FirstSeq+wire.Seq(b.Count) < b.FirstSeq:
		return reasonCount
	case b.Epoch == 0:
		return reasonEpoch
	case b.LastOrdinal < b.FirstOrdinal || uint64(b.LastOrdinal-b.FirstOrdinal) < uint64(b.Count-1):
		return reasonOrdinals
	case b.Event.Min > b.Event.Max || b.Receive.Min > b.Receive.Max || b.Send.Min > b.Send.Max:
		return reasonTimes
	}
	return ""
}

// extend returns the chain hash after a block: SHA-256 over the hash before it,
// its shard, its record count and the SHA-256 of its payload and order.
// Epochs, sequences, codecs and segments are left out, so a tape keeps its
// digest when it is compacted or replayed.
func (d *Digest) extend(shard uint16, count uint32, raw *Digest) {
	var in [2*sha256.Size + 6]byte
	copy(in[:], d[:])
	binary.LittleEndian.PutUint16(in[sha256.Size:], shard)
	binary.LittleEndian.PutUint32(in[sha256.Size+2:], count)
	copy(in[sha256.Size+6:], raw[:])
	*d = sha256.Sum256(in[:])
}

func rawDigest(raw []byte) Digest { return sha256.Sum256(raw) }

func allZero(b []byte) bool {
	for len(b) > len(zeros) {
		if !bytes.Equal(b[:len(zeros)], zeros[:]) {
			return false
		}
		b = b[len(zeros):]
	}
	return bytes.Equal(b, zeros[:len(b)])
}

var zeros [4096]byte

// Reasons why bytes are refused, as in CorruptError.Reason and Problem.Reason.
const (
	reasonHeaderCut    = "block header is cut off"
	reasonMagic        = "no block begins here (magic)"
	reasonHeaderCRC    = "block header checksum differs"
	reasonBlockVersion = "unknown block version"
	reasonReserved     = "reserved field is not zero"
	reasonCodec        = "unknown codec"
	reasonSizes        = "block sizes contradict each other"
	reasonCount        = "record count does not fit the payload"
	reasonEpoch        = "epoch is zero"
	reasonOrdinals     = "ordinals contradict the record count"
	reasonTimes        = "time range is empty"
	reasonStoredCut    = "block is cut off"
	reasonStoredCRC    = "stored bytes' checksum differs"
	reasonDecode       = "block does not decompress"
	reasonRawCRC       = "decompressed bytes' checksum differs"
	reasonPadding      = "padding is not zero"
	reasonSegment      = "segment header is damaged"
)
