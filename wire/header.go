package wire

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// Batch header, little-endian. The offsets are part of the wire format.
//
//	0   4    signature "TPDK"
//	4   u8   version, 1
//	5   u8   header size, 80
//	6   u16  flags
//	8   u16  shard
//	10  u16  shards in this stream
//	12  u32  record count
//	16  u64  epoch
//	24  u64  sequence of the first record
//	32  u64  ordinal of the first record
//	40  i64  send time, ns
//	48  i64  due time, ns: when the schedule wanted it sent
//	56  u32  payload size, bytes
//	60  u32  order size, bytes
//	64  u32  CRC32C of payload, then order
//	68  u32  zero
//	72  u64  rolling hash of the stream before this batch
const (
	hdrVersionOff      = 4
	hdrSizeOff         = 5
	hdrFlagsOff        = 6
	hdrShardOff        = 8
	hdrShardsOff       = 10
	hdrCountOff        = 12
	hdrEpochOff        = 16
	hdrFirstSeqOff     = 24
	hdrFirstOrdinalOff = 32
	hdrSendOff         = 40
	hdrDueOff          = 48
	hdrPayloadSizeOff  = 56
	hdrOrderSizeOff    = 60
	hdrCRCOff          = 64
	hdrZeroOff         = 68
	hdrHashOff         = 72

	// HeaderSize is the size of the header frame, bytes.
	HeaderSize = 80
	// Version is the version of the wire format that this package writes.
	Version = 1
	// Signature is what every message begins with.
	Signature = "TPDK"
	// PayloadSizeMax bounds a batch's payload, bytes: a reader may refuse more.
	PayloadSizeMax = 64 << 20
)

// HeaderFlags are the flags of one batch.
type HeaderFlags uint16

// The batch flags. Their values are part of the wire format. At most one of
// FlagEnd, FlagHeartbeat, FlagHello and FlagNotice is set; then the batch holds
// no records of the stream and FlagSnapshotBatch is not set.
const (
	// FlagEnd: the stream of this shard ends here. FirstSeq is the number of
	// records sent in the epoch, Hash the rolling hash over all of them.
	FlagEnd HeaderFlags = 1 << 0
	// FlagHeartbeat: no records; FirstSeq is the next sequence, so that a loss
	// at the tail shows.
	FlagHeartbeat HeaderFlags = 1 << 1
	// FlagHello: no records; the payload is the session description (JSON).
	// Sent until the expected readers have confirmed, and when a reader comes.
	FlagHello HeaderFlags = 1 << 2
	// FlagSnapshotBatch: the records repeat last values and are no news. They
	// are numbered and hashed as all others are.
	FlagSnapshotBatch HeaderFlags = 1 << 3

	// FlagEarly: with FlagEnd, the publisher stopped before its source was
	// through. Nothing that was sent is missing, but it is not all.
	FlagEarly HeaderFlags = 1 << 4

	// FlagReference: the second frame is no payload but says where payload and
	// order lie, which the header describes. Set alone.
	FlagReference HeaderFlags = 1 << 5
	// FlagCopy: the same batch is also sent as a reference, so readers that take
	// references need not have it. Set alone.
	FlagCopy HeaderFlags = 1 << 6

	// FlagNotice: no records of the stream; the payload is one record of
	// KindNotice by which Tapedeck speaks about itself. It is no part of what is
	// recorded, has no sequence and may be lost without a trace.
	FlagNotice HeaderFlags = 1 << 7

	headerFlagsKnown = FlagEnd | FlagHeartbeat | FlagHello | FlagSnapshotBatch | FlagEarly | FlagReference | FlagCopy | FlagNotice
	headerFlagsBare  = FlagEnd | FlagHeartbeat | FlagHello | FlagNotice
	headerFlagsTwin  = FlagReference | FlagCopy
)

// Header is the first frame of a message, taken apart.
type Header struct {
	Epoch        Epoch
	FirstSeq     Seq
	FirstOrdinal Ordinal // of the first record; in a bare batch no later record has a lower one
	Send         Nanos   // wall clock of the publisher when it sent the batch
	Due          Nanos   // wall clock at which the schedule wanted it sent
	Hash         Hash    // rolling hash of the shard's stream before this batch
	Count        uint32
	PayloadSize  uint32
	OrderSize    uint32
	CRC          uint32 // CRC32C of payload, then order
	Flags        HeaderFlags
	Shard        uint16
	Shards       uint16
}

// AppendHeader appends h to dst and returns the extended slice.
func AppendHeader(dst []byte, h *Header) []byte {
	n := len(dst)
	dst = append(dst, make([]byte, HeaderSize)...)
	PutHeader(dst[n:], h)
	return dst
}

// PutHeader writes h to the first HeaderSize bytes of b, which must have them.
func PutHeader(b []byte, h *Header) {
	_ = b[HeaderSize-1]
	le := binary.LittleEndian
	copy(b, Signature)
	b[hdrVersionOff] = Version
	b[hdrSizeOff] = HeaderSize
	le.PutUint16(b[hdrFlagsOff:], uint16(h.Flags))
	le.PutUint16(b[hdrShardOff:], h.Shard)
	le.PutUint16(b[hdrShardsOff:], h.Shards)
	le.PutUint32(b[hdrCountOff:], h.Count)
	le.PutUint64(b[hdrEpochOff:], uint64(h.Epoch))
	le.PutUint64(b[hdrFirstSeqOff:], uint64(h.FirstSeq))
	le.PutUint64(b[hdrFirstOrdinalOff:], uint64(h.FirstOrdinal))
	le.PutUint64(b[hdrSendOff:], uint64(h.Send))
	le.PutUint64(b[hdrDueOff:], uint64(h.Due))
	le.PutUint32(b[hdrPayloadSizeOff:], h.PayloadSize)
	le.PutUint32(b[hdrOrderSizeOff:], h.OrderSize)
	le.PutUint32(b[hdrCRCOff:], h.CRC)
	le.PutUint32(b[hdrZeroOff:], 0)
	le.PutUint64(b[hdrHashOff:], uint64(h.Hash))
}

