package iex

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tapedeck/tapedeck/feed/pcap"
)

// The head of an IEX-TP segment, little-endian.
//
//	0   u8   version, 1
//	1   u8   reserved
//	2   u16  message protocol
//	4   u32  channel
//	8   u32  session
//	12  u16  payload length
//	14  u16  message count
//	16  i64  stream offset
//	24  i64  sequence number of the first message
//	32  i64  send time, ns
//	40       messages, each after its u16 length
const (
	versionOff  = 0
	protocolOff = 2
	channelOff  = 4
	sessionOff  = 8
	lengthOff   = 12
	countOff    = 14
	sequenceOff = 24
	headSize    = 40
	lengthSize  = 2

	transportVersion = 1
)

// Message protocols.
const (
	protocolTOPS     = 0x8003
	protocolDEEP     = 0x8004
	protocolDEEPPlus = 0x8005
)

// Errors of reading segments. They come inside a *feed.BadRecord.
var (
	// ErrLength: the lengths of a segment contradict each other.
	ErrLength = errors.New("iex: lengths of the segment contradict each other")
	// ErrShort: a message is shorter than its type.
	ErrShort = errors.New("iex: message is too short for its type")
)

// errForeign is made once: a line of another protocol may have many datagrams.
var errForeign = fmt.Errorf("iex: no IEX-TP: %w", pcap.ErrForeign)

// protocolName names a message protocol.
func protocolName(id uint16) string {
	switch id {
	case protocolTOPS:
		return "TOPS"
	case protocolDEEP:
		return "DEEP"
	case protocolDEEPPlus:
		return "DEEP+"
	}
	return fmt.Sprintf("0x%04x", id)
}

// isSegment reports whether b begins like a segment of a protocol known here.
func isSegment(b []byte) bool {
	if len(b) < headSize || b[versionOff] != transportVersion {
		return false
	}
	id := binary.LittleEndian.Uint16(b[protocolOff:])
	return id >= protocolTOPS && id <= protocolDEEPPlus
}

// detect says how sure it is that a datagram is IEX-TP.
func detect(payload []byte) int {
	const sure, likely = 95, 60
	switch {
	case !isSegment(payload):
		return 0
	case int(binary.LittleEndian.Uint16(payload[lengthOff:])) == len(payload)-headSize:
		return sure
	}
	return likely
}
