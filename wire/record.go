package wire

import (
	"encoding/binary"
	"errors"
)

// Record head, little-endian. The offsets are part of the wire format.
//
//	0   u8   topic length, 1 to 255
//	1   u24  body length
//	4   u8   kind
//	5   u8   flags
//	6   i48  receive time minus event time, ns; 0 when FlagWide is set
//	12  u32  topic sequence
//	16  i64  event time, ns
//	24       topic, then (FlagWide only) i64 receive time, then body
const (
	recLengthsOff  = 0
	recKindOff     = 4
	recFlagsOff    = 5
	recDeltaOff    = 6
	recTopicSeqOff = 12
	recEventOff    = 16

	// RecordHeadSize is the size of a record's fixed head, bytes.
	RecordHeadSize = 24
	// TopicSizeMax is the longest topic, bytes.
	TopicSizeMax = 255
	// BodySizeMax is the longest body, bytes.
	BodySizeMax = 1<<24 - 1

	wideSize = 8
	deltaMax = 1<<47 - 1
	deltaMin = -1 << 47
)

// RecordFlags are the flags of one record.
type RecordFlags uint8

// The record flags. Their values are part of the wire format.
const (
	// FlagNoEventTime: the source gave no event time; the field holds the
	// receive time.
	FlagNoEventTime RecordFlags = 1 << 0
	// FlagNoReceiveTime: the source gave no receive time; the receive time
	// equals the event time.
	FlagNoReceiveTime RecordFlags = 1 << 1
	// FlagSnapshot: the record repeats state that is older than the stream at
	// this place, as a snapshot at the start of a day does.
	FlagSnapshot RecordFlags = 1 << 2
	// FlagWide: the two times lie too far apart for 48 bits and the receive
	// time follows the topic. Encoders set it; callers never do.
	FlagWide RecordFlags = 1 << 7

	flagsKnown = FlagNoEventTime | FlagNoReceiveTime | FlagSnapshot | FlagWide
)

// Errors that encoding a record can give.
var (
	// ErrTopicSize: the topic is empty or longer than TopicSizeMax.
	ErrTopicSize = errors.New("wire: topic must have 1 to 255 bytes")
	// ErrBodySize: the body is longer than BodySizeMax.
	ErrBodySize = errors.New("wire: body is longer than 16777215 bytes")
	// ErrFlags: a flag that no version of this format defines, or FlagWide.
	ErrFlags = errors.New("wire: unknown record flag")
)

// Fields are a record taken apart. The slices are borrowed by whoever is given
// a Fields, never kept.
type Fields struct {
	Topic    []byte
	Body     []byte
	Event    Nanos
	Receive  Nanos
	TopicSeq uint32
	Kind     Kind
	Flags    RecordFlags
}

// EncodedSize is the number of bytes that AppendRecord adds for f.
func (f *Fields) EncodedSize() int {
	n := RecordHeadSize + len(f.Topic) + len(f.Body)
	if f.wide() {
		n += wideSize
	}
	return n
}

// wide reports whether the times need 64 bits each. The difference may wrap; the
// sum in Record.Receive then wraps back.
func (f *Fields) wide() bool {
	d := int64(f.Receive) - int64(f.Event)
	return d > deltaMax || d < deltaMin
}

// AppendRecord appends f to dst and returns the extended slice. On error dst is
// returned as it came. It copies topic and body. FlagWide is set as needed and
// must not be set in f; the other flags must be known ones.
func AppendRecord(dst []byte, f *Fields) ([]byte, error) {
	if len(f.Topic) == 0 || len(f.Topic) > TopicSizeMax {
		return dst, ErrTopicSize
	}
	if len(f.Body) > BodySizeMax {
		return dst, ErrBodySize
	}
	if f.Flags&^(flagsKnown&^FlagWide) != 0 {
		return dst, ErrFlags
	}
	var head [RecordHeadSize]byte
	flags, delta := f.Flags, int64(f.Receive)-int64(f.Event)
	wide := f.wide()
	if wide {
		flags, delta = flags|FlagWide, 0
	}
	binary.LittleEndian.PutUint32(head[recLengthsOff:], uint32(len(f.Topic))|uint32(len(f.Body))<<8)
	// Kind, flags and the 48-bit delta are one 64-bit word.
	binary.LittleEndian.PutUint64(head[recKindOff:], uint64(f.Kind)|uint64(flags)<<8|uint64(delta)<<16)
	binary.LittleEndian.PutUint32(head[recTopicSeqOff:], f.TopicSeq)
	binary.LittleEndian.PutUint64(head[recEventOff:], uint64(f.Event))
	dst = append(dst, head[:]...)
	dst = append(dst, f.Topic...)
	if wide {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(f.Receive))
	}
	return append(dst, f.Body...), nil
}

