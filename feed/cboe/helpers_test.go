package cboe

import (
	"encoding/binary"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/internal/testdata"
)

const file = "cboe-pitch-pcap/Cboe.Futures.DepthOfBook.Pitch.v1.1.6.pcap"

func content(t testing.TB) []byte {
	t.Helper()
	return pcaptest.Content(t, testdata.Path(t, file))
}

// sent is when the datagrams were captured, now the second of the time messages.
const (
	now  = 1_700_000_000
	sent = now*second + 600_000_000
)

var le = binary.LittleEndian

// packet is a datagram of messages.
func packet(unit byte, seq uint32, messages ...[]byte) []byte {
	b := []byte{0, 0, byte(len(messages)), unit}
	b = le.AppendUint32(b, seq)
	for _, m := range messages {
		b = append(b, m...)
	}
	le.PutUint16(b, uint16(len(b)))
	return b
}

// encode is a message.
func encode(id byte, body ...byte) []byte {
	return append([]byte{byte(headSize + len(body)), id}, body...)
}

// timeMessage is one with the date.
func timeMessage(epoch uint32) []byte {
	return encode(typeTime, le.AppendUint32(le.AppendUint32(nil, 1), epoch)...)
}

// change is a message about an order, with n more bytes.
func change(id byte, ns uint32, order uint64, n int) []byte {
	b := le.AppendUint64(le.AppendUint32(nil, ns), order)
	return encode(id, append(b, make([]byte, n)...)...)
}

// add is a short order.
func add(ns uint32, order uint64, symbol string) []byte {
	b := le.AppendUint64(le.AppendUint32(nil, ns), order)
	b = append(append(b, 'B', 2, 0), symbol...)
	return encode(0x22, le.AppendUint16(b, 1520)...)
}

func at(group byte, port uint16, payload []byte) pcaptest.Datagram {
	return pcaptest.Datagram{Time: sent, Group: [4]byte{233, 130, 124, group}, Port: port, Payload: payload}
}

func read(t testing.TB, opts feed.Options, packets ...pcaptest.Datagram) ([]pcaptest.Record, feed.Source) {
	t.Helper()
	return pcaptest.Read(t, Format, pcaptest.Capture(packets...), opts)
}
