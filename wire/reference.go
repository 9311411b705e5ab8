package wire

import "encoding/binary"

// Reference, little-endian: the second frame of a batch with FlagReference. The
// offsets are part of the wire format.
//
//	0   16   tape id
//	16  u64  offset of the payload in the segment, bytes; the order follows it
//	24  u32  segment number
//	28  u32  zero
const (
	refOffsetOff  = 16
	refSegmentOff = 24
	refZeroOff    = 28

	// ReferenceSize is the size of a reference frame, bytes.
	ReferenceSize = 32
)

// Reference says where payload and order of a batch lie: in a segment of a
// tape, one directly after the other. Their sizes, the checksum and all else
// are in the batch's header.
type Reference struct {
	Tape    [16]byte // id of the tape
	Offset  uint64   // of the payload in the segment, bytes
	Segment uint32   // number of the segment
}

// AppendReference appends r to dst and returns the extended slice.
func AppendReference(dst []byte, r *Reference) []byte {
	dst = append(dst, r.Tape[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, r.Offset)
	dst = binary.LittleEndian.AppendUint32(dst, r.Segment)
	return binary.LittleEndian.AppendUint32(dst, 0)
}

// ParseReference is the inverse of AppendReference. b must be the whole frame.
// The error is a *FormatError.
func ParseReference(b []byte) (Reference, error) {
	var r Reference
	if len(b) != ReferenceSize || binary.LittleEndian.Uint32(b[refZeroOff:]) != 0 {
		return r, errReference
	}
	copy(r.Tape[:], b)
	r.Offset = binary.LittleEndian.Uint64(b[refOffsetOff:])
	r.Segment = binary.LittleEndian.Uint32(b[refSegmentOff:])
	return r, nil
}

var errReference = &FormatError{Reason: reasonReference, Shard: -1, Offset: -1}

// TapePlace says where a publisher's tape lies, for readers on the same machine.
type TapePlace struct {
	Path string `json:"path"` // absolute
	Host string `json:"host"` // the same text only where the path means the same files
}

// What readers subscribe to. Every batch of a stream begins with one of these:
// signature, version, header size and the flags.
const flagTopicSize = hdrFlagsOff + 2

// flagTopic is how every batch with exactly these flags begins.
func flagTopic(f HeaderFlags) string {
	return string(binary.LittleEndian.AppendUint16([]byte{'T', 'P', 'D', 'K', Version, HeaderSize}, uint16(f)))
}

var (
	referenceTopic = flagTopic(FlagReference)
	copyTopic      = flagTopic(FlagCopy)
	helloTopic     = flagTopic(FlagHello)

	referenceTopics = []string{
		flagTopic(0), flagTopic(FlagSnapshotBatch), referenceTopic,
		helloTopic, flagTopic(FlagHeartbeat), flagTopic(FlagEnd), flagTopic(FlagEnd | FlagEarly), flagTopic(FlagNotice),
	}
)

// MarkTopics returns what whoever wants marks and no records subscribes to. The slice is
// not to be changed.
func MarkTopics() []string { return referenceTopics[3:] }

// ReferenceTopics returns what a reader that takes references subscribes to
// instead of everything: all but copies. The slice is not to be changed.
func ReferenceTopics() []string { return referenceTopics }

// HelloTopic is what a reader subscribes to that wants a hello: it matches hellos
// alone, and a publisher sends one to whoever subscribes to anything.
func HelloTopic() string { return helloTopic }

// IsReference reports whether a header frame is that of a reference: whether the
// message is for ViewReference and not for ViewBatch.
func IsReference(header []byte) bool {
	return len(header) >= flagTopicSize && string(header[:flagTopicSize]) == referenceTopic
}

// WantsReferences reports whether a subscription asks for references: it does
// so by name, as ReferenceTopics has it.
func WantsReferences(topic []byte) bool { return string(topic) == referenceTopic }

// WantsCopies reports whether a subscription matches copies: batches that are
// sent as references, too.
func WantsCopies(topic []byte) bool {
	n := min(len(topic), flagTopicSize)
	return string(topic[:n]) == copyTopic[:n]
}
