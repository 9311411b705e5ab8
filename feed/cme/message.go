package cme

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/tapedeck/tapedeck/feed/pcap"
)

// The head of a datagram.
const (
	sequenceOff    = 0
	sendingTimeOff = 4
	packetHeadSize = 12
)

// The head of a message: its size, all included, and the SBE message head.
const (
	sizeOff     = 0
	blockOff    = 2 // length of the block
	templateOff = 4
	schemaOff   = 6
	versionOff  = 8
	headSize    = 10
)

// The head of a repeating group: length of an entry, count. The wide one has five
// bytes of padding between the two.
const (
	groupHeadSize = 3
	wideHeadSize  = 8
)

// schemaID is that of MDP 3.0.
const schemaID = 1

// Errors of reading datagrams. They come inside a *feed.BadRecord.
var (
	// ErrSize: a message's size does not fit in its datagram, or its block not in
	// the message.
	ErrSize = errors.New("cme: sizes of the datagram contradict each other")
)

// errForeign is made once: a line of another protocol may have many datagrams.
var errForeign = fmt.Errorf("cme: no MDP 3.0: %w", pcap.ErrForeign)

// message is one message from its size on. The accessors need one that take has
// returned.
type message []byte

func (m message) block() int    { return int(binary.LittleEndian.Uint16(m[blockOff:])) }
func (m message) template() int { return int(binary.LittleEndian.Uint16(m[templateOff:])) }
func (m message) schema() int   { return int(binary.LittleEndian.Uint16(m[schemaOff:])) }
func (m message) version() int  { return int(binary.LittleEndian.Uint16(m[versionOff:])) }

// take returns the message at the start of b and reports whether there is one.
func take(b []byte) (message, bool) {
	if len(b) < headSize {
		return nil, false
	}
	size := int(binary.LittleEndian.Uint16(b[sizeOff:]))
	if size < headSize || size > len(b) || headSize+int(binary.LittleEndian.Uint16(b[blockOff:])) > size {
		return nil, false
	}
	return message(b[:size:size]), true
}

// group is a repeating group in a message.
type group struct {
	entries []byte
	size    int // of an entry
	count   int
}

// group returns the group at offset at of a message and the offset behind it.
func (m message) group(at int, wide bool) (g group, next int, ok bool) {
	head := groupHeadSize
	if wide {
		head = wideHeadSize
	}
	if at+head > len(m) {
		return group{}, at, false
	}
	g.size = int(binary.LittleEndian.Uint16(m[at:]))
	g.count = int(m[at+head-1])
	next = at + head + g.size*g.count
	if next > len(m) {
		return group{}, at, false
	}
	g.entries = m[at+head : next]
	return g, next, true
}

// noID is the security id that says that there is none.
const noID = math.MaxInt32

// securityID returns the one security that a message is about.
func (m message) securityID(t *template) (int32, bool) {
	switch t.idIn {
	case inBlock:
		if t.idOff+4 > m.block() {
			return 0, false
		}
		id := int32(binary.LittleEndian.Uint32(m[headSize+t.idOff:]))
		return id, id != noID
	case inGroup:
		g, _, ok := m.group(headSize+m.block(), false)
		if !ok || g.count == 0 || t.idOff+4 > g.size {
			return 0, false
		}
		first := binary.LittleEndian.Uint32(g.entries[t.idOff:])
		for at := t.idOff + g.size; at < len(g.entries); at += g.size {
			if binary.LittleEndian.Uint32(g.entries[at:]) != first {
				return 0, false
			}
		}
		return int32(first), first != noID
	}
	return 0, false
}

// Sending times between which a datagram may be of MDP 3.0: the years 2000 to 2099,
// as ns since 1970.
const (
	timeMin = 946_684_800_000_000_000
	timeMax = 4_102_444_800_000_000_000
)

// isPacket reports whether b is a datagram of MDP 3.0, as far as its head and the
// first message's tell.
func isPacket(b []byte) bool {
	if len(b) < packetHeadSize {
		return false
	}
	sent := binary.LittleEndian.Uint64(b[sendingTimeOff:])
	if sent < timeMin || sent >= timeMax {
		return false
	}
	if len(b) == packetHeadSize {
		return true
	}
	m, ok := take(b[packetHeadSize:])
	return ok && m.schema() == schemaID
}

// detect says how sure it is that a datagram is MDP 3.0.
func detect(payload []byte) int {
	const sure, unknown, bare = 95, 40, 20
	if !isPacket(payload) {
		return 0
	}
	if len(payload) == packetHeadSize {
		return bare
	}
	certainty := sure
	for rest := payload[packetHeadSize:]; len(rest) > 0; {
		m, ok := take(rest)
		switch {
		case !ok || m.schema() != schemaID:
			return 0
		case m.layout().name == "":
			certainty = min(certainty, unknown)
		}
		rest = rest[len(m):]
	}
	return certainty
}
