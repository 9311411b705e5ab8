package ice

import (
	"encoding/binary"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/internal/testdata"
)

const file = "ice-impact-pcap/Ice.Mdf.iMpact.v1.1.33.Example.pcap"

func content(t testing.TB) []byte {
	t.Helper()
	return pcaptest.Content(t, testdata.Path(t, file))
}

const (
	sentMillis = 1_700_000_000_123
	sent       = sentMillis * 1_000_000
)

var be = binary.BigEndian

// packet is a datagram of messages.
func packet(seq uint32, messages ...[]byte) []byte {
	b := be.AppendUint32(be.AppendUint16(nil, 77), seq)
	b = be.AppendUint64(be.AppendUint16(b, uint16(len(messages))), sentMillis)
	for _, m := range messages {
		b = append(b, m...)
	}
	return b
}

// encode is a message.
func encode(id byte, body []byte) []byte {
	return append(be.AppendUint16([]byte{id}, uint16(len(body))), body...)
}

// about is a message of a market, with n more bytes.
func about(id byte, market int32, n int) []byte {
	return encode(id, append(be.AppendUint32(nil, uint32(market)), make([]byte, n)...))
}

func at(group byte, port uint16, payload []byte) pcaptest.Datagram {
	return pcaptest.Datagram{Time: sent + 1000, Group: [4]byte{233, 156, 208, group}, Port: port, Payload: payload}
}

func read(t testing.TB, opts feed.Options, packets ...pcaptest.Datagram) ([]pcaptest.Record, feed.Source) {
	t.Helper()
	return pcaptest.Read(t, Format, pcaptest.Capture(packets...), opts)
}
