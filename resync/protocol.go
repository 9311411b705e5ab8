package resync

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// The protocol between a resync client (DEALER) and server (ROUTER), as
// docs/RESYNC.md has it. Everything is little-endian. The first frame of every
// message begins with this head; the offsets are part of the protocol.
//
//	0   4    signature "TPRS"
//	4   u8   version, 1
//	5   u8   command
//	6   u16  zero
//	8   u64  id of the request that the message is about
//	16       fields of the command
const (
	headVersionOff = 4
	headCommandOff = 5
	headZeroOff    = 6
	headIDOff      = 8
	headSize       = 16

	// Signature is what every message begins with.
	Signature = "TPRS"
	// Version is the version of the protocol that this package speaks.
	Version = 1
)

// Bounds of the protocol: what exceeds them is refused, so no number in a
// message decides about memory.
const (
	// FramesMax is the most frames a message has, the ROUTER's identity not
	// counted.
	FramesMax = 3
	// SpansMax is the most spans in one message.
	SpansMax = 1 << 16
	// PrefixesMax is the most topic prefixes in one request.
	PrefixesMax = 1 << 14
	// TextMax is the longest text of an error, bytes.
	TextMax = 1 << 10
	// MessageMax is the largest frame that either side accepts, bytes.
	MessageMax = wire.PayloadSizeMax
	// Open is the To of a refill that goes to the end of what the server has.
	Open wire.Seq = 1<<64 - 1
)

// Command says what a message is.
type Command uint8

// The commands. Their numbers are part of the protocol.
const (
	CommandRefill   Command = 1  // client: send the records of a span
	CommandFind     Command = 2  // client: say which spans hold the records from a time on
	CommandSnapshot Command = 3  // client: send last values
	CommandCredit   Command = 4  // client: more bytes may be sent for a request
	CommandCancel   Command = 5  // client: send nothing more for a request
	CommandPing     Command = 6  // client: are you there, and do you have this request?
	CommandChunk    Command = 16 // server: records of a refill
	CommandEntries  Command = 17 // server: records of a snapshot
	CommandSpans    Command = 18 // server: the answer to find
	CommandEnd      Command = 19 // server: a refill or snapshot is through
	CommandError    Command = 20 // server: a request has failed
	CommandPong     Command = 21 // server: the answer to ping
)

// shape is what a command's messages look like.
type shape struct {
	name   string
	head   int // size of the first frame, bytes
	frames int // less the order frame of a chunk
}

var shapes = map[Command]shape{
	CommandRefill:   {"refill", refillSize, 1},
	CommandFind:     {"find", findSize, 1},
	CommandSnapshot: {"snapshot", snapshotSize, 2},
	CommandCredit:   {"credit", creditSize, 1},
	CommandCancel:   {"cancel", headSize, 1},
	CommandPing:     {"ping", headSize, 1},
	CommandChunk:    {"chunk", ChunkHeadSize, 2},
	CommandEntries:  {"entries", entriesSize, 3},
	CommandSpans:    {"spans", spansSize, 2},
	CommandEnd:      {"end", endSize, 2},
	CommandError:    {"error", errorSize, 2},
	CommandPong:     {"pong", pongSize, 1},
}

// String returns the command's name, or its number where it has none.
func (c Command) String() string {
	if s, ok := shapes[c]; ok {
		return s.name
	}
	return fmt.Sprintf("command %d", uint8(c))
}

// RequestID names a request of one client. It is never 0 in a request, and a
// client uses each once.
type RequestID uint64

// Head is what every message begins with.
type Head struct {
	Command Command
	ID      RequestID
}

// ParseHead reads the first frame of a message of the given number of frames (the
// ROUTER's identity not counted): signature, version, command, the frame's size
// and the number of frames are checked, the command's fields are not. Where the
// error is ErrVersion, the head's ID is the sender's if the frame has one, so
// that it can be told. Other errors are *ProtocolError.
func ParseHead(b []byte, frames int) (Head, error) {
	h, err := parseHead(b)
	if err != nil {
		return h, err
	}
	want := shapes[h.Command].frames
	if h.Command == CommandChunk && binary.LittleEndian.Uint32(b[chunkOrderSizeOff:]) > 0 {
		want++
	}
	if frames != want {
		return h, bad(reasonFrames)
	}
	return h, nil
}

