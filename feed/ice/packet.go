package ice

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tapedeck/tapedeck/feed/pcap"
)

// The head of a datagram. All numbers of the feed are big-endian.
const (
	sessionOff     = 0
	sequenceOff    = 2
	countOff       = 6
	timeOff        = 8 // ms since 1970
	packetHeadSize = 16
)

// The head of a message: its type, and the length of the body behind the head.
const (
	typeOff   = 0
	lengthOff = 1
	headSize  = 3
	marketOff = headSize
)

// ErrLength: the lengths of a datagram contradict each other. It comes inside a
// *feed.BadRecord.
var ErrLength = errors.New("ice: lengths of the datagram contradict each other")

// ErrShort: a message is too short for the market id of its type. It comes inside a
// *feed.BadRecord.
var ErrShort = errors.New("ice: message is too short for its type")

// errForeign is made once: a line of another protocol may have many datagrams.
var errForeign = fmt.Errorf("ice: no iMpact: %w", pcap.ErrForeign)

// Times between which a datagram may be of iMpact: the years 2000 to 2099.
const (
	timeMin = 946_684_800_000
	timeMax = 4_102_444_800_000
)

// isPacket reports whether b is a datagram of iMpact, as far as its head and the
// length of its first message tell.
func isPacket(b []byte) bool {
	if len(b) < packetHeadSize {
		return false
	}
	if t := binary.BigEndian.Uint64(b[timeOff:]); t < timeMin || t >= timeMax {
		return false
	}
	if len(b) == packetHeadSize {
		return binary.BigEndian.Uint16(b[countOff:]) == 0
	}
	_, ok := take(b[packetHeadSize:])
	return ok
}

// take returns the message at the start of b and reports whether there is one.
func take(b []byte) ([]byte, bool) {
	if len(b) < headSize {
		return nil, false
	}
	size := headSize + int(binary.BigEndian.Uint16(b[lengthOff:]))
	if size > len(b) {
		return nil, false
	}
	return b[:size:size], true
}

// detect says how sure it is that a datagram is iMpact.
func detect(payload []byte) int {
	const sure, unknown, bare = 95, 40, 60
	if !isPacket(payload) {
		return 0
	}
	rest := payload[packetHeadSize:]
	if len(rest) == 0 {
		return bare
	}
	whole, all := pcap.Messages(rest, int(binary.BigEndian.Uint16(payload[countOff:])), take, func(m []byte) bool { return types[m[typeOff]].name != "" })
	switch {
	case !whole:
		return 0
	case !all:
		return unknown
	}
	return sure
}
