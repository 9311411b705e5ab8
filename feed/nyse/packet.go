package nyse

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tapedeck/tapedeck/feed/pcap"
	"github.com/tapedeck/tapedeck/wire"
)

// The head of a datagram.
const (
	packetSizeOff  = 0
	deliveryOff    = 2
	countOff       = 3
	sequenceOff    = 4
	sendTimeOff    = 8 // seconds since 1970
	sendNanosOff   = 12
	packetHeadSize = 16
)

// The head of a message: its size, all included, and its type.
const (
	typeOff  = 2
	headSize = 4
)

// Delivery flags.
const (
	deliveryHeartbeat     = 1
	deliveryFailover      = 10
	deliveryOriginal      = 11
	deliveryReset         = 12
	deliveryRetransmitOne = 13
	deliveryRetransmit    = 15
	deliveryRefreshOne    = 17
	deliveryRefreshLast   = 20
	deliveryUnavailable   = 21
)

// Errors of reading datagrams. They come inside a *feed.BadRecord.
var (
	// ErrSize: the sizes of a datagram contradict each other.
	ErrSize = errors.New("nyse: sizes of the datagram contradict each other")
	// ErrShort: a message is shorter than its type.
	ErrShort = errors.New("nyse: message is too short for its type")
	// ErrTime: nanoseconds of a second or more.
	ErrTime = errors.New("nyse: time out of range")
)

// errForeign is made once: a line of another protocol may have many datagrams.
var errForeign = fmt.Errorf("nyse: no XDP: %w", pcap.ErrForeign)

const (
	second  = 1_000_000_000
	timeMin = 946_684_800 // the year 2000, s since 1970
)

// timeAt reads seconds since 1970 and the nanoseconds behind them.
func timeAt(b []byte) (wire.Nanos, bool) {
	s, ns := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
	return wire.Nanos(int64(s)*second + int64(ns)), ns < second
}

// nearest is the time with these nanoseconds of a second that is nearest to a time.
func nearest(to wire.Nanos, ns uint32) wire.Nanos {
	t := to - to%second + wire.Nanos(ns)
	switch {
	case t-to > second/2:
		return t - second
	case to-t > second/2:
		return t + second
	}
	return t
}

// isDelivery reports whether flag is a delivery flag.
func isDelivery(flag byte) bool {
	switch flag {
	case deliveryHeartbeat, deliveryRetransmit:
		return true
	}
	return flag >= deliveryFailover && flag <= deliveryRetransmitOne || flag >= deliveryRefreshOne && flag <= deliveryUnavailable
}

// isRefresh reports whether a datagram repeats state.
func isRefresh(flag byte) bool { return flag >= deliveryRefreshOne && flag <= deliveryRefreshLast }

// isPacket reports whether b is a datagram of XDP, as far as its head and the size
// of its first message tell.
func isPacket(b []byte) bool {
	if len(b) < packetHeadSize || int(binary.LittleEndian.Uint16(b[packetSizeOff:])) != len(b) || !isDelivery(b[deliveryOff]) ||
		binary.LittleEndian.Uint32(b[sendTimeOff:]) < timeMin || binary.LittleEndian.Uint32(b[sendNanosOff:]) >= second {
		return false
	}
	if len(b) == packetHeadSize {
		return true
	}
	_, ok := take(b[packetHeadSize:])
	return ok
}

// take returns the message at the start of b and reports whether there is one.
func take(b []byte) ([]byte, bool) {
	if len(b) < headSize {
		return nil, false
	}
	size := int(binary.LittleEndian.Uint16(b))
	if size < headSize || size > len(b) {
		return nil, false
	}
	return b[:size:size], true
}

// detect says how sure it is that a datagram is XDP.
func detect(payload []byte) int {
	const sure, unknown, bare = 95, 60, 60
	if !isPacket(payload) {
		return 0
	}
	rest := payload[packetHeadSize:]
	if len(rest) == 0 {
		return bare
	}
	whole, all := pcap.Messages(rest, int(payload[countOff]), take, func(m []byte) bool { return typeOf(m).name != "" })
	switch {
	case !whole:
		return 0
	case !all:
		return unknown
	}
	return sure
}