// ParseHeader takes the header frame apart. b must be the whole frame. The
// error is a *FormatError that says which field is wrong.
func ParseHeader(b []byte) (Header, error) {
	var h Header
	if reason := checkFrame(b); reason != "" {
		return h, &FormatError{Reason: reason, Shard: -1, Offset: -1}
	}
	le := binary.LittleEndian
	h = Header{
		Flags:        HeaderFlags(le.Uint16(b[hdrFlagsOff:])),
		Shard:        le.Uint16(b[hdrShardOff:]),
		Shards:       le.Uint16(b[hdrShardsOff:]),
		Count:        le.Uint32(b[hdrCountOff:]),
		Epoch:        Epoch(le.Uint64(b[hdrEpochOff:])),
		FirstSeq:     Seq(le.Uint64(b[hdrFirstSeqOff:])),
		FirstOrdinal: Ordinal(le.Uint64(b[hdrFirstOrdinalOff:])),
		Send:         Nanos(le.Uint64(b[hdrSendOff:])),
		Due:          Nanos(le.Uint64(b[hdrDueOff:])),
		PayloadSize:  le.Uint32(b[hdrPayloadSizeOff:]),
		OrderSize:    le.Uint32(b[hdrOrderSizeOff:]),
		CRC:          le.Uint32(b[hdrCRCOff:]),
		Hash:         Hash(le.Uint64(b[hdrHashOff:])),
	}
	if reason := h.check(); reason != "" {
		return h, &FormatError{Reason: reason, Shard: -1, Offset: -1}
	}
	return h, nil
}

func checkFrame(b []byte) string {
	switch {
	case len(b) < len(Signature) || string(b[:len(Signature)]) != Signature:
		return reasonSignature
	case len(b) <= hdrVersionOff || b[hdrVersionOff] != Version:
		return reasonVersion
	case len(b) != HeaderSize || b[hdrSizeOff] != HeaderSize:
		return reasonHeaderSize
	case binary.LittleEndian.Uint32(b[hdrZeroOff:]) != 0:
		return reasonReserved
	}
	return ""
}

func (h *Header) check() string {
	bare := h.Flags & headerFlagsBare
	switch {
	case h.Flags&^headerFlagsKnown != 0:
		return reasonHeaderFlags
	case bits.OnesCount16(uint16(bare)) > 1, bare != 0 && h.Flags&FlagSnapshotBatch != 0,
		h.Flags&FlagEarly != 0 && bare != FlagEnd,
		h.Flags&headerFlagsTwin != 0 && h.Flags != FlagReference && h.Flags != FlagCopy:
		return reasonHeaderFlags
	case h.Shards == 0 || h.Shard >= h.Shards:
		return reasonShard
	case h.Epoch == 0:
		return reasonEpoch
	case h.PayloadSize > PayloadSizeMax || h.OrderSize > h.PayloadSize:
		return reasonSizes
	case bare != 0 && h.Count != 0:
		return reasonBareCount
	case bare != 0 && bare != FlagHello && bare != FlagNotice && h.PayloadSize != 0:
		return reasonBareCount
	case bare == FlagNotice && h.PayloadSize <= RecordHeadSize:
		return reasonNotice
	case bare == 0 && (h.Count == 0 || uint64(h.Count)*(RecordHeadSize+1) > uint64(h.PayloadSize)):
		return reasonCount
	case h.FirstSeq+Seq(h.Count) < h.FirstSeq, h.FirstOrdinal+Ordinal(h.Count) < h.FirstOrdinal:
		return reasonOverflow
	}
	return ""
}

// fault is a FormatError of the batch as a whole.
func (h *Header) fault(reason string) *FormatError {
	return &FormatError{Reason: reason, Shard: int(h.Shard), Seq: h.FirstSeq, Offset: -1}
}

// End reports whether h is the mark that ends its shard's stream.
func (h *Header) End() bool { return h.Flags&FlagEnd != 0 }

// Bare reports whether the batch holds no records of the stream: an end mark, a
// heartbeat, a hello or a notice.
func (h *Header) Bare() bool { return h.Flags&headerFlagsBare != 0 }

// Twin reports whether the batch is a reference or a copy: whether the same
// records may come twice, once as each.
func (h *Header) Twin() bool { return h.Flags&headerFlagsTwin != 0 }

// Next is the sequence that follows the batch.
func (h *Header) Next() Seq { return h.FirstSeq + Seq(h.Count) }

// Hash is the rolling hash of one shard's stream in one epoch. It starts at 0
// and takes in each batch's count and CRC, so two ends that agree on it have
// seen the same batches in the same order.
type Hash uint64

// Roll returns the hash after a batch of count records whose payload and order
// have the CRC32C crc. The mixing step is the 64-bit finaliser of MurmurHash3
// (Appleby, public domain).
func (h Hash) Roll(count, crc uint32) Hash {
	x := uint64(h) ^ (uint64(count)<<32 | uint64(crc))
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return Hash(x)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CRC returns the CRC32C (Castagnoli, as in RFC 3720) of payload followed by
// order, as the header carries it.
func CRC(payload, order []byte) uint32 {
	return crc32.Update(crc32.Checksum(payload, castagnoli), castagnoli, order)
}
