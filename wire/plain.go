package wire

import "encoding/binary"

// Plain header, little-endian: the second frame of every message of the plain
// stream. The offsets are part of the format.
//
//	0   4    signature "TPLV"
//	4   u8   version, 1
//	5   u8   header size, 64
//	6   u8   flags
//	7   u8   kind
//	8   u8   record flags
//	9   u8   zero
//	10  u16  shard
//	12  u16  shards; 0: of no stream
//	14  u16  zero
//	16  u64  epoch; 0: of no stream
//	24  u64  sequence of the record in its shard
//	32  u32  sequence of the record in its topic
//	36  u32  place in the snapshot, from 0
//	40  i64  event time, ns
//	48  i64  receive time, ns
//	56  i64  send time, ns: the publisher's
const (
	plainVersionOff     = 4
	plainSizeOff        = 5
	plainFlagsOff       = 6
	plainKindOff        = 7
	plainRecordFlagsOff = 8
	plainZeroOff        = 9
	plainShardOff       = 10
	plainShardsOff      = 12
	plainZero2Off       = 14
	plainEpochOff       = 16
	plainSeqOff         = 24
	plainTopicSeqOff    = 32
	plainPlaceOff       = 36
	plainEventOff       = 40
	plainReceiveOff     = 48
	plainSendOff        = 56

	// PlainHeaderSize is the size of a plain header, bytes.
	PlainHeaderSize = 64
	// PlainVersion is the version of the plain stream that this package writes.
	PlainVersion = 1
	// PlainSignature is what every plain header begins with.
	PlainSignature = "TPLV"
)

// HeartbeatTopic is the topic of the plain stream's heartbeats.
const HeartbeatTopic = OperatorPrefix + "heartbeat"

// PlainFlags are the flags of one message of the plain stream, or of one entry of
// a snapshot.
type PlainFlags uint8

// The plain flags. Their values are part of the format.
const (
	// PlainSnapshot: a last value, and no news: part of the answer to a
	// subscription, or a value as of the place that a replay went to.
	PlainSnapshot PlainFlags = 1 << 0
	// PlainEmpty: with PlainSnapshot and PlainLast, nothing matches the
	// subscription, which is the first frame.
	PlainEmpty PlainFlags = 1 << 1
	// PlainLast: with PlainSnapshot, the last entry of an answer.
	PlainLast PlainFlags = 1 << 2
	// PlainIncomplete: with PlainLast, topics may be missing in the answer, or values
	// be old: the table is full, or not all of the stream has come.
	PlainIncomplete PlainFlags = 1 << 3

	// PlainRefused: with PlainEmpty, the reader has no right to what the subscription
	// asks for.
	PlainRefused PlainFlags = 1 << 4

	plainFlagsKnown = PlainSnapshot | PlainEmpty | PlainLast | PlainIncomplete | PlainRefused
)

// Plain is the header of a message of the plain stream, taken apart. Topic and
// body are the frames beside it.
type Plain struct {
	Epoch       Epoch
	Seq         Seq
	Event       Nanos
	Receive     Nanos
	Send        Nanos  // wall clock of the publisher when it sent the batch; 0: not known
	TopicSeq    uint32 // sequence of the record in its topic, wraps
	Place       uint32 // in a snapshot: the number of the entry, from 0
	Shard       uint16
	Shards      uint16 // 0, as Epoch: the message is of no stream
	Kind        Kind
	RecordFlags RecordFlags // never FlagWide
	Flags       PlainFlags
}

// The reasons why a plain header is refused, beside those of a batch.
const (
	reasonPlainSignature = "not a message of the plain stream (signature)"
	reasonPlainFlags     = "unknown or contradictory flags"
	reasonPlainStream    = "epoch and shards contradict each other or the kind"
	reasonPlainPlace     = "place in a snapshot outside of one"
)

// AppendPlain appends p to dst and returns the extended slice.
func AppendPlain(dst []byte, p *Plain) []byte {
	n := len(dst)
	dst = append(dst, make([]byte, PlainHeaderSize)...)
	PutPlain(dst[n:], p)
	return dst
}