func parseHead(b []byte) (Head, error) {
	if len(b) < len(Signature) || string(b[:len(Signature)]) != Signature {
		return Head{}, bad(reasonSignature)
	}
	if len(b) <= headVersionOff || b[headVersionOff] != Version {
		h := Head{}
		if len(b) >= headSize {
			h.ID = RequestID(binary.LittleEndian.Uint64(b[headIDOff:]))
		}
		return h, ErrVersion
	}
	if len(b) < headSize {
		return Head{}, bad(reasonSize)
	}
	h := Head{Command: Command(b[headCommandOff]), ID: RequestID(binary.LittleEndian.Uint64(b[headIDOff:]))}
	s, ok := shapes[h.Command]
	switch {
	case !ok:
		return h, bad(reasonCommand)
	case len(b) != s.head:
		return h, bad(reasonSize)
	case binary.LittleEndian.Uint16(b[headZeroOff:]) != 0:
		return h, bad(reasonReserved)
	case h.ID == 0 && h.Command != CommandPing && h.Command != CommandPong && h.Command != CommandError:
		return h, bad(reasonID)
	}
	return h, nil
}

// Is reports whether a message's first frame is of this protocol, of whatever
// version.
func Is(frame []byte) bool {
	return len(frame) >= len(Signature) && string(frame[:len(Signature)]) == Signature
}

// parse checks that b is the first frame of a message of c.
func parse(b []byte, c Command) (RequestID, error) {
	h, err := parseHead(b)
	if err == nil && h.Command != c {
		err = bad(reasonCommand)
	}
	return h.ID, err
}

// appendHead appends the first frame of a message, its fields still zero, and
// returns the extended slice and where the frame begins.
func appendHead(dst []byte, c Command, id RequestID) ([]byte, []byte) {
	n := len(dst)
	dst = append(dst, make([]byte, shapes[c].head)...)
	putHead(dst[n:], c, id)
	return dst, dst[n:]
}

func putHead(b []byte, c Command, id RequestID) {
	copy(b, Signature)
	b[headVersionOff], b[headCommandOff] = Version, uint8(c)
	binary.LittleEndian.PutUint16(b[headZeroOff:], 0)
	binary.LittleEndian.PutUint64(b[headIDOff:], uint64(id))
}

// ErrVersion: the message is of a version of the protocol that this package does
// not speak.
var ErrVersion = errors.New("resync: unknown version of the protocol")

// ProtocolError says why bytes are not a message of this protocol.
type ProtocolError struct {
	Reason string // one of a fixed set of texts, so it can be a counter's label
}

// Error implements error.
func (e *ProtocolError) Error() string { return "resync: " + e.Reason }

func bad(reason string) error { return &ProtocolError{reason} }

// The reasons of a ProtocolError. Those of a chunk's batch are wire's.
const (
	reasonSignature = "not a resync message (signature)"
	reasonCommand   = "unknown or unexpected command"
	reasonSize      = "frame has the wrong size"
	reasonFrames    = "message has the wrong number of frames"
	reasonReserved  = "reserved field is not zero"
	reasonID        = "request id is zero"
	reasonEpoch     = "epoch is zero"
	reasonSpan      = "span is empty or ends before it begins"
	reasonClock     = "unknown clock, or a time without one"
	reasonDeadline  = "deadline is zero"
	reasonCredit    = "credit is zero"
	reasonPrefix    = "prefixes do not fill their frame"
	reasonTooMany   = "more items than a message may have"
	reasonCRC       = "checksum differs"
	reasonRecords   = "records do not fill their frame"
	reasonCode      = "unknown error code or advice"
	reasonText      = "text is too long"
	reasonFlags     = "unknown flag"
	reasonShort     = "less was sent than was asked for, and no reason given"
	reasonMark      = "chunk is a mark or a reference"
	reasonStray     = "chunk is not the one that comes next"
)

// milliseconds is d as the protocol carries it: rounded up, at least 1.
func milliseconds(d time.Duration) uint32 {
	ms := (d + time.Millisecond - 1) / time.Millisecond
	return uint32(min(max(ms, 1), 1<<32-1))
}

// zero reports whether all bytes are.
func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