// Record is a view of one encoded record: exactly its bytes. It borrows them.
// The accessors assume a record that ParseRecord or a Batch walk produced.
type Record []byte

// ParseRecord returns the record at the start of b and its size. The view
// borrows b. The error is a *FormatError.
func ParseRecord(b []byte) (Record, error) {
	n, reason := recordSize(b)
	if reason != "" {
		return nil, &FormatError{Reason: reason, Shard: -1, Offset: -1}
	}
	return Record(b[:n:n]), nil
}

// recordSize validates the record at the start of b and returns its size, or a
// reason. It is the one place that decides what a valid record is.
func recordSize(b []byte) (int, string) {
	if len(b) < RecordHeadSize {
		return 0, reasonRecordHead
	}
	lengths := binary.LittleEndian.Uint32(b[recLengthsOff:])
	topic, body := int(lengths&0xff), int(lengths>>8)
	flags := RecordFlags(b[recFlagsOff])
	if topic == 0 {
		return 0, reasonTopicEmpty
	}
	if flags&^flagsKnown != 0 {
		return 0, reasonRecordFlags
	}
	wide := int(flags>>7) * wideSize
	n := RecordHeadSize + topic + wide + body
	if n > len(b) {
		return 0, reasonRecordCut
	}
	if wide != 0 {
		if reason := checkWide(b, topic); reason != "" {
			return 0, reason
		}
	}
	return n, ""
}

// checkWide holds the rule that FlagWide is used only where it is needed, so
// that a record has one encoding.
func checkWide(b []byte, topic int) string {
	f := Fields{
		Event:   Nanos(binary.LittleEndian.Uint64(b[recEventOff:])),
		Receive: Nanos(binary.LittleEndian.Uint64(b[RecordHeadSize+topic:])),
	}
	delta := int64(binary.LittleEndian.Uint64(b[recKindOff:])) >> 16
	if delta != 0 || !f.wide() {
		return reasonWide
	}
	return ""
}

// Topic returns the record's topic, borrowed.
func (r Record) Topic() []byte { return r[RecordHeadSize : RecordHeadSize+int(r[recLengthsOff])] }

// Body returns the record's body, borrowed.
func (r Record) Body() []byte {
	return r[RecordHeadSize+int(r[recLengthsOff])+int(r[recFlagsOff]>>7)*wideSize:]
}

// Kind returns what the record is.
func (r Record) Kind() Kind { return Kind(r[recKindOff]) }

// Flags returns the record's flags, FlagWide included.
func (r Record) Flags() RecordFlags { return RecordFlags(r[recFlagsOff]) }

// TopicSeq returns the record's sequence within its topic.
func (r Record) TopicSeq() uint32 { return binary.LittleEndian.Uint32(r[recTopicSeqOff:]) }

// SetTopicSeq changes the sequence within its topic of a record whose bytes the caller
// may change.
func (r Record) SetTopicSeq(seq uint32) { binary.LittleEndian.PutUint32(r[recTopicSeqOff:], seq) }

// Event returns the event time: when the venue says it happened.
func (r Record) Event() Nanos { return Nanos(binary.LittleEndian.Uint64(r[recEventOff:])) }

// Receive returns the receive time: when the capture got it.
func (r Record) Receive() Nanos {
	if r.Flags()&FlagWide != 0 {
		return Nanos(binary.LittleEndian.Uint64(r[RecordHeadSize+int(r[recLengthsOff]):]))
	}
	return r.Event() + Nanos(int64(binary.LittleEndian.Uint64(r[recKindOff:]))>>16)
}

// Fields takes r apart. The slices borrow from r.
func (r Record) Fields() Fields {
	return Fields{
		Topic: r.Topic(), Body: r.Body(), Event: r.Event(), Receive: r.Receive(),
		TopicSeq: r.TopicSeq(), Kind: r.Kind(), Flags: r.Flags() &^ FlagWide,
	}
}
