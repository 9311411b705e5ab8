package cme

import (
	"encoding/binary"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/internal/testdata"
	"github.com/tapedeck/tapedeck/wire"
)

const (
	oldFile = "cme-mdp3-pcap/Cme.Mdp3.Sbe.v6.1.pcap"
	newFile = "cme-mdp3-pcap/Cme.Mdp3.Sbe.v9.1.Example.pcap"
)

func content(t testing.TB, file string) []byte {
	t.Helper()
	return pcaptest.Content(t, testdata.Path(t, file))
}

const sent = wire.Nanos(1_700_000_000_000_000_007)

// packet is a datagram of messages.
func packet(seq uint32, messages ...[]byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, seq)
	b = binary.LittleEndian.AppendUint64(b, uint64(sent)+uint64(seq))
	for _, m := range messages {
		b = append(b, m...)
	}
	return b
}

// encode is a message of a block and what is behind it.
func encode(template uint16, block []byte, groups ...[]byte) []byte {
	b := make([]byte, headSize)
	binary.LittleEndian.PutUint16(b[blockOff:], uint16(len(block)))
	binary.LittleEndian.PutUint16(b[templateOff:], template)
	binary.LittleEndian.PutUint16(b[schemaOff:], schemaID)
	binary.LittleEndian.PutUint16(b[versionOff:], 9)
	b = append(b, block...)
	for _, g := range groups {
		b = append(b, g...)
	}
	binary.LittleEndian.PutUint16(b[sizeOff:], uint16(len(b)))
	return b
}

// entries is a group.
func entries(wide bool, size int, list ...[]byte) []byte {
	b := binary.LittleEndian.AppendUint16(nil, uint16(size))
	if wide {
		b = append(b, 0, 0, 0, 0, 0)
	}
	b = append(b, byte(len(list)))
	for _, e := range list {
		b = append(b, e...)
	}
	return b
}

// book is a book update of some securities.
func book(ids ...int32) []byte {
	var list [][]byte
	for _, id := range ids {
		e := make([]byte, 32)
		binary.LittleEndian.PutUint64(e, 5_059_375_000)
		binary.LittleEndian.PutUint32(e[bookIDOff:], uint32(id))
		e[26] = '0'
		list = append(list, e)
	}
	return encode(46, make([]byte, 11), entries(false, 32, list...), entries(true, 24))
}

func at(port uint16, payload []byte) pcaptest.Datagram {
	return pcaptest.Datagram{Time: sent + 1000, Port: port, Payload: payload}
}

func read(t testing.TB, opts feed.Options, packets ...pcaptest.Datagram) ([]pcaptest.Record, feed.Source) {
	t.Helper()
	return pcaptest.Read(t, Format, pcaptest.Capture(packets...), opts)
}