// PutPlain writes p to the first PlainHeaderSize bytes of b, which must have
// them.
func PutPlain(b []byte, p *Plain) {
	_ = b[PlainHeaderSize-1]
	le := binary.LittleEndian
	copy(b, PlainSignature)
	b[plainVersionOff] = PlainVersion
	b[plainSizeOff] = PlainHeaderSize
	b[plainFlagsOff] = byte(p.Flags)
	b[plainKindOff] = byte(p.Kind)
	b[plainRecordFlagsOff] = byte(p.RecordFlags)
	b[plainZeroOff] = 0
	le.PutUint16(b[plainShardOff:], p.Shard)
	le.PutUint16(b[plainShardsOff:], p.Shards)
	le.PutUint16(b[plainZero2Off:], 0)
	le.PutUint64(b[plainEpochOff:], uint64(p.Epoch))
	le.PutUint64(b[plainSeqOff:], uint64(p.Seq))
	le.PutUint32(b[plainTopicSeqOff:], p.TopicSeq)
	le.PutUint32(b[plainPlaceOff:], p.Place)
	le.PutUint64(b[plainEventOff:], uint64(p.Event))
	le.PutUint64(b[plainReceiveOff:], uint64(p.Receive))
	le.PutUint64(b[plainSendOff:], uint64(p.Send))
}

// ParsePlain takes a plain header apart. b must be the whole frame; nothing of it
// is kept. The error is a *FormatError.
func ParsePlain(b []byte) (Plain, error) {
	var p Plain
	reason := checkPlainFrame(b)
	if reason == "" {
		le := binary.LittleEndian
		p = Plain{
			Flags:       PlainFlags(b[plainFlagsOff]),
			Kind:        Kind(b[plainKindOff]),
			RecordFlags: RecordFlags(b[plainRecordFlagsOff]),
			Shard:       le.Uint16(b[plainShardOff:]),
			Shards:      le.Uint16(b[plainShardsOff:]),
			Epoch:       Epoch(le.Uint64(b[plainEpochOff:])),
			Seq:         Seq(le.Uint64(b[plainSeqOff:])),
			TopicSeq:    le.Uint32(b[plainTopicSeqOff:]),
			Place:       le.Uint32(b[plainPlaceOff:]),
			Event:       Nanos(le.Uint64(b[plainEventOff:])),
			Receive:     Nanos(le.Uint64(b[plainReceiveOff:])),
			Send:        Nanos(le.Uint64(b[plainSendOff:])),
		}
		reason = p.check()
	}
	if reason != "" {
		return p, &FormatError{Reason: reason, Shard: -1, Offset: -1}
	}
	return p, nil
}

func checkPlainFrame(b []byte) string {
	switch {
	case len(b) < len(PlainSignature) || string(b[:len(PlainSignature)]) != PlainSignature:
		return reasonPlainSignature
	case len(b) <= plainVersionOff || b[plainVersionOff] != PlainVersion:
		return reasonVersion
	case len(b) != PlainHeaderSize || b[plainSizeOff] != PlainHeaderSize:
		return reasonHeaderSize
	case b[plainZeroOff] != 0 || binary.LittleEndian.Uint16(b[plainZero2Off:]) != 0:
		return reasonReserved
	}
	return ""
}

func (p *Plain) check() string {
	const answer = PlainSnapshot | PlainLast
	of := p.Flags & answer
	switch {
	case p.Flags&^plainFlagsKnown != 0,
		of == PlainLast,
		p.Flags&(PlainEmpty|PlainIncomplete) != 0 && of != answer,
		p.Flags&(PlainEmpty|PlainRefused) == PlainRefused:
		return reasonPlainFlags
	case p.RecordFlags&^(flagsKnown&^FlagWide) != 0:
		return reasonRecordFlags
	case p.Shards == 0 && p.Shard != 0, p.Shards != 0 && p.Shard >= p.Shards:
		return reasonShard
	case (p.Epoch == 0) != (p.Shards == 0), p.Epoch == 0 && p.Kind != KindNotice:
		return reasonPlainStream
	case p.Flags&PlainSnapshot == 0 && p.Place != 0:
		return reasonPlainPlace
	}
	return ""
}
