package pcap

import (
	"encoding/hex"
	"fmt"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

// Name is the name of the generic format.
const Name = "pcap"

// generic is the protocol of which nothing is known.
var generic = &Protocol{
	Name:   Name,
	Title:  "UDP in pcap or pcapng, one record a datagram",
	New:    newDatagrams,
	Decode: decodeDatagram,
}

// Format is the generic format, for the table of formats: each datagram is a
// record.
var Format = func() feed.Format {
	f := generic.Format()
	f.Detect = detectCapture
	return f
}()

func detectCapture(head []byte) int {
	if IsCapture(head) {
		return sureCapture
	}
	return 0
}

// datagrams is the Parser that gives each datagram as it is.
type datagrams struct {
	prefix  string
	packet  *Packet
	line    *Line // that topic is of
	topic   []byte
	encoded feed.Encoding
}

func newDatagrams(_ *feed.Input, opts feed.Options) (Parser, error) {
	if longest := len("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"); len(opts.Topic)+longest > wire.TopicSizeMax {
		return nil, fmt.Errorf("%w: topic prefix of %d bytes leaves no room for a group in %d",
			ErrOption, len(opts.Topic), wire.TopicSizeMax)
	}
	return &datagrams{prefix: opts.Topic, encoded: feed.Encoding{Format: Name}}, nil
}

// Begin implements Parser.
func (d *datagrams) Begin(p *Packet, _ *Head) error {
	d.packet = p
	if d.line != p.Line {
		d.line = p.Line
		d.topic = append(append(d.topic[:0], d.prefix...), p.Line.Name...)
	}
	return nil
}

// Next implements Parser.
func (d *datagrams) Next(rec *feed.Record) (bool, error) {
	if d.packet == nil {
		return false, nil
	}
	rec.Topic, rec.Body, rec.Event, rec.Kind = d.topic, d.packet.Payload, d.packet.Time, wire.KindData
	if d.packet.NoTime {
		rec.Flags = wire.FlagNoEventTime
	}
	d.packet = nil
	return true, nil
}

// Describe implements Parser. There are no streams.
func (d *datagrams) Describe(Stream) string { return "" }

// Encoding implements Parser.
func (d *datagrams) Encoding() feed.Encoding { return d.encoded }

// Notes implements Parser.
func (d *datagrams) Notes() []string { return nil }

// decodeDatagram gives the size of a datagram and its bytes in hex.
func decodeDatagram(dst []feed.Field, _ feed.Encoding, _ wire.Kind, body []byte) ([]feed.Field, error) {
	return append(dst,
		feed.Field{Name: "size", Value: uint64(len(body))},
		feed.Field{Name: "payload", Value: hex.EncodeToString(body)},
	), nil
}
