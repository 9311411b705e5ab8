package nyse

import (
	"encoding/binary"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/internal/testdata"
)

const file = "nyse-xdp-pcap/Nyse.ImbalancesFeed.v2.1.f.Example.pcap"

func content(t testing.TB) []byte {
	t.Helper()
	return pcaptest.Content(t, testdata.Path(t, file))
}

const (
	sentSeconds = 1_700_000_000
	sentNanos   = 100_000_000
	sent        = sentSeconds*second + sentNanos
)

var le = binary.LittleEndian

// packet is a datagram of messages.
func packet(delivery byte, seq uint32, messages ...[]byte) []byte {
	b := make([]byte, packetHeadSize)
	b[deliveryOff], b[countOff] = delivery, byte(len(messages))
	le.PutUint32(b[sequenceOff:], seq)
	le.PutUint32(b[sendTimeOff:], sentSeconds)
	le.PutUint32(b[sendNanosOff:], sentNanos)
	for _, m := range messages {
		b = append(b, m...)
	}
	le.PutUint16(b, uint16(len(b)))
	return b
}

// encode is a message of numbers of four bytes and what is behind them.
func encode(id uint16, rest string, numbers ...uint32) []byte {
	b := le.AppendUint16(le.AppendUint16(nil, uint16(headSize+4*len(numbers)+len(rest))), id)
	for _, n := range numbers {
		b = le.AppendUint32(b, n)
	}
	return append(b, rest...)
}

func mapping(index uint32, symbol string) []byte {
	padded := make([]byte, 36)
	copy(padded, symbol)
	return encode(typeMapping, string(padded), index)
}

func at(group byte, payload []byte) pcaptest.Datagram {
	return pcaptest.Datagram{Time: sent + 1000, Group: [4]byte{224, 0, 59, group}, Port: 11000 + uint16(group), Payload: payload}
}

func read(t testing.TB, opts feed.Options, packets ...pcaptest.Datagram) ([]pcaptest.Record, feed.Source) {
	t.Helper()
	return pcaptest.Read(t, Format, pcaptest.Capture(packets...), opts)
}
