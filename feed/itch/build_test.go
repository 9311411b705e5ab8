package itch

import (
	"encoding/binary"

	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
)

const (
	lineA   = "233.54.12.111:26477"
	lineB   = "233.54.12.112:26477"
	session = "000010059B"
)

// day is midnight in New York of 22 August 2023, ns.
const day = int64(1692676800) * 1e9

// moldPacket is a MoldUDP64 packet with messages.
func moldPacket(session string, seq uint64, messages ...[]byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte(session), seq)
	b = binary.BigEndian.AppendUint16(b, uint16(len(messages)))
	for _, m := range messages {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(m))), m...)
	}
	return b
}

// moldControl is a heartbeat or the end of a session, by count.
func moldControl(session string, seq uint64, count uint16) []byte {
	b := moldPacket(session, seq)
	binary.BigEndian.PutUint16(b[countOff:], count)
	return b
}

// moldCapture is a capture of the messages of a file, some to a packet, each a
// microsecond after its message's time.
func moldCapture(file []byte, perPacket int) []byte {
	var f pcaptest.File
	var list [][]byte
	seq := uint64(1)
	flush := func() {
		if len(list) == 0 {
			return
		}
		at := day + int64(sinceMidnight(list[len(list)-1])) + 1000
		f.UDP(at, lineA, moldPacket(session, seq, list...))
		seq += uint64(len(list))
		list = list[:0]
	}
	for rest := file; len(rest) > 0; {
		size := int(binary.BigEndian.Uint16(rest))
		list = append(list, rest[prefixSize:][:size])
		rest = rest[prefixSize+size:]
		if len(list) == perPacket {
			flush()
		}
	}
	flush()
	return f.Bytes()
}

// of is a message of a type, with zeros in the fields that are not given.
func of(typ byte, locate uint16, since uint64, stock string) []byte {
	m := &messages[typ]
	b := make([]byte, max(m.size, commonSize))
	b[0] = typ
	binary.BigEndian.PutUint16(b[locateOff:], locate)
	binary.BigEndian.PutUint16(b[timeOff:], uint16(since>>32))
	binary.BigEndian.PutUint32(b[timeOff+2:], uint32(since))
	if m.stockOff != 0 {
		copy(b[m.stockOff:], stock+"        "[min(len(stock), 8):])
	}
	return b
}

// fileOf is a file of messages.
func fileOf(messages ...[]byte) []byte {
	var b []byte
	for _, m := range messages {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(m))), m...)
	}
	return b
}
