package pcap

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/internal/testdata"
	"github.com/tapedeck/tapedeck/wire"
)

// content returns the unpacked content of a data file, or skips the test.
func content(t testing.TB, rel string) []byte {
	t.Helper()
	in, err := feed.OpenInput(t.Context(), testdata.Path(t, rel))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	b, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// input wraps content as feed opens it.
func input(b []byte) *feed.Input {
	return &feed.Input{Reader: bytes.NewReader(b), Name: "test", Head: b[:min(len(b), feed.HeadSize)]}
}

// owned is a record whose bytes are copied.
type owned struct {
	feed.Record
	topic string
	body  string
}

// readAll reads a source to its end. It returns the bad records and the final
// error beside the records.
func readAll(t testing.TB, src feed.Source) (recs []owned, bad []error, final error) {
	t.Helper()
	var store []byte
	for {
		r, err := src.Next()
		var b *feed.BadRecord
		switch {
		case errors.As(err, &b):
			bad = append(bad, err)
			continue
		case err != nil:
			return recs, bad, err
		}
		if store, err = wire.AppendRecord(store[:0], &wire.Fields{Topic: r.Topic, Body: r.Body,
			Event: r.Event, Receive: r.Receive, Kind: r.Kind, Flags: r.Flags}); err != nil {
			t.Fatalf("record %d: %v", len(recs), err)
		}
		recs = append(recs, owned{*r, string(r.Topic), string(r.Body)})
	}
}

func mustOpen(t testing.TB, p *Protocol, b []byte, opts feed.Options) feed.Source {
	t.Helper()
	src, err := p.Open(t.Context(), input(b), opts)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// fact is what the manifest says about one capture.
type fact struct {
	File  string
	Facts struct {
		Container string
		Packets   int
		NoPayload int `json:"no_payload"`
		NonUDP    int `json:"non_udp"`
		Channels  map[string]int
		CapFirst  int64 `json:"cap_first_ns"`
		CapLast   int64 `json:"cap_last_ns"`
		Messages  int
		Uncompr   int `json:"uncompressed"`
	}
}

// facts returns what the manifest says about the captures, or skips the test.
func facts(t testing.TB) []fact {
	t.Helper()
	b, err := os.ReadFile(testdata.Path(t, "MANIFEST.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	var out []fact
	for _, raw := range all {
		var name struct{ File string }
		if err := json.Unmarshal(raw, &name); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(name.File, ".pcap") {
			continue
		}
		var f fact
		if err := json.Unmarshal(raw, &f); err != nil {
			t.Fatalf("%s: %v", name.File, err)
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		t.Fatal("the manifest names no captures")
	}
	return out
}

// classicFile is a pcap of microseconds with packets of 1 s, 2 s and so on.
func classicFile(order binary.AppendByteOrder, magic, snap, link uint32, packets ...[]byte) []byte {
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = order.AppendUint32(b, snap)
	b = order.AppendUint32(b, link)
	for i, p := range packets {
		b = order.AppendUint32(b, uint32(i+1))
		b = order.AppendUint32(b, 7)
		b = order.AppendUint32(b, uint32(len(p)))
		b = order.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

// ethernet is a pcap of Ethernet frames.
func ethernet(packets ...[]byte) []byte {
	return classicFile(binary.LittleEndian, magicMicros, 0, 1, packets...)
}

// frameOf is an Ethernet frame around an IP packet, with VLAN tags.
func frameOf(ip []byte, tags ...uint16) []byte {
	b := make([]byte, 12)
	for _, tag := range tags {
		b = binary.BigEndian.AppendUint16(b, tag)
		b = binary.BigEndian.AppendUint16(b, 5)
	}
	ether := uint16(etherIPv4)
	if ip[0]>>4 == 6 {
		ether = etherIPv6
	}
	return append(binary.BigEndian.AppendUint16(b, ether), ip...)
}

// ipv4 is an IPv4 packet with a UDP datagram.
func ipv4(to [4]byte, port uint16, payload string) []byte {
	b := make([]byte, ipv4SizeMin, 64)
	b[0], b[8], b[9] = 0x45, 1, protocolUDP
	binary.BigEndian.PutUint16(b[2:], uint16(ipv4SizeMin+udpSize+len(payload)))
	copy(b[12:], []byte{10, 0, 0, 1})
	copy(b[16:], to[:])
	return appendUDP(b, port, payload)
}

// ipv6 is an IPv6 packet to ff05::1 with extension heads and a UDP datagram.
func ipv6(port uint16, payload string, extensions ...byte) []byte {
	b := make([]byte, ipv6Size, 128)
	b[0], b[6], b[7] = 0x60, protocolUDP, 1
	copy(b[24:], []byte{0xff, 5})
	b[39] = 1
	last := 6
	for _, e := range extensions {
		b[last] = e
		last = len(b)
		b = append(b, protocolUDP, 0, 0, 0, 0, 0, 0, 0)
	}
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-ipv6Size+udpSize+len(payload)))
	return appendUDP(b, port, payload)
}

func appendUDP(b []byte, port uint16, payload string) []byte {
	b = binary.BigEndian.AppendUint16(b, 9)
	b = binary.BigEndian.AppendUint16(b, port)
	b = binary.BigEndian.AppendUint16(b, uint16(udpSize+len(payload)))
	return append(append(b, 0, 0), payload...)
}
