package cboe

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tapedeck/tapedeck/feed/pcap"
)

// The head of a datagram, called sequenced unit head. All numbers of the feed are
// little-endian.
const (
	packetLengthOff = 0 // of all the datagram
	countOff        = 2
	unitOff         = 3
	sequenceOff     = 4
	packetHeadSize  = 8
)

// The head of a message: its length, all included, and its type. Most types have the
// nanoseconds of their time next.
const (
	lengthOff = 0
	typeOff   = 1
	headSize  = 2
	nanosOff  = headSize
	nanosSize = 4
)

// Errors of reading datagrams. They come inside a *feed.BadRecord.
var (
	// ErrLength: the lengths of a datagram contradict each other.
	ErrLength = errors.New("cboe: lengths of the datagram contradict each other")
	// ErrShort: a message is too short for its type.
	ErrShort = errors.New("cboe: message is too short for its type")
	// ErrTime: nanoseconds of a second or more.
	ErrTime = errors.New("cboe: time out of range")
)

// errForeign is made once: a line of another protocol may have many datagrams.
var errForeign = fmt.Errorf("cboe: no PITCH: %w", pcap.ErrForeign)

// isPacket reports whether b is a datagram of PITCH, as far as its head and the
// length of its first message tell.
func isPacket(b []byte) bool {
	if len(b) < packetHeadSize || int(binary.LittleEndian.Uint16(b[packetLengthOff:])) != len(b) {
		return false
	}
	if len(b) == packetHeadSize {
		return b[countOff] == 0
	}
	_, ok := take(b[packetHeadSize:])
	return ok
}

// take returns the message at the start of b and reports whether there is one.
func take(b []byte) ([]byte, bool) {
	if len(b) < headSize {
		return nil, false
	}
	size := int(b[lengthOff])
	if size < headSize || size > len(b) {
		return nil, false
	}
	return b[:size:size], true
}

// detect says how sure it is that a datagram is PITCH.
func detect(payload []byte) int {
	const sure, unknown, bare = 90, 40, 50
	if !isPacket(payload) {
		return 0
	}
	rest := payload[packetHeadSize:]
	if len(rest) == 0 {
		return bare
	}
	whole, all := pcap.Messages(rest, int(payload[countOff]), take, func(m []byte) bool {
		t := &types[m[typeOff]]
		return t.name != "" && len(m) >= t.sizeMin
	})
	switch {
	case !whole:
		return 0
	case !all:
		return unknown
	}
	return sure
}
